// Which rows of keys a rank's queries reach on another rank: found from the tile map of its mask, whatever its name.

import { moved } from './moved-programs.js';
import { reached } from './reached.js';
import { countsOf, partOf } from './request.js';
import type { Request, Whole } from './request.js';
import type { Range } from './runs.js';

/** Rows of `source`, by their numbers there, that a rank's queries see; of each sequence. */
export function rowsNeeded(
  request: Request,
  whole: Whole,
  rank: number,
  source: number,
): readonly (readonly Range[])[] {
  const { mask, geometry } = request;
  const [rows, columns] = [whole.rows[rank]!, whole.columns[source]!];
  const [nq, nkv] = [countsOf(rows), countsOf(columns)];
  if (mask === null) return nkv.map((end, b) => (end === 0 || nq[b] === 0 ? [] : [{ begin: 0, end }]));
  const { ragged, batch, headsQ, headsKv } = geometry;
  return reached(moved(mask, partOf(request, whole, rows, columns)), { nq, nkv, ragged, batch, headsQ, headsKv });
}
