// The schedules, which are loaded when the first group computes something.

export { allGatherAttention } from './all-gather.js';
export { explainSchedule, predictSchedules } from './explain-schedule.js';
export { measureCosts } from './measure-costs.js';
export { parallelAttention } from './parallel.js';
export { ringAttention, stripedAttention } from './ring.js';
export { treeAttention } from './tree.js';
export { ulyssesAttention } from './ulysses.js';
