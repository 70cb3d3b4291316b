// How scores become weights: caps, sinks, normalizers, other kernels than exp.

import { method } from './method.js';
import type { Methods, Usual } from './method.js';
import { attend, attendHeads, dot, mix, normalised, range, rowsOf, scores, softmax, sum, tensorOf } from './plain.js';
import type { Rows } from './plain.js';

const { exp, log, max } = Math;

/** Each row of scores of each head to weights, and these times the values. */
function weighed(
  { q, k, v }: Usual,
  weigh: (row: number[], i: number, h: number) => readonly number[],
  { scale, sees }: { scale?: number; sees?: (i: number, j: number) => boolean } = {},
): { output: Rows[] } {
  const how = { ...(scale === undefined ? {} : { scale }), ...(sees === undefined ? {} : { sees }) };
  return {
    output: range(4, (h) => {
      const raw = scores(rowsOf(q, 0, h), rowsOf(k, 0, h), how);
      return raw.map((row, i) => mix(weigh(row, i, h), rowsOf(v, 0, h)));
    }),
  };
}

/** Rows of length 1, exact in float32 nearly. */
const unit = (rows: Rows): Rows => rows.map((row) => row.map((x) => Math.fround(x / Math.sqrt(dot(row, row)))));
const causal = (i: number, j: number): boolean => j <= i;

export const weights: Methods = {
  'Soft-capped scores': method(
    () => ({}),
    (inputs) => weighed(inputs, (row) => softmax(row.map((s) => 0.7 * Math.tanh(s / 0.7)))),
  ),
  'Attention sinks': method(
    (source) => ({ sinks: source.numbers(4) }),
    (inputs) =>
      weighed(inputs, (row, _i, h) => {
        const total = sum(row.map((s) => exp(s))) + exp(inputs.sinks[h]!);
        return row.map((s) => exp(s) / total);
      }),
  ),
  'Softmax with one in the denominator': method(
    () => ({}),
    (inputs) => weighed(inputs, (row) => row.map((s) => exp(s) / (1 + sum(row.map((other) => exp(other)))))),
  ),
  'Sigmoid attention': method(
    () => ({}),
    (inputs) => weighed(inputs, (row) => row.map((s) => 1 / (1 + exp(-s + log(32))))),
  ),
  'ReLU attention': method(
    () => ({}),
    (inputs) => weighed(inputs, (row) => row.map((s) => max(s, 0) / 32)),
  ),
  'Squared ReLU': method(
    () => ({}),
    (inputs) => weighed(inputs, (row) => row.map((s) => max(s, 0) ** 2 / 32)),
  ),
  'Scaled cosine attention': method(
    (source) => {
      const rows = (): Rows[] => range(4, (h) => unit(rowsOf(source.tensor([1, 4, 32, 8]), 0, h)));
      return { q: tensorOf(rows()), k: tensorOf(rows()), tau: [0.05, 0.1, 0.2, 0.5].map(Math.fround) };
    },
    (inputs) => weighed(inputs, (row, _i, h) => softmax(row.map((s) => s / inputs.tau[h]!)), { scale: 1 }),
  ),
  'Taylor softmax': method(
    () => ({}),
    (inputs) => weighed(inputs, (row) => normalised(row.map((s) => 1 + s + s ** 2 / 2))),
  ),
  'Differential Transformer': method(
    (source) => ({ q2: source.tensor([1, 4, 32, 8]), k2: source.tensor([1, 4, 32, 8]), lambda: 0.3 }),
    (inputs) => {
      const of = ({ q, k, v }: Usual): Rows[] => attendHeads({ q, k, v }, () => ({ sees: causal }));
      const [a, b] = [of(inputs), of({ q: inputs.q2, k: inputs.k2, v: inputs.v })];
      return { output: a.map((rows, h) => rows.map((row, i) => row.map((x, d) => x - 0.3 * b[h]![i]![d]!))) };
    },
  ),
  'Adaptive attention span': method(
    (source) => ({ span: source.between(2, 12, 4) }),
    (inputs) =>
      weighed(inputs, (row, i, h) => {
        const soft = row.map((_, j) => Math.min(1, max(0, (4 + inputs.span[h]! - (i - j)) / 4)));
        return normalised(row.map((s, j) => (j <= i ? exp(s) * soft[j]! : 0)));
      }),
  ),
  'Persistent memory': method(
    (source) => ({ memoryK: source.tensor([1, 4, 5, 8]), memoryV: source.tensor([1, 4, 5, 8]) }),
    (inputs) => ({
      output: range(4, (h) => {
        const keys = [...rowsOf(inputs.k, 0, h), ...rowsOf(inputs.memoryK, 0, h)];
        const values = [...rowsOf(inputs.v, 0, h), ...rowsOf(inputs.memoryV, 0, h)];
        return attend(rowsOf(inputs.q, 0, h), keys, values, { sees: (i, j) => j <= i || j >= 32 });
      }),
    }),
  ),
  'Hopfield networks': method(
    () => ({}),
    ({ q, k }) => ({
      output: range(4, (h) => {
        const stored = rowsOf(k, 0, h);
        const step = (state: Rows): Rows => attend(state, stored, stored, { scale: 0.5 });
        return step(step(rowsOf(q, 0, h)));
      }),
    }),
  ),
};
