// The numbers of an oracle case, in one order for everybody: [B, S, H, D], which onnxruntime reads as [B, S, H * D].
import { normals } from '../inputs.js';
import type { OracleCase } from './cases.js';

export interface Operands {
  /** [B, Nq, Hq, Dqk], [B, Nkv, Hkv, Dqk], [B, Nkv, Hkv, Dv]. */
  query: Float32Array;
  key: Float32Array;
  value: Float32Array;
  /** [Hq]. */
  sinks?: Float32Array;
  /** [B | 1, Hq | 1, Nq, Nkv]. */
  bias?: Float32Array;
  /** [B, Nkv], nonzero is a key. */
  keyPadding?: Uint8Array;
  /** [B, Nq, Nkv], nonzero is allowed. */
  mask?: Uint8Array;
}

export function makeOperands(c: OracleCase): Operands {
  const { batch, headsQ, headsKv, queries, keys, dimQk, dimV, spread = 1 } = c;
  const query = normals(batch * queries * headsQ * dimQk, 11).map((x) => x * spread);
  const operands: Operands = {
    query,
    key: normals(batch * keys * headsKv * dimQk, 12),
    value: normals(batch * keys * headsKv * dimV, 13),
  };
  if (c.sinks) operands.sinks = normals(headsQ, 14);
  if (c.bias) operands.bias = normals((c.bias.batch ? batch : 1) * (c.bias.heads ? headsQ : 1) * queries * keys, 15);
  const { keyLengths, masked } = c;
  if (keyLengths !== undefined) {
    operands.keyPadding = Uint8Array.from({ length: batch * keys }, (_, at) =>
      at % keys < keyLengths[Math.floor(at / keys)]! ? 1 : 0,
    );
  }
  if (masked !== undefined) {
    const dice = normals(batch * queries * keys, 16);
    const threshold = [...dice].sort((a, b) => a - b)[Math.floor(masked * dice.length)]!;
    operands.mask = Uint8Array.from(dice, (x, at) => (at % keys === 0 || x >= threshold ? 1 : 0));
  }
  return operands;
}

/** Does query `row` see key `column`? Positions are aligned at the end. */
export function isVisible(c: OracleCase, operands: Operands, batch: number, row: number, column: number): boolean {
  const distance = column - (row + c.keys - c.queries);
  if (c.causal && distance > 0) return false;
  if (c.window !== undefined && distance <= -c.window) return false;
  if (operands.keyPadding && operands.keyPadding[batch * c.keys + column] === 0) return false;
  if (operands.mask && operands.mask[(batch * c.queries + row) * c.keys + column] === 0) return false;
  return true;
}
