// Sequence lengths: taken at once into an array of the call's own, then checked. Linear in the number of sequences.

import { endianness } from 'node:os';

import { bufferOf, byteOffsetOf, checkReadable, lengthOf, typedArrayName } from './arrays.js';
import { AttentionError, describe, invalidType, outOfRange, shapeMismatch } from './errors.js';
import { takeLengths } from './lengths-memory.js';
import { isArray, reading, readLength } from './snapshot.js';

/** Lengths, or cumulative lengths, of sequences: integers in rows. */
export type LengthsInput = readonly number[] | Int32Array | BigInt64Array;

/** Which half of a 64-bit integer is the high one here. */
const highHalf = endianness() === 'LE' ? 1 : 0;

const kinds = 'a number[], Int32Array or BigInt64Array';

/** The values as they are now; later writes to the argument do not matter. */
export function snapshotLengths(value: unknown, argument: string): Float64Array {
  if (isArray(argument, value)) return reading(argument, () => fromNumbers(value, argument));
  switch (typedArrayName(value)) {
    case 'Int32Array':
      checkReadable(argument, value as Int32Array);
      return new Float64Array(value as Int32Array);
    case 'BigInt64Array':
      checkReadable(argument, value as BigInt64Array);
      return fromBigInts(value as BigInt64Array);
    default:
      throw invalidType(argument, kinds, value);
  }
}

/**
 * Starts of sequences and their end, as they are now: B + 1 values from 0 to `total` that never fall. One pass, as there
 * may be many and this may be the only one for a while.
 */
export function readCumulative(value: unknown, total: number, argument: string): Float64Array {
  if (isArray(argument, value)) {
    return reading(argument, () => cumulative(value, readLength(argument, value), total, argument));
  }
  const given = snapshotLengths(value, argument);
  return cumulative(given, given.length, total, argument);
}

function cumulative(given: ArrayLike<unknown>, length: number, total: number, argument: string): Float64Array {
  if (length === 0) throw shapeMismatch(argument, 'B + 1 values', 'none');
  const lengths = takeLengths(length);
  if (typeof given[0] === 'number' && given[0] !== 0) throw outOfRange(`${argument}[0]`, '0', given[0]);
  let previous = 0;
  for (let i = 0; i < length; i += 1) {
    const next = given[i];
    if (typeof next !== 'number') throw invalidType(`${argument}[${i}]`, 'an integer', next);
    // Rows are at most 2^31 - 1: compared as integers, and not as doubles, where the array holds nothing else.
    if ((next | 0) !== next || next < previous || next > total) {
      throw outOfRange(`${argument}[${i}]`, `an integer in [${previous}, ${total}]`, next);
    }
    lengths[i] = next;
    previous = next;
  }
  if (previous !== total) {
    throw new AttentionError(
      'ERR_SHAPE_MISMATCH',
      argument,
      `a last value of ${total}, the rows of the tensor`,
      describe(previous),
    );
  }
  return lengths;
}

/** Valid rows of each sequence of a padded batch: B values in [0, rows]. */
export function checkPadded(lengths: Float64Array, batch: number, rows: number, argument: string): void {
  if (lengths.length !== batch) throw shapeMismatch(argument, `${batch} values, one a sequence`, `${lengths.length}`);
  for (let i = 0; i < lengths.length; i += 1) {
    const length = lengths[i]!;
    if (!(length >= 0 && length <= rows && Math.floor(length) === length)) {
      throw outOfRange(`${argument}[${i}]`, `an integer in [0, ${rows}]`, length);
    }
  }
}

function fromNumbers(values: readonly unknown[], argument: string): Float64Array {
  const length = readLength(argument, values);
  const result = new Float64Array(length);
  for (let i = 0; i < length; i += 1) {
    const value = values[i];
    if (typeof value !== 'number') throw invalidType(`${argument}[${i}]`, 'an integer', value);
    result[i] = value;
  }
  return result;
}

function fromBigInts(values: BigInt64Array): Float64Array {
  // Reading a BigInt64Array makes a BigInt an element, several times the cost of reading its halves.
  const length = lengthOf(values);
  const result = new Float64Array(length);
  if (length === 0) return result;
  const halves = new Int32Array(bufferOf(values), byteOffsetOf(values), 2 * length);
  for (let i = 0; i < length; i += 1) {
    result[i] = halves[2 * i + highHalf]! * 2 ** 32 + (halves[2 * i + 1 - highHalf]! >>> 0);
  }
  return result;
}
