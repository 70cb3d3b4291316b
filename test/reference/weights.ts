// Attention whose weights are functions of their own scores, in float64, term by term:
//
//   w(i,j) = sigmoid(s + shift),  max(s, 0) / divisor,  max(s, 0)^2 / divisor       o_i = sum_j w(i,j) v_j
//
// with s as in attention.ts, over allowed keys; s = -inf counts as not allowed. And when a float32 result is right. An error e
// of a score moves its weight by at most e times the slope there, so with u = 2^-24, e = u (sqrt(d) + 4) A_i and
// A_i = max_j (scale * sum_d |q_d k_d| + |bias| + |shift|):
//
//   |o - ref| <= sum_j slope(s, e) e |v_j| + u (sqrt(nkv) + 8) sum_j w(i,j) |v_j|

import type { Normalizer } from '../../lib/index.js';
import type { Head } from './attention.js';
import { unit } from './tolerance.js';

export type Weighing = Exclude<Normalizer, string>;

interface Weight {
  shift: number;
  of(s: number): number;
  /** The most that the weight changes by, a unit of its score, within e of it. */
  slope(s: number, e: number): number;
}

export function weightOf(normalizer: Weighing, keys: number): Weight {
  const numberOf = (value: number | 'keys' | undefined, byKeys: number, otherwise: number) =>
    value === 'keys' ? byKeys : (value ?? otherwise);
  if (normalizer.kind === 'sigmoid') {
    const shift = numberOf(normalizer.shift, -Math.log(keys), 0);
    const sigmoid = (s: number) => 1 / (1 + Math.exp(-s - shift));
    return { shift, of: sigmoid, slope: (s, e) => sigmoid(s + e) };
  }
  if (normalizer.kind === 'softmax') throw new Error('softmax is in attention.ts');
  const divisor = numberOf(normalizer.divide, keys, 1);
  if (normalizer.kind === 'relu') {
    return { shift: 0, of: (s) => (s <= 0 ? 0 : s / divisor), slope: (s, e) => (s + e < 0 ? 0 : 1 / divisor) };
  }
  return {
    shift: 0,
    of: (s) => (s <= 0 ? 0 : (s * s) / divisor),
    slope: (s, e) => (2 * Math.max(0, s + e)) / divisor,
  };
}

export interface WeightedResult {
  /** [queries, dimV]. */
  output: Float64Array;
  /** What a float32 result may be away from it. */
  bound: Float64Array;
}

export function weighHead(head: Head, normalizer: Weighing): WeightedResult {
  const { queries, keys, dimQk, dimV, query, key, value, scale, softcap } = head;
  const weight = weightOf(normalizer, keys);
  const result = { output: new Float64Array(queries * dimV), bound: new Float64Array(queries * dimV) };
  for (let row = 0; row < queries; row++) {
    const seen: { column: number; score: number }[] = [];
    let magnitude = 0;
    for (let column = 0; column < keys; column++) {
      if (!head.allowed(row, column)) continue;
      let product = 0;
      let absolute = 0;
      for (let d = 0, a = row * dimQk, b = column * dimQk; d < dimQk; d++, a++, b++) {
        product += query[a]! * key[b]!;
        absolute += Math.abs(query[a]! * key[b]!);
      }
      const bias = head.bias?.(row, column) ?? 0;
      let score = scale * product;
      if (softcap !== 0) score = softcap * Math.tanh(score / softcap);
      const changed = head.score?.(score, row, column);
      score = (changed?.value ?? score) + bias;
      if (score === -Infinity) continue;
      const more = (changed?.magnitude ?? 0) + Math.abs(bias) + Math.abs(weight.shift);
      magnitude = Math.max(magnitude, Math.abs(scale) * absolute + more);
      seen.push({ column, score });
    }
    const error = unit * (Math.sqrt(dimQk) + 4) * magnitude;
    for (const { column, score } of seen) {
      const w = weight.of(score);
      const off = weight.slope(score, error) * error + unit * (Math.sqrt(keys) + 8) * w + 2 ** -126;
      for (let d = 0, o = row * dimV, v = column * dimV; d < dimV; d++, o++, v++) {
        result.output[o]! += w * value[v]!;
        result.bound[o]! += off * Math.abs(value[v]!);
      }
    }
  }
  return result;
}
