// One case of the accuracy grid: plain data, made from a seed, and what it asks of the operator. `features` names what
// occurs in it, for the coverage table.

import type { Dtype } from './half.js';

/** How a tensor lies in its buffer. Everything between and around its elements is NaN. */
export type Storage =
  | 'plain' // contiguous
  | 'offset' // contiguous, from an odd offset
  | 'strided' // gaps after rows, heads and batches, axes in any order
  | 'packed' // query, key and value are views of one [B, S, W] buffer
  | 'shared'; // key and value: one batch entry for all, batch stride 0

/** A mask tensor: 'keys' is [B, Nkv]; a grid says which of its axes are not broadcast. */
export type MaskShape = 'keys' | { batch: boolean; head: boolean };

export interface BiasShape {
  dtype: Dtype;
  /** Which of [B, Hq, Nq, Nkv] are not broadcast. */
  axes: [boolean, boolean, boolean, boolean];
}

export interface Case {
  seed: number;
  batch: number;
  headsQ: number;
  headsKv: number;
  dimQk: number;
  dimV: number;
  lengths: 'dense' | 'padded' | 'ragged';
  /** Rows of the tensors of a dense or padded case. */
  queries: number;
  keys: number;
  /** Rows of each sequence; null in a dense case, and in a padded one whose rows all count. */
  lengthsQ: number[] | null;
  lengthsKv: number[] | null;
  layout: 'bhsd' | 'bshd';
  storage: { query: Storage; key: Storage; value: Storage };
  dtypes: { query: Dtype; key: Dtype; value: Dtype };
  /** null: the query's. */
  outputDtype: Dtype | null;
  align: 'bottom-right' | 'top-left';
  causal: boolean;
  /** Left and right, inclusive; Infinity leaves a side open. */
  window: [number, number] | null;
  masks: MaskShape[];
  bias: BiasShape | null;
  softcap: number | null;
  sinks: boolean;
  /** null: 1/sqrt(dimQk). */
  scale: number | null;
  /** How scores are distributed: see values.ts. */
  scores: 'normal' | 'wide' | 'flat' | 'ties';
  lse: boolean;
  entropy: boolean;
  rowMax: boolean;
  threads: number | null;
}

/** One query and one key, plain tensors and options, but for `parts`. */
export function plainCase(seed: number, dtype: Dtype, dim: number, parts: Partial<Case>): Case {
  return {
    seed,
    batch: 1,
    headsQ: 1,
    headsKv: 1,
    dimQk: dim,
    dimV: dim,
    lengths: 'dense',
    queries: 1,
    keys: 1,
    lengthsQ: null,
    lengthsKv: null,
    layout: 'bhsd',
    storage: { query: 'plain', key: 'plain', value: 'plain' },
    dtypes: { query: dtype, key: dtype, value: dtype },
    outputDtype: null,
    align: 'bottom-right',
    causal: false,
    window: null,
    masks: [],
    bias: null,
    softcap: null,
    sinks: false,
    scale: null,
    scores: 'normal',
    lse: true,
    entropy: false,
    rowMax: false,
    threads: null,
    ...parts,
  };
}

export interface SequenceShape {
  batch: number;
  queries: number;
  keys: number;
  /** First row in the tensors: 0 unless ragged. */
  rowQ: number;
  rowKv: number;
}

export function sequencesOf(test: Case): SequenceShape[] {
  let rowQ = 0;
  let rowKv = 0;
  return Array.from({ length: test.batch }, (_, batch) => {
    const queries = test.lengthsQ?.[batch] ?? test.queries;
    const keys = test.lengthsKv?.[batch] ?? test.keys;
    const sequence = { batch, queries, keys, rowQ, rowKv };
    if (test.lengths === 'ragged') {
      rowQ += queries;
      rowKv += keys;
    }
    return sequence;
  });
}

/** Rows of the tensors: per sequence, or in all when ragged. */
export function rowsOf(test: Case): { queries: number; keys: number } {
  if (test.lengths !== 'ragged') return { queries: test.queries, keys: test.keys };
  const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
  return { queries: sum(test.lengthsQ!), keys: sum(test.lengthsKv!) };
}

export function outputDtypeOf(test: Case): Dtype {
  return test.outputDtype ?? test.dtypes.query;
}

/** Multiply-adds of the reference, without masks. */
export function workOf(test: Case): number {
  const pairs = sequencesOf(test).reduce((sum, { queries, keys }) => sum + queries * keys, 0);
  return pairs * test.headsQ * (test.dimQk + test.dimV);
}

/** The features of the coverage table that occur in the case. */
export function featuresOf(test: Case): string[] {
  const found: string[] = [];
  const note = (feature: string, present: boolean) => {
    if (present) found.push(feature);
  };
  const { dtypes, storage } = test;
  const stores = new Set<Storage>([storage.query, storage.key, storage.value]);
  const types = new Set<Dtype>([dtypes.query, dtypes.key, dtypes.value]);
  const shapes = sequencesOf(test);

  note('float32', types.size === 1 && types.has('float32'));
  note('float16', types.size === 1 && types.has('float16'));
  note('bfloat16', types.size === 1 && types.has('bfloat16'));
  note('mixed types', types.size > 1);
  note('output type', test.outputDtype !== null && test.outputDtype !== dtypes.query);
  note('bhsd', test.lengths !== 'ragged' && test.layout === 'bhsd');
  note('bshd', test.lengths !== 'ragged' && test.layout === 'bshd');
  for (const kind of ['offset', 'strided', 'packed', 'shared'] as const) note(`${kind} views`, stores.has(kind));
  note('padded', test.lengths === 'padded');
  note('ragged', test.lengths === 'ragged');
  note('top-left', test.align === 'top-left' && (test.causal || test.window !== null));
  note('causal', test.causal);
  note('window', test.window !== null);
  note('key padding', test.masks.includes('keys'));
  for (const batch of [false, true]) {
    for (const head of [false, true]) {
      const name = `mask [${batch ? 'B' : 1},${head ? 'H' : 1},N,N]`;
      note(
        name,
        test.masks.some((mask) => mask !== 'keys' && mask.batch === batch && mask.head === head),
      );
    }
  }
  note('several masks', test.masks.length > 1);
  note('bias [B..]', test.bias !== null && test.bias.axes[0]);
  note('bias [.H..]', test.bias !== null && test.bias.axes[1]);
  note('bias, one row', test.bias !== null && !test.bias.axes[2]);
  note('bias, one column', test.bias !== null && !test.bias.axes[3]);
  note('bias, full grid', test.bias !== null && test.bias.axes[2] && test.bias.axes[3]);
  note('16-bit bias', test.bias !== null && test.bias.dtype !== 'float32');
  note('softcap', test.softcap !== null);
  note('sinks', test.sinks);
  note('scale', test.scale !== null);
  note('grouped heads', test.headsKv > 1 && test.headsQ > test.headsKv);
  note('one kv head', test.headsKv === 1 && test.headsQ > 1);
  note('d_qk < d_v', test.dimQk < test.dimV);
  note('d_qk > d_v', test.dimQk > test.dimV);
  note('d < 8', test.dimQk < 8 && test.dimV < 8);
  note('d > 128', test.dimQk > 128 || test.dimV > 128);
  note('odd d', test.dimQk % 2 === 1 || test.dimV % 2 === 1);
  note(
    'one query',
    shapes.some(({ queries }) => queries === 1),
  );
  note(
    'no query',
    shapes.some(({ queries }) => queries === 0),
  );
  note(
    'no key',
    shapes.some(({ keys }) => keys === 0),
  );
  note(
    'Nq < Nkv',
    shapes.some(({ queries, keys }) => queries > 0 && queries < keys),
  );
  note(
    'Nq > Nkv',
    shapes.some(({ queries, keys }) => queries > keys),
  );
  note(
    'Nkv > 512',
    shapes.some(({ keys }) => keys > 512),
  );
  note('wide scores', test.scores === 'wide');
  note('tied scores', test.scores === 'flat' || test.scores === 'ties');
  note('lse', test.lse);
  note('entropy', test.entropy);
  note('rowMax', test.rowMax);
  return found;
}

export function describe(test: Case): string {
  return JSON.stringify(test, (_, value: unknown) => (value === Infinity ? 'Infinity' : value));
}
