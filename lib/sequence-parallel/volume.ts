// Bytes of what ranks hold and send, by rows.

import { sizeOf } from '../dtype.js';
import type { Geometry } from '../geometry.js';

/** Rows of all sequences, from the rows that each has. */
export function rowsIn({ ragged, batch }: Geometry, counts: readonly number[]): number {
  return ragged ? counts.reduce((sum, count) => sum + count, 0) : batch * counts[0]!;
}

export function queryBytes({ dimQk, query }: Geometry, heads: number, rows: number): number {
  return rows * heads * dimQk * sizeOf[query.dtype];
}

/** Of keys and values. */
export function pairBytes({ dimQk, dimV, key, value }: Geometry, heads: number, rows: number): number {
  return rows * heads * (dimQk * sizeOf[key.dtype] + dimV * sizeOf[value.dtype]);
}

export function outputBytes({ dimV, query }: Geometry, heads: number, rows: number): number {
  return rows * heads * dimV * sizeOf[query.dtype];
}

/** Of numerators, references and denominators. */
export function partialBytes({ dimV, headsQ }: Geometry, rows: number): number {
  return rows * headsQ * (dimV + 2) * sizeOf.float32;
}
