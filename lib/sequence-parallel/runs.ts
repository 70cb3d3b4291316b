// Which rows of a sequence a rank holds: a list of affine runs, in the order of its rows.

import { shapeMismatch } from '../errors.js';
import type { Amount, Piece } from '../program/relocate.js';

/**
 * How the rows of a sequence are dealt out to ranks. 'contiguous': one stretch a rank. 'zigzag': of twice as many
 * stretches as ranks, rank r has those at r from the front and at r from the end. 'striped': rank r has every P-th row
 * from r on.
 */
export type Sharding = 'contiguous' | 'zigzag' | 'striped';
export const shardings: readonly Sharding[] = ['contiguous', 'zigzag', 'striped'];

/** Rows start, start + step, … of a sequence, `count` of them. */
export interface Run {
  readonly start: number;
  readonly step: number;
  readonly count: number;
}

/** Rows [begin, end). */
export interface Range {
  readonly begin: number;
  readonly end: number;
}

/** What a rank has of a sequence of `length` rows. */
export function runsOf(sharding: Sharding, length: number, rank: number, size: number): readonly Run[] {
  if (sharding === 'striped') return joined([{ start: rank, step: size, count: Math.ceil((length - rank) / size) }]);
  const stretches = sharding === 'contiguous' ? size : 2 * size;
  const numbers = sharding === 'contiguous' ? [rank] : [rank, stretches - 1 - rank];
  return joined(
    numbers.map((n) => {
      const start = Math.floor((length * n) / stretches);
      return { start, step: 1, count: Math.floor((length * (n + 1)) / stretches) - start };
    }),
  );
}

/**
 * Of each rank the runs of each sequence, from how many rows it has: [rank][sequence]. Contiguous shards may be of any
 * lengths. Throws ERR_SHAPE_MISMATCH.
 */
export function placed(
  argument: string,
  sharding: Sharding,
  counts: readonly (readonly number[])[],
): readonly (readonly (readonly Run[])[])[] {
  const size = counts.length;
  const lengths = totals(counts);
  const before = lengths.map(() => 0);
  return counts.map((own, rank) =>
    own.map((count, b) => {
      if (sharding === 'contiguous') {
        const start = before[b]!;
        before[b] = start + count;
        return joined([{ start, step: 1, count }]);
      }
      const runs = runsOf(sharding, lengths[b]!, rank, size);
      const expected = countOf(runs);
      if (count === expected) return runs;
      const whole = `${lengths[b]} rows on ${size} ranks`;
      throw shapeMismatch(argument, `${expected} rows on rank ${rank} ('${sharding}', ${whole})`, `${count}`);
    }),
  );
}

/** Rows of each sequence on all ranks. */
export function totals(counts: readonly (readonly number[])[]): readonly number[] {
  return counts[0]!.map((_, b) => counts.reduce((sum, own) => sum + own[b]!, 0));
}

export function countOf(runs: readonly Run[]): number {
  return runs.reduce((sum, { count }) => sum + count, 0);
}

/** The same rows in as few runs as can be, all of one step; empty ones are left out. */
export function joined(runs: readonly Run[]): readonly Run[] {
  const result: Run[] = [];
  for (const run of runs) {
    if (run.count < 1) continue;
    const last = result.at(-1);
    if (last !== undefined && run.start === last.start + last.step * last.count) {
      result[result.length - 1] = { ...last, count: last.count + run.count };
    } else {
      result.push(run);
    }
  }
  return result;
}

/** Those of the rows that are in the ranges. */
export function restricted(runs: readonly Run[], ranges: readonly Range[]): readonly Run[] {
  const result: Run[] = [];
  for (const { begin, end } of ranges) {
    let first = 0;
    for (const { start, step, count } of runs) {
      const [from, to] = [Math.max(begin, first), Math.min(end, first + count)];
      if (from < to) result.push({ start: start + step * (from - first), step, count: to - from });
      first += count;
    }
  }
  return joined(result);
}

/** The runs of each sequence, all of one step, as the pieces that programs are moved by. */
export function piecesOf(sequences: readonly (readonly Run[])[]): readonly Piece[] {
  const most = Math.max(1, ...sequences.map((runs) => runs.length));
  const step = sequences.find((runs) => runs.length > 0)?.[0]!.step ?? 1;
  return Array.from({ length: most }, (_, n) => {
    const froms: number[] = [];
    const bases: number[] = [];
    for (const runs of sequences) {
      const from = countOf(runs.slice(0, n));
      froms.push(from);
      bases.push(n < runs.length ? runs[n]!.start - step * from : 0);
    }
    return { from: alike(froms), base: alike(bases), step };
  });
}

export function alike(values: readonly number[]): Amount {
  return values.every((value) => value === values[0]) ? (values[0] ?? 0) : values;
}
