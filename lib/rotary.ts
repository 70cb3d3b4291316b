// Rotary position embedding of a cache: which components turn, in which pairs, how fast.

import { checkReadable, lengthOf, typedArrayName } from './arrays.js';
import { AttentionError, describe, invalidType, invalidValue, outOfRange, shapeMismatch } from './errors.js';
import { choice } from './options.js';
import { checkInteger } from './shape.js';
import { isArray, orElse, readElement, readLength, readSnapshot } from './snapshot.js';

/** How a cache turns queries and keys by their positions (RoFormer, Su et al. 2021). */
export interface RopeOptions {
  /**
   * Which components form pair f of `dim`: `'halves'` (f, f + dim/2), as GPT-NeoX, Llama and Qwen checkpoints in their
   * usual form; `'interleaved'` (2f, 2f + 1), as RoFormer and GPT-J. No default: the wrong one gives plausible nonsense.
   */
  readonly pairing: 'halves' | 'interleaved';
  /** How many components turn, an even number. Default: all from `offset` on. */
  readonly dim?: number | undefined;
  /** The first component that turns. Default 0. */
  readonly offset?: number | undefined;
  /** Pair f turns by base^(-2f/dim) radians a position. Default 10000. */
  readonly base?: number | undefined;
  /** Instead of `base`: radians a position, one a pair, [dim / 2]; for the scaled tables of long contexts. Copied. */
  readonly frequencies?: Float32Array | Float64Array | readonly number[] | undefined;
}

export interface Rope {
  readonly interleaved: boolean;
  readonly offset: number;
  readonly frequencies: readonly number[];
}

/** The meaning of `rope` for keys of `width` components; null for none. */
export function readRope(value: unknown, width: number): Rope | null {
  if (value === undefined) return null;
  const argument = 'options.rope';
  const given = readSnapshot(argument, value, ['pairing', 'dim', 'offset', 'base', 'frequencies']);
  if (given['pairing'] === undefined) {
    throw invalidValue(`${argument}.pairing`, "'halves' or 'interleaved' (there is no default)", 'undefined');
  }
  const pairing = choice(`${argument}.pairing`, given['pairing'], ['halves', 'interleaved']);
  const offset = given['offset'] === undefined ? 0 : checkInteger(`${argument}.offset`, given['offset'], 0, width - 2);
  const dim = checkInteger(`${argument}.dim`, orElse(given['dim'], width - offset), 2, width - offset);
  if (dim % 2 !== 0) throw outOfRange(`${argument}.dim`, 'an even number', dim);
  const pairs = dim / 2;
  return {
    interleaved: pairing === 'interleaved',
    offset,
    frequencies: readFrequencies(given['base'], given['frequencies'], pairs),
  };
}

function readFrequencies(base: unknown, table: unknown, pairs: number): readonly number[] {
  const argument = 'options.rope.frequencies';
  if (table === undefined) {
    const number = base === undefined ? 10000 : checkBase(base);
    return Array.from({ length: pairs }, (_, f) => number ** (-f / pairs));
  }
  if (base !== undefined) throw invalidValue('options.rope.base', 'none with options.rope.frequencies', describe(base));
  const name = typedArrayName(table);
  const typed = name === 'Float32Array' || name === 'Float64Array';
  const count = lengthOfList(argument, table, typed, 'an array of numbers');
  if (count !== pairs) throw shapeMismatch(argument, `[dim / 2] = [${pairs}]`, `[${count}]`);
  return Array.from({ length: pairs }, (_, f) => {
    const frequency = readElement(argument, table as ArrayLike<unknown>, f);
    if (typeof frequency !== 'number') throw invalidType(`${argument}[${f}]`, 'a number', frequency);
    if (!Number.isFinite(frequency)) throw outOfRange(`${argument}[${f}]`, 'a finite number', frequency);
    return frequency;
  });
}

function checkBase(value: unknown): number {
  const argument = 'options.rope.base';
  if (typeof value !== 'number') throw invalidType(argument, 'a number > 0', value);
  if (!(value > 0 && value < Infinity)) {
    throw new AttentionError('ERR_OUT_OF_RANGE', argument, 'a finite number > 0', describe(value));
  }
  return value;
}

/** Positions of `rows` tokens, the same for all sequences or one row each; null for the default. */
export function readPositions(value: unknown, rows: number, batch: number, rope: boolean): Int32Array | null {
  if (value === undefined) return null;
  const argument = 'options.positions';
  if (!rope) {
    throw invalidValue(argument, 'none in a cache without rope (masks go by places in the cache)', describe(value));
  }
  const typed = typedArrayName(value) === 'Int32Array';
  const count = lengthOfList(argument, value, typed, 'an Int32Array or an array of integers');
  if (count !== rows && count !== batch * rows) {
    const expected = batch === 1 ? `[${rows}]` : `[${rows}] or [${batch}, ${rows}]`;
    throw shapeMismatch(argument, `${expected}, one a token`, `${count} values`);
  }
  if (typed) return new Int32Array(value as Int32Array);
  const positions = new Int32Array(count);
  for (let n = 0; n < count; n += 1) {
    positions[n] = checkInt32(`${argument}[${n}]`, readElement(argument, value as ArrayLike<unknown>, n));
  }
  return positions;
}

/** Of an array, or of one that is `typed`. */
function lengthOfList(argument: string, value: unknown, typed: boolean, expected: string): number {
  if (typed) {
    checkReadable(argument, value as Int32Array);
    return lengthOf(value as Int32Array);
  }
  if (!isArray(argument, value)) throw invalidType(argument, expected, value);
  return readLength(argument, value);
}

function checkInt32(argument: string, value: unknown): number {
  if (typeof value !== 'number') throw invalidType(argument, 'an integer', value);
  if (!Number.isInteger(value) || value !== (value | 0)) throw outOfRange(argument, 'an integer within int32', value);
  return value;
}
