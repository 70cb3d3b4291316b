// Masks that are rules over positions, and the meaning of a `mask` option: one band and any number of grids.

import { AttentionError, describe, invalidType } from './errors.js';
import type { TensorInput } from './tensor.js';

/** Keys a query sees, by the distance j - i of their positions: low <= j - i <= high. */
export interface Band {
  readonly low: number;
  readonly high: number;
}

let bandOf: (value: unknown) => Band | undefined;
let make: (band: Band, source: string) => Mask;

/**
 * A rule that says which keys a query may see, by their positions. Made by {@link causal} and {@link slidingWindow};
 * immutable, and usable in any number of calls.
 *
 * The query of row r of a sequence stands at position r + nkv - nq (`align: 'bottom-right'`, the default) or r
 * (`align: 'top-left'`); the key of row c stands at position c. Rows count inside the sequence.
 */
export class Mask {
  readonly #band: Band;
  readonly #source: string;

  static {
    bandOf = (value) => (typeof value === 'object' && value !== null && #band in value ? value.#band : undefined);
    make = (band, source) => new Mask(band, source);
    const inspect = Symbol.for('nodejs.util.inspect.custom');
    Object.defineProperty(this.prototype, inspect, { value: this.prototype.toString, configurable: true });
  }

  private constructor(band: Band, source: string) {
    this.#band = band;
    this.#source = source;
  }

  /** How the mask was made, e.g. `slidingWindow(256, 0)`. */
  toString(): string {
    return this.#source;
  }
}

/** One mask: a rule, or a boolean tensor (see `mask` of the options). */
export type MaskItem = Mask | TensorInput;

/** Keys at the query's own position and before: j <= i. */
export function causal(): Mask {
  return make({ low: -Infinity, high: 0 }, 'causal()');
}

/**
 * Keys at most `left` positions before the query and at most `right` after it, both inclusive:
 * i - left <= j <= i + right. So a query sees at most left + 1 + right keys, itself among them.
 *
 * @param left Integer >= 0; `null` or `Infinity` for no bound on that side.
 * @param right The same for the other side; 0 gives a causal window. There is no default: libraries differ in it.
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE`.
 */
export function slidingWindow(left: number | null, right: number | null): Mask {
  const low = 0 - checkReach('left', left);
  const high = checkReach('right', right);
  return make({ low, high }, `slidingWindow(${describe(left)}, ${describe(right)})`);
}

/** The band of a mask; undefined for anything that is not a {@link Mask}. */
export function readBand(value: unknown): Band | undefined {
  return bandOf(value);
}

/** Keys that both bands allow. */
export function intersect(a: Band, b: Band): Band {
  return { low: Math.max(a.low, b.low), high: Math.min(a.high, b.high) };
}

export const everything: Band = { low: -Infinity, high: Infinity };

function checkReach(argument: string, value: unknown): number {
  if (value === null || value === Infinity) return Infinity;
  const expected = 'an integer >= 0, or null for no bound';
  if (typeof value !== 'number') throw invalidType(argument, expected, value);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new AttentionError('ERR_OUT_OF_RANGE', argument, expected, describe(value));
  }
  return value;
}
