// Programs as users write them, in the styles that compilers and minifiers rewrite. The file imports nothing: each
// toolchain gets it as it is.

type Context = Record<string, any>;
type Mask = (i: any, j: any, context: Context) => unknown;
type Score = (s: number, i: any, j: any, context: Context) => number;

export interface Program {
  readonly kind: 'mask' | 'score';
  readonly program: Mask | Score;
  readonly grid?: readonly number[];
}

const mask = (program: Mask, grid?: readonly number[]): Program => ({ kind: 'mask', program, ...(grid && { grid }) });
const score = (program: Score): Program => ({ kind: 'score', program });

export const programs: Readonly<Record<string, Program>> = {
  causal: mask((i, j) => j <= i),
  causalFunction: mask(function (i, j) {
    return i >= j;
  }),
  causalNamed: mask(function causal(i, j) {
    return !(j > i);
  }),
  method: {
    kind: 'mask',
    program(i: number, j: number, { window }: Context) {
      return i - j <= window && j - i <= window;
    },
  },
  window: mask((i, j, { window }) => {
    const distance = i - j;
    return distance >= 0 && distance <= window;
  }),
  windowAbs: mask((i, j, { window }) => Math.abs(i - j) <= window),
  documents: mask((i, j, { ids }) => ids(i) === ids(j)),
  documentsCausal: mask((i, j, { ids }) => {
    if (j > i) return false;
    return ids(i) === ids(j);
  }),
  documentsRenamed: mask((i, j, { ids: document, other: padding }) => document(i) === document(j) && padding(j) !== 0),
  twoTables: mask((i, j, { ids, other }) => ids(i) === other(j) || other(i) < ids(j)),
  contextWhole: mask((i, j, context) => context.ids(i) === context.ids(j) && context.h < 2),
  contextLater: mask((i, j, context) => {
    const { ids, other } = context;
    return ids(i) <= other(j);
  }),
  prefix: mask((i, j, { prefix, b }) => j < prefix(b) || j <= i),
  dilated: mask((i, j) => i >= j && (i - j) % 3 === 0),
  strided: mask((i, j) => {
    const same = Math.floor(i / 8) === Math.floor(j / 8);
    const summary = j % 8 === 7;
    return j <= i && (same || summary);
  }),
  headsDiffer: mask((i, j, { h, window }) => (h < 2 ? i - j < window : j <= i)),
  nestedIfs: mask((i, j, { h, window, ids }) => {
    if (h === 0) {
      if (j > i) {
        return false;
      } else {
        return i - j < window;
      }
    } else if (h === 1) {
      return ids(i) === ids(j);
    }
    return true;
  }),
  sharedBranches: mask((i, j, { ids, h }) => {
    if (h === 0) return ids(i) === ids(j);
    if (h === 3) return ids(i) === ids(j);
    return j <= i;
  }),
  sharedFalse: mask((i, j, { ids, window }) => {
    if (j > i) return false;
    if (i - j > window) return false;
    if (ids(j) === 0) return false;
    return true;
  }),
  tableOfChoice: mask((i, j, { ids, h }) => (h > 1 ? ids(i) : ids(j)) === 2),
  callsDiffer: mask((i, j, { ids, h }) => {
    if (h > 1) return ids(i) < 3;
    return ids(j) < 3;
  }),
  assigned: mask((i, j, { window, h }) => {
    let reach = window;
    if (h === 1) reach = 2 * window;
    else if (h === 2) reach = 1;
    return i - j <= reach && j - i <= reach;
  }),
  counted: mask((i, j) => {
    let near = 0;
    if (i - j < 4) near += 1;
    if (j < 4) near++;
    return near > 0;
  }),
  bitwise: mask((i, j) => (((i >> 2) ^ (j >> 2)) & 3) === 0 || (i | j) < 4),
  truncated: mask((i, j) => ((i / 4) | 0) === ~~(j / 4)),
  oldEquality: mask((i, j, { ids }) => ids(i) == ids(j) && !(ids(i) != 1)),
  truthy: mask((i, j, { ids }) => ids(i) && ids(j)),
  notNot: mask((i, j, { ids }) => !!ids(i) === !!ids(j)),
  deMorgan: mask((i, j, { window }) => !(j > i || i - j > window)),
  constants: mask((i, j) => {
    const block = 4 * 2;
    const most = block * block - 1;
    return (i - j) * 1 < most && 3 > i % block;
  }),
  reversed: mask((i, j, { window }) => 0 <= i - j && window >= i - j && 5 !== j),
  realTables: mask((i, j, { time, limit }) => time(j) <= time(i) && time(i) < limit),
  grid: mask((i, j) => Math.abs(i.x - j.x) <= 1 && Math.abs(i.y - j.y) <= 1, [4, 6]),
  gridDestructured: mask(({ y: rowOf, x: columnOf }, { x, y }) => rowOf === y || columnOf === x, [4, 6]),
  variables: mask(function (i, j, context) {
    var ids = context.ids;
    var same = ids(i) === ids(j);
    if (same) {
      var near = i - j < 5;
      return near;
    }
    return false;
  }),
  alibi: score((s, i, j, { h, slope }) => s - slope(h) * (i - j)),
  alibiSymmetric: score((s, i, j, { h, slope }) => s + -slope(h) * Math.abs(j - i)),
  softcap: score((s) => 20 * Math.tanh(s / 20)),
  relative: score((s, i, j, { h, bias }) => s + bias(h, Math.min(Math.max(i - j, -7), 7) + 7)),
  relativeClamped: score((s, i, j, { h, bias }) => {
    let distance = i - j;
    if (distance < -7) distance = -7;
    if (distance > 7) distance = 7;
    return s + bias(h, distance + 7);
  }),
  masked: score((s, i, j) => (j <= i ? s : -Infinity)),
  temperature: score((s, i, _j, { time }) => {
    const warm = time(i) > 0.25;
    return warm ? s * 0.5 : s * (0.1 + 0.2);
  }),
  buckets: score((s, i, j, { slope }) => {
    const distance = Math.abs(i - j);
    if (distance < 2) return s + 0.25;
    if (distance < 4) return s + slope(0);
    if (distance < 8) return s + slope(1);
    return s - 1 / 3;
  }),
  choiceOfCalls: score((s, i, j) => s + (i > j ? Math.exp(-(i - j) / 8) : Math.exp(-(j - i) / 8))),
  choiceOfKinds: score((s, i, j) => {
    if (i === j) return Math.abs(s);
    return Math.abs(i - j);
  }),
  roundedChoice: score((s, i, j) => s + (i > j ? Math.floor(i / 2) : Math.floor(j / 2)) * 0.125),
  logLength: score((s, _i, _j, { nkv }) => s * (Math.log(nkv) / Math.log(16))),
  powers: score((s, i, j) => Math.pow(Math.abs(s), 1.5) + (i - j) ** 2 * 1e-3),
  mixedTypes: score((s, i, _j, { window }) => s * (window + 1) - (i % 2 ? 1 : 0.5)),
  typed: {
    kind: 'score',
    program: (s: number, i: number, j: number, { slope, h }: Context): number => {
      const distance: number = (i - j) as number;
      const steep = slope(h)! satisfies number;
      return s - (distance as number) * steep;
    },
  },
  commented: mask((i, j /* the key */, { ids /* documents */ }) => {
    // Same document,
    const same = ids(i) === ids(j); /* and */
    return same && /* not after */ j <= i;
  }),
};
