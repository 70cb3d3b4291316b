// Cases of the grid with programs: what a program means at each pair of a case, and calls that have it.

import { mask, score, type Mask, type Score } from '../../lib/index.js';
import type { Head } from './attention.js';
import { callOf, type Call, type Options } from './call.js';
import type { Case, SequenceShape } from './case.js';
import type { Pair } from './interpreter.js';
import { functionOf, plainMask } from './programs.js';
import { randomProgram, type RandomLimits, type RandomProgram } from './random-program.js';
import type { Values } from './values.js';

/** Positions, rows, heads and sequences of a case, as random programs take them. */
export function limitsOf(one: Case, values: Values, depth: number): RandomLimits {
  const lengths = values.sequences.flatMap(({ queries, keys }) => [queries, keys]);
  return { size: Math.max(2, ...lengths), heads: one.headsQ, batch: one.batch, depth };
}

/** A case whose positions are never negative: random programs read tables by them. */
export function fromZero(one: Case, values: Values): Case {
  return values.sequences.some(({ queries, keys }) => queries > keys) ? { ...one, align: 'top-left' } : one;
}

export function pairOf(
  one: Case,
  { batch, queries, keys }: SequenceShape,
  h: number,
  row: number,
  col: number,
  s = 0,
): Pair {
  const start = one.align === 'top-left' ? 0 : keys - queries;
  const hkv = Math.floor(h / (one.headsQ / one.headsKv));
  return { i: start + row, j: col, row, col, b: batch, h, hkv, nq: queries, nkv: keys, s };
}

export function libraryMask({ source, parameters, grid }: RandomProgram): Mask {
  return mask(source, parameters as never, grid === undefined ? undefined : { grid: [...grid] });
}

export function libraryScore({ source, parameters, grid }: RandomProgram): Score {
  return score(source, parameters as never, grid === undefined ? undefined : { grid: [...grid] });
}

/** The case's call with programs besides what it has already. */
export function callWith(one: Case, values: Values, programs: { mask?: Mask; score?: Score }): Call {
  const call = callOf(one, values);
  const options: Record<string, unknown> = { ...call.options };
  if (programs.mask !== undefined) options['mask'] = [options['mask'] ?? [], programs.mask].flat();
  if (programs.score !== undefined) options['score'] = programs.score;
  return { ...call, options: options as Options };
}

/** Heads that see only what a mask shows too: the function itself is called, with plain reads. */
export function hideBy(one: Case, values: Values, heads: Head[][], program: RandomProgram): void {
  const shows = plainMask(functionOf(program.source), program.parameters, program.grid);
  heads.forEach((list, s) => {
    list.forEach((head, h) => {
      const { allowed } = head;
      head.allowed = (row, column) => allowed(row, column) && shows(pairOf(one, values.sequences[s]!, h, row, column));
    });
  });
}

export function maskFor(one: Case, values: Values, seed: number, depth = 3): RandomProgram {
  return randomProgram('mask', seed, limitsOf(one, values, depth));
}
