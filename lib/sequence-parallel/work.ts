// How much a rank has to compute with the keys of another, and how many of them have to come: counted on a few of its
// rows, by the tile map of their own call.

import { explainBlock } from './explain-block.js';
import { rowsNeeded } from './needs.js';
import { countsOf, partOf } from './request.js';
import type { Request, Whole } from './request.js';
import { countOf } from './runs.js';
import type { Run } from './runs.js';
import { rowsIn } from './volume.js';

/** Rows of a rank that are looked at, of all sequences together, and stretches that columns are told apart by. */
const mostRows = 2 ** 15;
const mostStretches = 256;

type Rows = readonly (readonly Run[])[];

/** What some rows have to do with some columns. */
export interface Work {
  /** Useful floating-point operations, of all heads. */
  readonly flops: number;
  /** Columns that some row sees, of all sequences; with gaps, as they travel. */
  readonly columns: number;
}

/** Between the rows of one rank and the columns of another. */
export function workOf(request: Request, whole: Whole, rows: Rows, columns: Rows): Work {
  const { geometry, mask } = request;
  const { batch, headsQ, headsKv, dimQk, dimV, ragged } = geometry;
  const keys = countsOf(columns);
  if (mask === null) {
    const pairs = rows.reduce((sum, runs, b) => sum + countOf(runs) * keys[b]!, 0) * (ragged ? 1 : batch);
    const seen = keys.map((count, b) => (countOf(rows[b]!) > 0 ? count : 0));
    return { flops: 2 * (dimQk + dimV) * headsQ * pairs, columns: rowsIn(geometry, seen) };
  }
  const { some, times } = thinned(rows);
  const step = Math.ceil(Math.max(1, ...keys) / mostStretches);
  const needed = rowsNeeded(request, whole, some, columns, step).map((ranges) =>
    ranges.reduce((sum, { begin, end }) => sum + end - begin, 0),
  );
  if (needed.every((count) => count === 0)) return { flops: 0, columns: 0 };
  const block = { queries: countsOf(some), keys, part: partOf(request, whole, some, columns) };
  const { flops } = explainBlock({ ...request, score: null }, block, headsQ, headsKv);
  return { flops: flops * times, columns: rowsIn(geometry, needed) };
}

/** Every n-th row, and how many rows each stands for. An odd n does not fall in step with patterns of even periods. */
function thinned(rows: Rows): { readonly some: Rows; readonly times: number } {
  const total = (of: Rows): number => of.reduce((sum, runs) => sum + countOf(runs), 0);
  const all = total(rows);
  if (all <= mostRows) return { some: rows, times: 1 };
  const every = Math.ceil(all / mostRows) | 1;
  const some = rows.map((runs) =>
    runs.map(({ start, step, count }) => ({ start, step: step * every, count: Math.ceil(count / every) })),
  );
  return { some, times: all / total(some) };
}
