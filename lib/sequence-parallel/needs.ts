// Which rows of keys a rank's queries reach on another rank: found from the tile map of its mask, whatever its name.

import { moved } from './moved-programs.js';
import { reached } from './reached.js';
import { countsOf, partOf } from './request.js';
import type { Counts, Request } from './request.js';
import type { Range, Run } from './runs.js';

/** Which of the columns some of the rows see, by their numbers among them, `step` at a time; of each sequence. */
export function rowsNeeded(
  request: Request,
  whole: Counts,
  rows: readonly (readonly Run[])[],
  columns: readonly (readonly Run[])[],
  step = 1,
): readonly (readonly Range[])[] {
  const { mask, geometry } = request;
  const [nq, nkv] = [countsOf(rows), countsOf(columns)];
  if (mask === null) return nkv.map((end, b) => (end === 0 || nq[b] === 0 ? [] : [{ begin: 0, end }]));
  const { ragged, batch, headsQ, headsKv } = geometry;
  const part = moved(mask, partOf(request, whole, rows, columns));
  return reached(part, { nq, nkv, ragged, batch, headsQ, headsKv, step });
}
