// A cache as plain lists of rows in float64, and attention over it by the formula.

import { Tensor } from '../../lib/index.js';
import type { KvCacheOptions } from '../../lib/index.js';
import { attendHead } from './attention.js';
import type { HeadResult } from './attention.js';
import { encode16, round } from './half.js';
import type { Dtype } from './half.js';
import type { Random } from './random.js';
import { rowContext, unit } from './tolerance.js';

/** Values of a [B, H, S, D] tensor. */
export interface Block {
  readonly shape: readonly [number, number, number, number];
  readonly data: Float64Array;
}

/** Normal values that the type holds exactly. */
export function randomBlock(random: Random, shape: Block['shape'], dtype: Dtype = 'float32'): Block {
  const count = shape.reduce((product, size) => product * size, 1);
  return { shape, data: random.normals(count).map((x) => round(dtype, x)) };
}

export function rowsOf({ shape: [batch, heads, rows, dim], data }: Block, from: number, to: number): Block {
  const cut = new Float64Array(batch * heads * (to - from) * dim);
  for (let bh = 0; bh < batch * heads; bh += 1) {
    cut.set(data.subarray((bh * rows + from) * dim, (bh * rows + to) * dim), bh * (to - from) * dim);
  }
  return { shape: [batch, heads, to - from, dim], data: cut };
}

/** The block as a tensor of a type, in the order of a layout. */
export function tensorOf({ shape, data }: Block, dtype: Dtype = 'float32', layout = 'bhsd'): Tensor {
  const [batch, heads, rows, dim] = shape;
  const values = dtype === 'float32' ? new Float32Array(data.length) : new Uint16Array(data.length);
  const place = (b: number, h: number, s: number): number =>
    layout === 'bhsd' ? ((b * heads + h) * rows + s) * dim : ((b * rows + s) * heads + h) * dim;
  for (let b = 0; b < batch; b += 1) {
    for (let h = 0; h < heads; h += 1) {
      for (let s = 0; s < rows; s += 1) {
        for (let d = 0; d < dim; d += 1) {
          const value = data[((b * heads + h) * rows + s) * dim + d]!;
          values[place(b, h, s) + d] = dtype === 'float32' ? value : encode16(dtype, value);
        }
      }
    }
  }
  const order = layout === 'bhsd' ? [batch, heads, rows, dim] : [batch, rows, heads, dim];
  return Tensor.from(values, order, { dtype });
}

/** Values of a float32 or half tensor [B, H, S, D], in the order of a layout. */
export function valuesOf(tensor: Tensor, layout = 'bhsd'): Float64Array {
  const view = layout === 'bhsd' ? tensor : tensor.transpose(1, 2);
  const values = Float64Array.from(view.toFloat32());
  return values;
}

type Rope = NonNullable<KvCacheOptions['rope']>;

/** A row turned by its position, each operation rounded by `rounding`. */
export function turned(
  row: Float64Array,
  position: number,
  rope: Rope | undefined,
  rounding: (x: number) => number = (x) => x,
): Float64Array {
  if (!rope) return row;
  const result = Float64Array.from(row);
  const offset = rope.offset ?? 0;
  const dim = rope.dim ?? row.length - offset;
  for (let f = 0; f < dim / 2; f += 1) {
    const speed = rope.frequencies?.[f] ?? (rope.base ?? 10000) ** ((-2 * f) / dim);
    const [cos, sin] = [rounding(Math.cos(position * speed)), rounding(Math.sin(position * speed))];
    const x = offset + (rope.pairing === 'halves' ? f : 2 * f);
    const y = offset + (rope.pairing === 'halves' ? f + dim / 2 : 2 * f + 1);
    result[x] = rounding(rounding(row[x]! * cos) - rounding(row[y]! * sin));
    result[y] = rounding(rounding(row[y]! * cos) + rounding(row[x]! * sin));
  }
  return result;
}

export class CacheModel {
  readonly #options: KvCacheOptions;
  /** [sequence][head][row] */
  readonly #keys: Float64Array[][][];
  readonly #values: Float64Array[][][];

  constructor(options: KvCacheOptions) {
    this.#options = options;
    const lists = (): Float64Array[][][] =>
      Array.from({ length: options.batch ?? 1 }, () => Array.from({ length: options.heads }, () => []));
    this.#keys = lists();
    this.#values = lists();
  }

  get length(): number {
    return this.#keys[0]![0]!.length;
  }

  fork(): CacheModel {
    const other = new CacheModel(this.#options);
    other.#copy(this.#keys, other.#keys);
    other.#copy(this.#values, other.#values);
    return other;
  }

  #copy(from: Float64Array[][][], to: Float64Array[][][]): void {
    from.forEach((heads, b) => heads.forEach((rows, h) => to[b]![h]!.push(...rows)));
  }

  truncate(length: number): void {
    for (const rows of [...this.#keys, ...this.#values].flat()) rows.length = Math.min(rows.length, length);
  }

  append(k: Block, v: Block | undefined, positions?: readonly number[]): void {
    const { dtype = 'float32', rope, values, dim, dimV = dim } = this.#options;
    const [batch, heads, rows] = k.shape;
    const first = this.length;
    for (let b = 0; b < batch; b += 1) {
      for (let h = 0; h < heads; h += 1) {
        for (let s = 0; s < rows; s += 1) {
          const at = (b * heads + h) * rows + s;
          const row = k.data.slice(at * dim, (at + 1) * dim);
          const position = positions?.[positions.length === rows ? s : b * rows + s] ?? first + s;
          // Halves are rounded once more from the float32 that was computed; in float32 the formula itself will do.
          const key = turned(row, position, rope, dtype === 'float32' ? undefined : Math.fround);
          const stored = dtype === 'float32' ? key : key.map((x) => round(dtype, x));
          this.#keys[b]![h]!.push(stored);
          const value = values === 'latent' ? stored.slice(0, dimV) : v!.data.slice(at * dimV, (at + 1) * dimV);
          this.#values[b]![h]!.push(value.map((x) => (dtype === 'float32' ? x : round(dtype, x))));
        }
      }
    }
  }

  /** Of query head `h` of sequence `b`. */
  attend(
    q: Block,
    b: number,
    h: number,
    positions?: readonly number[],
    more: { scale?: number; allowed?: (i: number, j: number) => boolean; sink?: number } = {},
  ): HeadResult {
    const { dim, dimV = dim, heads, window, pinned = 0, rope } = this.#options;
    const [, headsQ, queries] = q.shape;
    const keys = this.length;
    const hkv = Math.floor(h / (headsQ / heads));
    const flat = (rows: Float64Array[], width: number): Float64Array => {
      const all = new Float64Array(rows.length * width);
      rows.forEach((row, index) => all.set(row, index * width));
      return all;
    };
    const query: Float64Array[] = [];
    for (let r = 0; r < queries; r += 1) {
      const at = (b * headsQ + h) * queries + r;
      const offset = positions?.length === queries ? 0 : b * queries;
      query.push(turned(q.data.slice(at * dim, (at + 1) * dim), positions?.[offset + r] ?? keys - queries + r, rope));
    }
    return attendHead({
      queries,
      keys,
      dimQk: dim,
      dimV,
      query: flat(query, dim),
      key: flat(this.#keys[b]![hkv]!, dim),
      value: flat(this.#values[b]![hkv]!, dimV),
      scale: more.scale ?? 1 / Math.sqrt(dim),
      softcap: 0,
      sink: more.sink,
      allowed: (row, j) => {
        const i = keys - queries + row;
        if (j > i || !(more.allowed?.(i, j) ?? true)) return false;
        return window === undefined || i - j <= window || j < pinned;
      },
    });
  }
}

/** The worst of a result's errors, in units of the bound of float32 outputs; 1 and below is right. */
export function worstError(
  model: CacheModel,
  options: KvCacheOptions,
  q: Block,
  output: Float64Array,
  positions?: readonly number[],
  more?: Parameters<CacheModel['attend']>[4],
): number {
  const { dim, dimV = dim, rope } = options;
  const [batch, headsQ, queries] = q.shape;
  let worst = 0;
  for (let b = 0; b < batch; b += 1) {
    for (let h = 0; h < headsQ; h += 1) {
      const head = model.attend(q, b, h, positions, more);
      for (let row = 0; row < queries; row += 1) {
        const context = rowContext(head, row, dim, model.length);
        // Turning rounds a component of the query and of the key three times each: the score by 6 units, twice in p.
        const score = (Math.sqrt(dim) + (rope ? 12 : 0)) * context.magnitude;
        for (let d = 0; d < dimV; d += 1) {
          const expected = head.output[row * dimV + d]!;
          const actual = output[((b * headsQ + h) * queries + row) * dimV + d]!;
          const bound = unit * (score + Math.sqrt(model.length) + 8) * head.spread[row * dimV + d]! + 2 ** -126;
          const error = Math.abs(actual - expected) / bound;
          if (!(error <= worst)) worst = error;
        }
      }
    }
  }
  return worst;
}
