// Inputs of a case and the axis orders in which the contestants take them.
import { encode16, round, type Dtype } from '../test/reference/half.js';
import type { Case } from './case.js';

/** Element (b, h, row, 0) of a tensor lies at b*batch + h*head + row*row. */
export interface Strides {
  batch: number;
  head: number;
  row: number;
}

export interface Operand {
  /** The numbers; exactly representable in the case's type. */
  data: Float32Array;
  /** What our library reads: `data`, or the same numbers as bits of a 16-bit type. */
  stored: Float32Array | Uint16Array;
  dtype: Dtype;
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
  /** The stored keys and values of all caches, which lie one behind the other, for the read yardstick. */
  cache: Float32Array;
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

/** A prime: no two rows or heads of an operand that repeats the pool begin at the same number. */
const POOL = 1048573;
const pools = new Map<string, Float32Array | Uint16Array>();

/** Normals of a seed, rounded to a type; as float32 numbers or as the type's bits. Made once a process. */
function pool(seed: number, dtype: Dtype, bits: boolean): Float32Array | Uint16Array {
  const key = `${seed} ${dtype} ${bits}`;
  const known = pools.get(key);
  if (known !== undefined) return known;
  const exact = normals(POOL, seed);
  const made =
    bits && dtype !== 'float32'
      ? Uint16Array.from(exact, (x) => encode16(dtype, x))
      : exact.map((x) => round(dtype, x));
  pools.set(key, made);
  return made;
}

/** Fills with a pool's numbers, over and over. */
function fill<T extends Float32Array | Uint16Array>(target: T, from: Float32Array | Uint16Array): T {
  for (let at = 0; at < target.length; at += from.length) {
    target.set(from.subarray(0, Math.min(from.length, target.length - at)), at);
  }
  return target;
}

/** An operand around existing data, or zeros. */
export function operand(
  c: Case,
  heads: number,
  rows: number,
  given?: { data: Float32Array; stored: Operand['stored'] },
): Operand {
  const ragged = c.lengths !== undefined;
  const batch = ragged ? 1 : c.batch;
  const { dim } = c;
  const rowMajor = c.layout === 'bshd';
  const shape = rowMajor ? [batch, rows, heads, dim] : [batch, heads, rows, dim];
  const data = given?.data ?? new Float32Array(batch * heads * rows * dim);
  return {
    data,
    stored: given?.stored ?? data,
    dtype: c.dtype,
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

/** Inputs over each of the case's caches, which lie one behind the other; mostly one. */
export function makeLayers(c: Case): Inputs[] {
  const batch = c.lengths === undefined ? c.batch : 1;
  const { dtype, dim, layers = 1 } = c;
  const countKv = batch * c.headsKv * c.keys * dim;
  const countQ = batch * c.headsQ * c.queries * dim;
  const halves = dtype !== 'float32';
  const data = new Float32Array(layers * 2 * countKv);
  const stored = halves ? new Uint16Array(data.length) : data;
  for (let part = 0; part < 2 * layers; part++) {
    const [from, to] = [part * countKv, (part + 1) * countKv];
    const seed = 2 + (part % 2);
    fill(data.subarray(from, to), pool(seed, dtype, false));
    if (halves) fill(stored.subarray(from, to), pool(seed, dtype, true));
  }
  const query = fill(new Float32Array(countQ), pool(1, dtype, false));
  const queryStored = halves ? fill(new Uint16Array(countQ), pool(1, dtype, true)) : query;
  const part = (index: number): Operand => {
    const [from, to] = [index * countKv, (index + 1) * countKv];
    return operand(c, c.headsKv, c.keys, { data: data.subarray(from, to), stored: stored.subarray(from, to) });
  };
  return Array.from({ length: layers }, (_, layer) => ({
    query: operand(c, c.headsQ, c.queries, { data: query, stored: queryStored }),
    key: part(2 * layer),
    value: part(2 * layer + 1),
    cache: new Float32Array(stored.buffer),
  }));
}

export const makeInputs = (c: Case): Inputs => makeLayers(c)[0]!;

/** The same inputs as float32, whatever their type was. */
export function asFloat32(inputs: Inputs): Inputs {
  const float = (from: Operand): Operand => ({ ...from, stored: from.data, dtype: 'float32' });
  return { ...inputs, query: float(inputs.query), key: float(inputs.key), value: float(inputs.value) };
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
