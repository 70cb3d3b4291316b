// Which query rows a slow peer does: every n-th of each sequence, in all heads, so that a call lasts a fraction of a second.
// The share of the work that this is goes into the result.
import { flops, sequences, visible, type Case } from '../case.js';

type Part = ReturnType<typeof sequences>[number];

export interface RowSample {
  parts: { part: Part; rows: number[] }[];
  /** Part of the case's work. */
  share: number;
  /** Is row `row` of the tensor's batch entry one of them? */
  has(batch: number, row: number): boolean;
}

/** @param work operations that a call should do, about */
export function sampleRows(c: Case, work: number): RowSample {
  const all = flops(c);
  const sequencesOfCase = sequences(c);
  const longest = Math.max(...sequencesOfCase.map(({ queries }) => queries));
  const stride = Math.max(1, Math.min(longest, Math.ceil(all / work)));
  // Rows in the middle of each stride: their pairs are those of the average row.
  const phase = stride >> 1;
  const chosen = new Set<string>();
  let done = 0;
  const parts = sequencesOfCase.map((part) => {
    const rows: number[] = [];
    for (let row = phase; row < part.queries; row += stride) {
      const [first, end] = visible(c.mask, row, part.queries, part.keys);
      done += (end - first) * c.headsQ * 4 * c.dim;
      chosen.add(`${part.batch} ${part.rowQ + row}`);
      rows.push(row);
    }
    return { part, rows };
  });
  return { parts, share: done / all, has: (batch, row) => chosen.has(`${batch} ${row}`) };
}
