// One case: shapes, types, mask, layout and score program of what is measured; and what follows from them.
import type { StatisticsOptions } from '../dist/index.js';
import type { Dtype } from '../test/reference/half.js';
import { seesOf, type Axis } from '../test/reference/neighborhood.js';
import { listsOf, type DrawnBlocks } from './drawn-blocks.js';
import type { ScoreProgram } from './score-program.js';

export type Mask =
  | { kind: 'full' }
  | { kind: 'causal' }
  | { kind: 'window'; keys: number }
  /** The same and the first tokens: of one query, which both do not meet. */
  | { kind: 'pinned'; keys: number; pinned: number }
  /** On a grid whose cells are all queries and all keys; every query sees as many keys. */
  | { kind: 'neighborhood'; axes: Axis[] }
  /** The same blocks on both sides; rows are a multiple of their size. */
  | DrawnBlocks;

export const SUITES = [
  'prefill',
  'causal',
  'window',
  'neighborhood',
  'blocks',
  'statistics',
  'small',
  'decode',
  'layers',
  'half',
  'ragged',
  'programs',
  'call',
] as const;
export type Suite = (typeof SUITES)[number];

export interface Case {
  suite: Suite;
  label: string;
  /** Sequences; with `lengths`, as many as there are lengths. */
  batch: number;
  headsQ: number;
  headsKv: number;
  queries: number;
  keys: number;
  dim: number;
  /** Type of queries, keys, values and output. */
  dtype: Dtype;
  mask: Mask;
  /** Axis order of our inputs and output; 'bshd' is the order that onnxruntime takes too. */
  layout: 'bhsd' | 'bshd';
  /** Ragged self-attention: the rows of each sequence, back to back in [total, H, D]. */
  lengths?: readonly number[];
  program?: ScoreProgram;
  /** What the call says of its weights. */
  statistics?: StatisticsOptions;
  /** So many caches of keys and values of this shape, a call on each in turn. */
  layers?: number;
  /** A step of a decode loop: the newest row is appended to a cache of the others, and turned before with `rope`. */
  cache?: { rope: boolean };
  /** The random generator chose this program. */
  random?: true;
}

export const FULL: Mask = { kind: 'full' };
export const CAUSAL: Mask = { kind: 'causal' };

/** Self-attention of one sequence: [1, 8, rows, dim], float32, nothing masked; but for what `other` says. */
export function square(suite: Suite, rows: number, dim: number, other: Partial<Case> = {}): Case {
  return {
    suite,
    label: `N ${rows}, D ${dim}`,
    batch: 1,
    headsQ: 8,
    headsKv: 8,
    queries: rows,
    keys: rows,
    dim,
    dtype: 'float32',
    mask: FULL,
    layout: 'bhsd',
    ...other,
  };
}

/**
 * Keys that query row `row` of a sequence sees, as [first, end); positions are aligned at the end. Of neighborhoods,
 * blocks and pinned tokens they are no such range.
 */
export function visible(mask: Mask, row: number, queries: number, keys: number): [number, number] {
  if (mask.kind === 'neighborhood' || mask.kind === 'blocks' || mask.kind === 'pinned') {
    throw new Error('what is seen is no range of keys');
  }
  if (mask.kind === 'full') return [0, keys];
  const end = Math.max(0, Math.min(keys, row + keys - queries + 1));
  return [mask.kind === 'window' ? Math.max(0, end - mask.keys) : 0, end];
}

/** Whether query row `row` of a sequence and a head sees a key. */
export function seenKeys(
  c: Case,
  head: number,
  row: number,
  queries: number,
  keys: number,
): (column: number) => boolean {
  const { mask } = c;
  if (mask.kind === 'blocks') {
    const list = listsOf(mask, c.headsQ, c.queries)[head]![Math.floor(row / mask.size)]!;
    return (column) => list.includes(Math.floor(column / mask.size));
  }
  if (mask.kind === 'neighborhood') {
    const sees = seesOf({ axes: mask.axes, border: 'clamp', extra: 0 });
    return (column) => sees(row, column);
  }
  if (mask.kind === 'pinned') return (column) => column < mask.pinned || column >= keys - mask.keys;
  const [first, end] = visible(mask, row, queries, keys);
  return (column) => column >= first && column < end;
}

/** The sequences of a case: first row and number of rows on both sides, in the tensors' row counting. */
export function sequences(c: Case): { batch: number; rowQ: number; rowKv: number; queries: number; keys: number }[] {
  if (c.lengths === undefined) {
    const { queries, keys } = c;
    return Array.from({ length: c.batch }, (_, batch) => ({ batch, rowQ: 0, rowKv: 0, queries, keys }));
  }
  let row = 0;
  return c.lengths.map((length) => {
    row += length;
    return { batch: 0, rowQ: row - length, rowKv: row - length, queries: length, keys: length };
  });
}

/** Useful floating-point operations: 2 for each multiply-add of a visible (query, key) pair, in QK and in PV. */
export function flops(c: Case): number {
  if (c.mask.kind === 'neighborhood') {
    const seen = c.mask.axes.reduce((keys, { window }) => keys * window, 1);
    return c.batch * c.queries * seen * c.headsQ * 4 * c.dim;
  }
  if (c.mask.kind === 'blocks') {
    return c.batch * c.queries * c.mask.each * c.mask.size * c.headsQ * 4 * c.dim;
  }
  if (c.mask.kind === 'pinned') return c.batch * (c.mask.keys + c.mask.pinned) * c.headsQ * 4 * c.dim;
  let pairs = 0;
  for (const { queries, keys } of sequences(c)) {
    for (let row = 0; row < queries; row++) {
      const [first, end] = visible(c.mask, row, queries, keys);
      pairs += end - first;
    }
  }
  return pairs * c.headsQ * 4 * c.dim;
}

function bytesOf(c: Case, rows: number): number {
  const batch = c.lengths === undefined ? c.batch : 1;
  return batch * rows * c.dim * (c.dtype === 'float32' ? 4 : 2);
}

/** Bytes of keys and values, each once. */
export const bytesOfKeysAndValues = (c: Case): number => 2 * bytesOf(c, c.headsKv * c.keys);

/** Bytes of inputs and output, each once: what a call cannot do without. */
export const leastBytes = (c: Case): number => bytesOfKeysAndValues(c) + 2 * bytesOf(c, c.headsQ * c.queries);
