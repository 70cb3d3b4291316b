// Random batches whose keys and values are scattered over the pages of a pool; whatever no sequence owns is poison.

import { attentionSync, Tensor } from '../../lib/index.js';
import { attendHead } from './attention.js';
import { decode16, encode16, type Dtype } from './half.js';
import type { Random } from './random.js';
import { outputBound } from './tolerance.js';

export interface PagedForm {
  lengths: readonly number[];
  queries: readonly number[];
  headsQ: number;
  headsKv: number;
  dim: number;
  dimV: number;
  pageSize: number;
  dtype: Dtype;
  layout: 'bhsd' | 'bshd';
  /** Tokens that all sequences have in the same pages, whole ones. */
  shared?: number;
}

/** A batch: the pools and table, and each sequence's own tensors [1, H, n, D]. */
export interface PagedBatch {
  form: PagedForm;
  key: Tensor;
  value: Tensor;
  table: Int32Array;
  columns: number;
  query: Tensor[];
  keys: Tensor[];
  values: Tensor[];
}

type Bits = Float32Array | Uint16Array;

const emptyOf = (dtype: Dtype, count: number, fill: number): Bits =>
  dtype === 'float32' ? new Float32Array(count).fill(fill) : new Uint16Array(count).fill(encode16(dtype, fill));

function normals(random: Random, dtype: Dtype, count: number): Bits {
  const values = random.normals(count);
  return dtype === 'float32' ? Float32Array.from(values) : Uint16Array.from(values, (x) => encode16(dtype, x));
}

export function numbersOf({ data, dtype }: Tensor): Float64Array {
  if (dtype === 'float32') return Float64Array.from(data as Float32Array);
  return Float64Array.from(data as Uint16Array, (bits) => decode16(dtype as 'float16', bits));
}

export function makeBatch(random: Random, form: PagedForm): PagedBatch {
  const { lengths, queries, headsQ, headsKv, dim, dimV, pageSize, dtype, layout, shared = 0 } = form;
  const columns = Math.max(1, ...lengths.map((n) => Math.ceil(n / pageSize))) + random.integer(0, 2);
  const common = shared / pageSize;
  const used = lengths.reduce((sum, n) => sum + Math.ceil(n / pageSize) - common, common);
  const count = used + random.integer(1, 4);
  const order = Array.from({ length: count }, (_, n) => n);
  for (let n = count - 1; n > 0; n -= 1) {
    const other = random.integer(0, n);
    [order[n], order[other]] = [order[other]!, order[n]!];
  }
  // Unused entries may be anything.
  const table = Int32Array.from({ length: lengths.length * columns }, () => random.integer(-(2 ** 30), 2 ** 30));
  const prefix = order.splice(0, common);
  lengths.forEach((n, b) => {
    const own = order.splice(0, Math.ceil(n / pageSize) - common);
    table.set([...prefix, ...own], b * columns);
  });
  const tensor = (data: Bits, shape: number[]): Tensor => Tensor.from(data as Float32Array, shape, { dtype });
  const inPool = (width: number, pool: Bits, own: Bits, b: number): void => {
    const n = lengths[b]!;
    for (let h = 0; h < headsKv; h += 1) {
      for (let token = 0; token < n; token += 1) {
        const page = table[b * columns + Math.floor(token / pageSize)]!;
        const row = token % pageSize;
        const at = layout === 'bhsd' ? (page * headsKv + h) * pageSize + row : (page * pageSize + row) * headsKv + h;
        const from = (h * n + token) * width;
        // What is shared is what the first sequence says.
        if (b > 0 && token < shared) own.set(pool.subarray(at * width, (at + 1) * width), from);
        else pool.set(own.subarray(from, from + width), at * width);
      }
    }
  };
  const poison = random.chance(0.5) ? NaN : Infinity;
  const side = (width: number): { pool: Tensor; own: Tensor[] } => {
    const pool = emptyOf(dtype, count * headsKv * pageSize * width, poison);
    const own = lengths.map((n, b) => {
      const data = normals(random, dtype, headsKv * n * width);
      inPool(width, pool, data, b);
      return tensor(data, [1, headsKv, n, width]);
    });
    const shape = layout === 'bhsd' ? [count, headsKv, pageSize, width] : [count, pageSize, headsKv, width];
    return { pool: tensor(pool, shape), own };
  };
  const keys = side(dim);
  const values = side(dimV);
  const query = queries.map((n) => tensor(normals(random, dtype, headsQ * n * dim), [1, headsQ, n, dim]));
  return { form, key: keys.pool, value: values.pool, table, columns, query, keys: keys.own, values: values.own };
}

/** Queries of all sequences as one tensor: [B, Hq, most, D], or [total, Hq, D]; and the inverse for outputs. */
export function joinQueries({ form, query }: PagedBatch, ragged: boolean): Tensor {
  const { queries, headsQ, dim, dtype, layout } = form;
  const most = Math.max(0, ...queries);
  const total = ragged ? queries.reduce((a, b) => a + b, 0) : queries.length * most;
  const data = emptyOf(dtype, total * headsQ * dim, NaN);
  eachRow(form, ragged, (b, h, row, at) => {
    const from = (h * queries[b]! + row) * dim;
    data.set((query[b]!.data as Bits).subarray(from, from + dim), at * dim);
  });
  const shape = layout === 'bhsd' ? [queries.length, headsQ, most, dim] : [queries.length, most, headsQ, dim];
  return Tensor.from(data as Float32Array, ragged ? [total, headsQ, dim] : shape, { dtype });
}

/** Rows of a joined output as one sequence's own [Hq, n, Dv]. */
export function outputOf(batch: PagedBatch, ragged: boolean, output: Tensor, sequence: number): Float64Array {
  const { headsQ, dimV, queries } = batch.form;
  const all = numbersOf(output);
  const own = new Float64Array(headsQ * queries[sequence]! * dimV);
  eachRow(batch.form, ragged, (b, h, row, at) => {
    if (b === sequence) own.set(all.subarray(at * dimV, (at + 1) * dimV), (h * queries[b]! + row) * dimV);
  });
  return own;
}

function eachRow(
  { queries, headsQ, layout }: PagedForm,
  ragged: boolean,
  visit: (b: number, h: number, row: number, at: number) => void,
): void {
  const most = Math.max(0, ...queries);
  let first = 0;
  queries.forEach((n, b) => {
    for (let row = 0; row < n; row += 1) {
      for (let h = 0; h < headsQ; h += 1) {
        if (ragged) visit(b, h, row, (first + row) * headsQ + h);
        else visit(b, h, row, layout === 'bhsd' ? (b * headsQ + h) * most + row : (b * most + row) * headsQ + h);
      }
    }
    first += n;
  });
}

/** The same over a sequence's own contiguous tensors. */
export function alone(batch: PagedBatch, b: number, options: object): Float64Array {
  const { output } = attentionSync(batch.query[b]!, batch.keys[b]!, batch.values[b]!, options);
  return numbersOf(output);
}

/** The largest error of a sequence's float32 output as a fraction of its bound; causal, in float64. */
export function worstError(batch: PagedBatch, b: number, output: Float64Array): number {
  const { lengths, queries, headsQ, headsKv, dim, dimV } = batch.form;
  const [keys, rows] = [lengths[b]!, queries[b]!];
  const [q, k, v] = [batch.query[b]!, batch.keys[b]!, batch.values[b]!].map(numbersOf) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  let worst = 0;
  for (let h = 0; h < headsQ; h += 1) {
    const kv = Math.floor((h * headsKv) / headsQ);
    const result = attendHead({
      queries: rows,
      keys,
      dimQk: dim,
      dimV,
      query: q.subarray(h * rows * dim, (h + 1) * rows * dim),
      key: k.subarray(kv * keys * dim, (kv + 1) * keys * dim),
      value: v.subarray(kv * keys * dimV, (kv + 1) * keys * dimV),
      scale: 1 / Math.sqrt(dim),
      softcap: 0,
      allowed: (row, column) => column <= keys - rows + row,
    });
    for (let row = 0; row < rows; row += 1) {
      const context = { dimQk: dim, keys, magnitude: result.magnitude[row]!, lse: result.lse[row]! };
      for (let d = 0; d < dimV; d += 1) {
        const at = row * dimV + d;
        const error = Math.abs(output[h * rows * dimV + at]! - result.output[at]!);
        const bound = outputBound(context, result.spread[at]!);
        worst = Math.max(worst, Number.isNaN(error) ? Infinity : error / bound);
      }
    }
  }
  return worst;
}
