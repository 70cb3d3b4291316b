import { square, type Case } from '../case.js';

/** Calls so small that all their time is the way in and out. */
export const call = (): Case[] =>
  [1, 16].map((rows) => square('call', rows, 16, { label: `1×1×${rows}×16`, headsQ: 1, headsKv: 1 }));
