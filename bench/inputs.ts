// Inputs of a case and the axis orders in which the contestants take them.
import type { Case } from './cases.js';

/** Element (b, h, row, 0) of a tensor lies at b*batch + h*head + row*row. */
export interface Strides {
  batch: number;
  head: number;
  row: number;
}

export interface Operand {
  data: Float32Array;
  /** As our library takes it: [B, H, S, D], [B, S, H, D] or, ragged, [total, H, D]. */
  shape: number[];
  strides: Strides;
  batch: number;
  heads: number;
  rows: number;
  dim: number;
}

export interface Inputs {
  query: Operand;
  key: Operand;
  value: Operand;
}

/** Standard normal numbers, the same for the same seed. */
export function normals(count: number, seed: number): Float32Array {
  const values = new Float32Array(count);
  let state = seed >>> 0;
  const uniform = (): number => {
    // mulberry32: 32 bits of state are enough for inputs
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/** An operand around existing data, or zeros. */
export function operand(c: Case, heads: number, rows: number, data?: Float32Array): Operand {
  const ragged = c.lengths !== undefined;
  const batch = ragged ? 1 : c.batch;
  const { dim } = c;
  const rowMajor = c.layout === 'bshd';
  const shape = rowMajor ? [batch, rows, heads, dim] : [batch, heads, rows, dim];
  return {
    data: data ?? new Float32Array(batch * heads * rows * dim),
    shape: ragged ? shape.slice(1) : shape,
    strides: {
      batch: heads * rows * dim,
      head: rowMajor ? dim : rows * dim,
      row: rowMajor ? heads * dim : dim,
    },
    batch,
    heads,
    rows,
    dim,
  };
}

export function makeInputs(c: Case): Inputs {
  const make = (heads: number, rows: number, seed: number): Operand => {
    const empty = operand(c, heads, rows, new Float32Array(0));
    return { ...empty, data: normals(empty.batch * heads * rows * c.dim, seed) };
  };
  return {
    query: make(c.headsQ, c.queries, 1),
    key: make(c.headsKv, c.keys, 2),
    value: make(c.headsKv, c.keys, 3),
  };
}

/** A copy of rows [first, first + count) of one batch entry in another axis order, its batch axis left out. */
export function gather(
  from: Operand,
  batch: number,
  first: number,
  count: number,
  to: { head: number; row: number },
  target: Float32Array = new Float32Array(from.heads * count * from.dim),
  offset = 0,
): Float32Array {
  for (let head = 0; head < from.heads; head++) {
    for (let row = 0; row < count; row++) {
      const start = batch * from.strides.batch + head * from.strides.head + (first + row) * from.strides.row;
      target.set(from.data.subarray(start, start + from.dim), offset + head * to.head + row * to.row);
    }
  }
  return target;
}
