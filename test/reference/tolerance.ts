// When is a result right? The bounds of the specification, with u = 2^-24.
//
//   float32 output   |o - ref| <= u (sqrt(d) A_i + sqrt(nkv) + 8) sum_j p_ij |v_j|       per component
//   lse              |lse - ref| <= u (sqrt(d) A_i + |lse| + sqrt(nkv) + 8)
//   row maximum      |m - ref| <= u ((sqrt(d) + 2) A_i + 2 |m| + 8)
//   entropy, nats    |H - ref| <= u (sqrt(d) A_i + |lse| + sqrt(nkv) + 8) (2 + H)
//   16-bit output    max |o - ref| <= 2 max |lp - ref| + 2 max |(ref + 0.3 - 0.3) - ref|, the last in the output's type;
//                    mean |o - ref| <= 1.5 mean |lp - ref|, over the whole result
//
// Row maximum: it is a bare score, so nothing averages out: scale and base change cost a rounding each, softcap a few.
// Where weights would fall below float32's normal range they are 0, so outputs also get its smallest normal number.
// Entropy: an error e in ln p moves -sum p ln p by at most e sum p (1 + |ln p|) = e (1 + H); the other e is for the
// sums themselves.

import { round, type Dtype } from './half.js';
import type { HeadResult } from './attention.js';

export const unit = 2 ** -24;

export interface RowContext {
  dimQk: number;
  keys: number;
  magnitude: number;
  lse: number;
}

function base(row: RowContext): number {
  return Math.sqrt(row.dimQk) * row.magnitude + Math.sqrt(row.keys) + 8;
}

/** `spread` is sum_j p |v_j|. */
export function outputBound(row: RowContext, spread: number): number {
  return unit * base(row) * spread + 2 ** -126;
}

export function lseBound(row: RowContext): number {
  return unit * (base(row) + Math.abs(row.lse));
}

export function rowMaxBound(row: RowContext, rowMax: number): number {
  return unit * ((Math.sqrt(row.dimQk) + 2) * row.magnitude + 2 * Math.abs(rowMax) + 8);
}

export function entropyBound(row: RowContext, entropy: number): number {
  return lseBound(row) * (2 + entropy);
}

export function rowContext(result: HeadResult, row: number, dimQk: number, keys: number): RowContext {
  return { dimQk, keys, magnitude: result.magnitude[row]!, lse: result.lse[row]! };
}

/** Equal infinities and zero distances pass; NaN passes only against NaN. */
export function within(actual: number, expected: number, bound: number): boolean {
  if (Number.isNaN(expected)) return Number.isNaN(actual);
  return actual === expected || Math.abs(actual - expected) <= bound;
}

/** Gathers one whole result of a 16-bit type against the max and mean rule. */
export class HalfRule {
  readonly #dtype: Dtype;
  #count = 0;
  #ours = { max: 0, sum: 0 };
  #lp = { max: 0, sum: 0 };
  #floor = 0;

  constructor(dtype: Dtype) {
    this.#dtype = dtype;
  }

  add(actual: number, reference: number, lp: number): void {
    const note = (into: { max: number; sum: number }, error: number) => {
      into.max = error > into.max || Number.isNaN(error) ? error : into.max; // a NaN stays
      into.sum += error;
    };
    const rounded = round(this.#dtype, reference);
    const floor = round(this.#dtype, round(this.#dtype, rounded + 0.3) - 0.3);
    this.#count++;
    note(this.#ours, Math.abs(actual - reference));
    note(this.#lp, Math.abs(lp - reference));
    this.#floor = Math.max(this.#floor, Math.abs(floor - rounded));
  }

  /**
   * null when the rule holds, else what is wrong. `times`: what the maximum may be of lp's; less on an emulated device.
   * `fewest`: elements below which there is no mean to speak of.
   */
  verdict(times = 2, fewest = 1): string | null {
    if (this.#count === 0) return null;
    const max = times * (this.#lp.max + this.#floor);
    if (!(this.#ours.max <= max)) return `max error ${this.#ours.max} over ${max}`;
    if (this.#count < fewest) return null;
    const mean = (1.5 * this.#lp.sum) / this.#count;
    if (!(this.#ours.sum / this.#count <= mean)) return `mean error ${this.#ours.sum / this.#count} over ${mean}`;
    return null;
  }
}
