// Is the difference of two implementations what float32 rounding explains? Each may be off the exact result by the bound
// that this library promises, so two of them by twice that. The exact terms come from the float64 reference of the tests.
import { attendHead } from '../../test/reference/attention.js';
import { outputBound, rowContext } from '../../test/reference/tolerance.js';
import type { OracleCase } from './cases.js';
import { isVisible, type Operands } from './operands.js';

export interface Comparison {
  /** Largest |ours - theirs| over its bound; at most 1 when equal within rounding. */
  worst: number;
  /** Largest error of either against float64, over the bound of one implementation. */
  ours: number;
  theirs: number;
  where: string;
}

function rowsOf(data: Float32Array, first: number, rows: number, stride: number, dim: number): Float64Array {
  const out = new Float64Array(rows * dim);
  for (let row = 0; row < rows; row++)
    out.set(data.subarray(first + row * stride, first + row * stride + dim), row * dim);
  return out;
}

/** @param ours, theirs [B, Nq, Hq, Dv] */
export function compare(c: OracleCase, operands: Operands, ours: Float32Array, theirs: Float32Array): Comparison {
  const { batch, headsQ, headsKv, queries, keys, dimQk, dimV } = c;
  const result: Comparison = { worst: 0, ours: 0, theirs: 0, where: 'nowhere' };
  const size = batch * queries * headsQ * dimV;
  if (ours.length !== size || theirs.length !== size) {
    return { ...result, worst: Infinity, where: `lengths ${ours.length} and ${theirs.length}, expected ${size}` };
  }
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < headsQ; h++) {
      const hkv = Math.floor((h * headsKv) / headsQ);
      const { bias, sinks } = operands;
      const plane = c.bias
        ? ((c.bias.batch ? b : 0) * (c.bias.heads ? headsQ : 1) + (c.bias.heads ? h : 0)) * queries
        : 0;
      const exact = attendHead({
        queries,
        keys,
        dimQk,
        dimV,
        query: rowsOf(operands.query, (b * queries * headsQ + h) * dimQk, queries, headsQ * dimQk, dimQk),
        key: rowsOf(operands.key, (b * keys * headsKv + hkv) * dimQk, keys, headsKv * dimQk, dimQk),
        value: rowsOf(operands.value, (b * keys * headsKv + hkv) * dimV, keys, headsKv * dimV, dimV),
        scale: c.scale ?? 1 / Math.sqrt(dimQk),
        softcap: c.softcap ?? 0,
        allowed: (row, column) => isVisible(c, operands, b, row, column),
        ...(bias ? { bias: (row: number, column: number) => bias[(plane + row) * keys + column]! } : {}),
        ...(sinks ? { sink: sinks[h]! } : {}),
      });
      for (let row = 0; row < queries; row++) {
        const context = rowContext(exact, row, dimQk, keys);
        for (let d = 0; d < dimV; d++) {
          const at = ((b * queries + row) * headsQ + h) * dimV + d;
          const bound = outputBound(context, exact.spread[row * dimV + d]!);
          const reference = exact.output[row * dimV + d]!;
          const off = (x: number, y: number, allowed: number): number => {
            const difference = Math.abs(x - y);
            if (Number.isNaN(difference)) return Infinity;
            return difference === 0 ? 0 : difference / allowed;
          };
          const apart = off(ours[at]!, theirs[at]!, 2 * bound);
          if (apart > result.worst) {
            result.worst = apart;
            result.where = `batch ${b}, head ${h}, row ${row}, component ${d}: ${ours[at]} and ${theirs[at]}, exactly ${reference}`;
          }
          result.ours = Math.max(result.ours, off(ours[at]!, reference, bound));
          result.theirs = Math.max(result.theirs, off(theirs[at]!, reference, bound));
        }
      }
    }
  }
  return result;
}
