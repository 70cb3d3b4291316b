// Attention as papers write it down, in float64: rows of numbers, all scores of a row, one softmax.

import { Tensor } from '../../lib/index.js';
import { element } from '../helpers/tensors.js';

export type Rows = number[][];

/** What a query does with the keys. */
export interface How {
  /** Factor of q·k. Default 1/√d. */
  scale?: number;
  sees?: (i: number, j: number) => boolean;
  score?: (s: number, i: number, j: number) => number;
}

/** The last two axes of a tensor as float64 rows. */
export function rowsOf(tensor: Tensor, ...lead: number[]): Rows {
  const [rows, columns] = tensor.shape.slice(lead.length) as [number, number];
  return grid(rows, columns, (i, j) => element(tensor, [...lead, i, j]));
}

/** A tensor [1, H, N, D] of float32 numbers. */
export function tensorOf(heads: readonly Rows[]): Tensor {
  return Tensor.from(Float32Array.from(heads.flat(2)), [1, heads.length, heads[0]!.length, heads[0]![0]!.length]);
}

export function range<Item>(length: number, item: (n: number) => Item): Item[] {
  return Array.from({ length }, (_, n) => item(n));
}

export function grid(rows: number, columns: number, cell: (i: number, j: number) => number): Rows {
  return range(rows, (i) => range(columns, (j) => cell(i, j)));
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export function dot(a: readonly number[], b: readonly number[]): number {
  return sum(a.map((x, n) => x * b[n]!));
}

/** exp(x) / Σ exp(x); zeros where nothing is above −∞. */
export function softmax(values: readonly number[]): number[] {
  const top = Math.max(...values);
  if (top === -Infinity) return values.map(() => 0);
  return normalised(values.map((s) => Math.exp(s - top)));
}

/** x / Σ x; zeros where that is 0. */
export function normalised(values: readonly number[]): number[] {
  const total = sum(values);
  return values.map((x) => (total === 0 ? 0 : x / total));
}

/** Σ w_j · row_j. */
export function mix(weights: readonly number[], rows: Rows): number[] {
  return rows[0]!.map((_, d) => sum(rows.map((row, j) => weights[j]! * row[d]!)));
}

/** One row of scores for each query, −∞ where it does not see the key. */
export function scores(q: Rows, k: Rows, how: How = {}): Rows {
  const { scale = 1 / Math.sqrt(q[0]!.length), sees = () => true, score = (s) => s } = how;
  return q.map((a, i) => k.map((b, j) => (sees(i, j) ? score(scale * dot(a, b), i, j) : -Infinity)));
}

export function attend(q: Rows, k: Rows, v: Rows, how: How = {}): Rows {
  return scores(q, k, how).map((row) => mix(softmax(row), v));
}

/** {@link attend} for each query head of batch entry `b`; query heads share key heads in consecutive groups. */
export function attendHeads(
  { q, k, v }: { q: Tensor; k: Tensor; v: Tensor },
  how: (h: number) => How = () => ({}),
  b = 0,
): Rows[] {
  const group = q.shape[1]! / k.shape[1]!;
  return range(q.shape[1]!, (h) => {
    const kv = Math.floor(h / group);
    return attend(rowsOf(q, b, h), rowsOf(k, b, kv), rowsOf(v, b, kv), how(h));
  });
}
