// Which rows of keys a rank's queries reach on another rank: found from the tile map of its mask, whatever its name.

import type { BoundProgram } from '../bound-program.js';
import { moved, reached, readsBatch } from './moved-programs.js';
import { countsOf, partOf } from './request.js';
import type { Request, Whole } from './request.js';
import { countOf } from './runs.js';
import type { Range, Run } from './runs.js';

/** What decides it: sizes and the mask, without any tensor. */
export type Question = Pick<Request, 'mask' | 'options'> & {
  readonly geometry: {
    readonly ragged: boolean;
    readonly batch: number;
    readonly headsQ: number;
    readonly headsKv: number;
  };
};

/** Rows of `source`, by their numbers there, that a rank's queries see; of each sequence. */
export function rowsNeeded(
  question: Question,
  whole: Pick<Whole, 'queries' | 'keys' | 'rows' | 'columns'>,
  rank: number,
  source: number,
): readonly (readonly Range[])[] {
  const [rows, columns] = [whole.rows[rank]!, whole.columns[source]!];
  const all = columns.map((runs, b) => {
    const end = countOf(runs);
    return end === 0 || countOf(rows[b]!) === 0 ? [] : [{ begin: 0, end }];
  });
  if (question.mask === null || all.every((ranges) => ranges.length === 0)) return all;
  return seen(question, moved(question.mask, partOf(question, whole, rows, columns)), rows, columns);
}

function seen(
  { mask, geometry }: Question,
  program: BoundProgram,
  rows: readonly (readonly Run[])[],
  columns: readonly (readonly Run[])[],
): readonly (readonly Range[])[] {
  const { ragged, batch, headsQ, headsKv } = geometry;
  if (batch === 0) return columns.map(() => []);
  // Sequences that are not ragged have rows in common: those that one of them needs travel for all.
  const copies = !ragged && readsBatch(mask!) ? batch : 1;
  const repeated = (counts: readonly number[]): number[] => Array.from({ length: copies }, () => counts).flat();
  const found = reached(program, {
    nq: repeated(countsOf(rows)),
    nkv: repeated(countsOf(columns)),
    headsQ,
    headsKv,
  });
  return copies === 1 ? found : [union(found.flat())];
}

function union(ranges: readonly Range[]): readonly Range[] {
  const result: Range[] = [];
  for (const range of [...ranges].sort((a, b) => a.begin - b.begin)) {
    const last = result.at(-1);
    if (last === undefined || range.begin > last.end) result.push(range);
    else result[result.length - 1] = { begin: last.begin, end: Math.max(last.end, range.end) };
  }
  return result;
}
