// The rows of a round come in portions where there are few ranks: a rank that has computed with its own keys would wait
// for all of those of another otherwise, though it could begin with the first.

import type { Range } from './runs.js';

/** Rounds and portions together are about as many as this. */
const enough = 8;
/** Fewer rows are not worth a call of their own. */
const leastRows = 1024;

/** How many portions so many rows of keys come in. */
export function portionsFor(size: number, rows: number): number {
  return Math.max(1, Math.min(Math.floor(enough / size), Math.floor(rows / leastRows)));
}

/** Ranges of rows of each sequence, cut into portions of equal parts of each. */
export function portionsOf(
  size: number,
  sequences: readonly (readonly Range[])[],
): readonly (readonly (readonly Range[])[])[] {
  const rows = sequences.map((ranges) => ranges.reduce((sum, { begin, end }) => sum + end - begin, 0));
  const all = rows.reduce((sum, count) => sum + count, 0);
  const count = portionsFor(size, all);
  if (all === 0) return [];
  return Array.from({ length: count }, (_, n) =>
    sequences.map((ranges, b) =>
      within(ranges, Math.floor((rows[b]! * n) / count), Math.floor((rows[b]! * (n + 1)) / count)),
    ),
  );
}

/** Rows [from, to) of those in the ranges. */
function within(ranges: readonly Range[], from: number, to: number): readonly Range[] {
  const result: Range[] = [];
  let first = 0;
  for (const { begin, end } of ranges) {
    const [low, high] = [Math.max(from, first), Math.min(to, first + end - begin)];
    if (low < high) result.push({ begin: begin + low - first, end: begin + high - first });
    first += end - begin;
  }
  return result;
}
