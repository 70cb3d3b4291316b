// Grids of positions: their axes as options, and in the text of programs.

import { AttentionError, describe, invalidType, invalidValue } from './errors.js';
import { checkInteger } from './shape.js';
import { isArray, readLength, readList } from './snapshot.js';

/** A value for every axis of a grid, or one for all of them. */
export type PerAxis<Value> = Value | readonly Value[];

/** An axis has tables with two entries a place, which are written when the mask is made. */
const maxLength = 2 ** 22;

/** Checks a grid: one to three lengths. */
export function readGrid(value: unknown): readonly number[] {
  const argument = 'options.grid';
  if (!isArray(argument, value)) throw invalidType(argument, 'an array of one to three lengths', value);
  const rank = readLength(argument, value);
  if (rank < 1 || rank > 3) throw invalidValue(argument, 'one to three lengths', `${rank}`);
  const lengths = readList(argument, value, (length, name) => checkInteger(name, length, 1, maxLength));
  const cells = lengths.reduce((product, length) => product * length, 1);
  if (cells > 2 ** 30) {
    throw new AttentionError('ERR_OUT_OF_RANGE', argument, 'at most 2^30 cells', describe(cells));
  }
  return lengths;
}

/** A value for each axis. */
export function perAxis(argument: string, value: unknown, rank: number): readonly unknown[] {
  if (!isArray(argument, value)) return new Array<unknown>(rank).fill(value);
  const length = readLength(argument, value);
  if (length !== rank) throw invalidValue(argument, `a value for each of the ${rank} axes`, `${length}`);
  return readList(argument, value, (element) => element);
}

/** Text for the place of `position` on each axis; cell n of the grid is at position `origin` + n, and `extra` is origin. */
export function places(position: string, lengths: readonly number[], origin: number): string[] {
  const cell = origin > 0 ? `(${position} - extra)` : position;
  let size = lengths.reduce((cells, length) => cells * length, 1);
  return lengths.map((length, axis) => {
    size /= length;
    const line = size > 1 ? `Math.floor(${cell} / ${size})` : cell;
    return axis > 0 ? `${line} % ${length}` : line;
  });
}
