// Every pattern of lib/builtins.ts against its definition, pair by pair.

import test from 'ava';
import {
  Tensor,
  alibi,
  attentionSync,
  blockMap,
  causal,
  dilated,
  documents,
  logLengthScaling,
  prefixLm,
  relativeBias,
  segments,
  sharedPrefix,
  slidingWindow,
  strided,
  temperature,
} from '../lib/index.js';
import type { Mask, Score } from '../lib/index.js';
import { Random } from './reference/random.js';

const n = 24;
const random = new Random(17);
const ids = Array.from({ length: n }, () => random.integer(-2, 2));
const kinds = Array.from({ length: n }, () => random.integer(0, 2));
const allowed = [
  [1, 0, 2],
  [0, 1, 0],
  [1, 1, -1],
];

const floor = Math.floor;
const masks: readonly (readonly [string, Mask, (i: number, j: number) => boolean])[] = [
  ['causal', causal(), (i, j) => j <= i],
  ['window', slidingWindow(3, 1), (i, j) => j >= i - 3 && j <= i + 1],
  ['window without a left end', slidingWindow(null, 2), (i, j) => j <= i + 2],
  ['window without a right end', slidingWindow(2, Infinity), (i, j) => j >= i - 2],
  ['window without ends', slidingWindow(null, 2 ** 40), () => true],
  ['window of one', slidingWindow(0, 0), (i, j) => i === j],
  ['prefix', prefixLm(5), (i, j) => j < 5 || j <= i],
  ['prefixes of sequences', prefixLm([7, 3]), (i, j) => j < 7 || j <= i],
  ['documents', documents(ids), (i, j) => ids[i] === ids[j]],
  ['documents of sequences', documents([ids, kinds]), (i, j) => ids[i] === ids[j]],
  ['documents of two sides', documents({ q: ids, kv: kinds }), (i, j) => ids[i] === kinds[j]],
  ['dilated', dilated(5), (i, j) => (i - j) % 5 === 0],
  ['strided', strided(4), (i, j) => j <= i && (i - j < 4 || (i - j) % 4 === 0)],
  ['shared prefix', sharedPrefix(6, 4), (i, j) => j <= i && (j < 6 || floor((i - 6) / 4) === floor((j - 6) / 4))],
  ['segments', segments(kinds, allowed), (i, j) => allowed[kinds[i]!]![kinds[j]!]! !== 0],
];

for (const [name, item, sees] of masks) {
  test(`mask: ${name}`, (t) => {
    const { states } = blockMap(item, { nq: n, block: 1 });
    for (let i = 0; i < n; i += 1) {
      for (let j = 0; j < n; j += 1) t.is(states[i * n + j], sees(i, j) ? 2 : 0, `${i}, ${j}`);
    }
    // The last queries of a longer sequence stand at its end.
    const few = blockMap(item, { nq: 3, nkv: n, block: 1 }).states;
    if (name === 'documents of two sides') return; // by row and column
    for (let row = 0; row < 3; row += 1) {
      for (let j = 0; j < n; j += 1) t.is(few[row * n + j], sees(n - 3 + row, j) ? 2 : 0, `last ${row}, ${j}`);
    }
  });
}

test('two sides of a cross-attention go by row and column', (t) => {
  const { states } = blockMap(documents({ q: [1, 2], kv: [2, 1, 1] }), { nq: 2, nkv: 3, block: 1 });
  t.deepEqual([...states], [0, 2, 2, 2, 0, 0]);
});

test('the second sequence of a batch has its own prefix and documents', (t) => {
  const prefix = blockMap(prefixLm([7, 3]), { nq: 9, block: 1, b: 1 }).states;
  t.deepEqual([...prefix.subarray(0, 9)], [2, 2, 2, 0, 0, 0, 0, 0, 0]);
  const own = blockMap(documents([ids, kinds]), { nq: n, block: 1, b: 1 }).states;
  t.deepEqual(
    [...own.subarray(0, n)],
    kinds.map((kind) => (kind === kinds[0] ? 2 : 0)),
  );
});

/** log Σ exp of each row in double, for the scores of x with itself. */
function logSums(
  x: Float32Array,
  rows: number,
  dim: number,
  change: (s: number, h: number, i: number, j: number) => number,
): number[] {
  const sums: number[] = [];
  for (let h = 0; h < x.length / (rows * dim); h += 1) {
    for (let i = 0; i < rows; i += 1) {
      let sum = 0;
      for (let j = 0; j < rows; j += 1) {
        let dot = 0;
        for (let d = 0; d < dim; d += 1) dot += x[(h * rows + i) * dim + d]! * x[(h * rows + j) * dim + d]!;
        sum += Math.exp(change(dot / Math.sqrt(dim), h, i, j));
      }
      sums.push(Math.log(sum));
    }
  }
  return sums;
}

const heads = 3;
const bias = Array.from({ length: heads }, () => Array.from({ length: 11 }, () => random.normal()));
const weights = Array.from({ length: 8 }, () => Array.from({ length: heads }, () => random.normal()));

/** T5's rule written out: 8 buckets, both directions, 16 as the farthest. */
function t5(distance: number): number {
  const away = Math.abs(distance);
  const within = away < 2 ? away : Math.min(3, 2 + floor((Math.log(away / 2) / Math.log(8)) * 2));
  return (distance > 0 ? 4 : 0) + within;
}

/** The same for decoders: 8 buckets for the past. */
function t5Past(distance: number): number {
  const away = Math.max(-distance, 0);
  return away < 4 ? away : Math.min(7, 4 + floor((Math.log(away / 4) / Math.log(4)) * 4));
}

const scores: readonly (readonly [string, Score, (s: number, h: number, i: number, j: number) => number])[] = [
  ['alibi', alibi([0.5, 0.25, 0.125]), (s, h, i, j) => s - 2 ** -(h + 1) * Math.abs(i - j)],
  ['alibi of the paper, 3 heads', alibi(heads), (s, h, i, j) => s - [2 ** -4, 2 ** -8, 2 ** -2][h]! * Math.abs(i - j)],
  ['relative bias', relativeBias(bias), (s, h, i, j) => s + bias[h]![Math.max(-5, Math.min(5, j - i)) + 5]!],
  ['T5', relativeBias(weights, { buckets: 8, maxDistance: 16 }), (s, h, i, j) => s + weights[t5(j - i)]![h]!],
  [
    'T5, decoder',
    relativeBias(weights, { buckets: 8, maxDistance: 16, bidirectional: false }),
    (s, h, i, j) => s + weights[t5Past(j - i)]![h]!,
  ],
  ['temperature', temperature(0.75), (s) => s / 0.75],
  ['temperatures of heads', temperature([0.5, 1, 4]), (s, h) => s / [0.5, 1, 4][h]!],
  ['length scaling', logLengthScaling(8), (s, _h, i) => s * Math.max(1, Math.log(i + 1) / Math.log(8))],
];

for (const [name, item, change] of scores) {
  test(`score: ${name}`, (t) => {
    const x = Float32Array.from({ length: heads * n * 4 }, () => random.normal());
    const input = Tensor.from(x, [1, heads, n, 4]);
    const { lse } = attentionSync(input, input, input, { score: item, lse: true });
    const expected = logSums(x, n, 4, change);
    lse.toFloat32().forEach((value, row) => t.true(Math.abs(value - expected[row]!) < 2e-5, `${name}, row ${row}`));
  });
}

test('arguments', (t) => {
  const code = (body: () => unknown): unknown => (t.throws(body) as { code?: string }).code;
  t.is(
    code(() => slidingWindow(-1, 0)),
    'ERR_OUT_OF_RANGE',
  );
  t.is(
    code(() => dilated(0)),
    'ERR_OUT_OF_RANGE',
  );
  t.is(
    code(() => strided(1.5)),
    'ERR_OUT_OF_RANGE',
  );
  t.is(
    code(() => documents([0.5])),
    'ERR_INVALID_ARG_VALUE',
  );
  t.is(
    code(() => documents(7 as never)),
    'ERR_INVALID_ARG_TYPE',
  );
  t.is(
    code(() => segments(kinds, [1, 2] as never)),
    'ERR_SHAPE_MISMATCH',
  );
  t.is(
    code(() => alibi([[1]] as never)),
    'ERR_SHAPE_MISMATCH',
  );
  t.is(
    code(() => relativeBias([[1, 2]])),
    'ERR_SHAPE_MISMATCH',
  );
  t.is(
    code(() => relativeBias(weights, { buckets: 7 })),
    'ERR_SHAPE_MISMATCH',
  );
  t.is(
    code(() => relativeBias(weights, { bucket: 8 } as never)),
    'ERR_UNKNOWN_OPTION',
  );
  t.is(
    code(() => temperature(0)),
    'ERR_OUT_OF_RANGE',
  );
  t.is(
    code(() => logLengthScaling(1)),
    'ERR_OUT_OF_RANGE',
  );
});
