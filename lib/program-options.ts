// Options of mask() and score() besides the program's own parameters.

import { invalidType, shapeMismatch } from './errors.js';
import { checkShape, countOf } from './shape.js';
import { isArray, readSnapshot } from './snapshot.js';

export interface ProgramOptions {
  /**
   * Sizes of the grid that positions count through, row-major, 1 to 3 axes: programs then read `i.x`, `i.y`, `i.z` (and
   * j's), x being the last and fastest axis.
   */
  readonly grid?: readonly number[] | undefined;
}

export function readProgramOptions(options: unknown): { grid: readonly number[] | undefined } {
  const { grid } = readSnapshot('options', options, ['grid']);
  if (grid === undefined) return { grid: undefined };
  if (!isArray('options.grid', grid)) throw invalidType('options.grid', 'an array of 1 to 3 sizes', grid);
  const sizes = checkShape('options.grid', grid);
  if (sizes.length < 1 || sizes.length > 3 || countOf(sizes) < 1 || countOf(sizes) > 2 ** 31 - 1) {
    throw shapeMismatch('options.grid', '1 to 3 sizes of at least 1', `[${sizes.join(', ')}]`);
  }
  return { grid: sizes };
}
