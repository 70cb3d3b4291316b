// Lays the values of a case out in buffers, with NaN wherever no element of the case lies.

import { allocate, store, type Dtype, type Storage as Elements } from './half.js';
import { Random } from './random.js';
import { rowsOf, type Case, type Storage } from './case.js';
import type { Grid, Values } from './values.js';

/** What Tensor.from takes. Strides are in elements, in the order of the shape. */
export interface Placed {
  data: Elements | Uint8Array;
  dtype: Dtype | 'bool';
  shape: number[];
  strides: number[];
  offset: number;
}

interface Axes {
  batch: number;
  heads: number;
  rows: number;
  dim: number;
}

interface Affine {
  length: number;
  offset: number;
  batch: number;
  head: number;
  row: number;
}

function affineOf(kind: Storage, axes: Axes, layout: Case['layout'], random: Random): Affine {
  const { heads, rows, dim } = axes;
  const batch = kind === 'shared' ? 1 : axes.batch;
  const gap = kind === 'strided' ? () => random.integer(0, 5) : () => 0;
  const offset = kind === 'plain' ? 0 : 2 * random.integer(0, 9) + 1;
  const tail = kind === 'plain' ? 0 : random.integer(1, 9);
  const inner = layout === 'bhsd' ? ['head', 'row'] : ['row', 'head'];
  let order = ['batch', ...inner];
  if (kind === 'strided') order = random.shuffle(order);
  const extent: Record<string, number> = { batch, head: heads, row: rows };
  const strides: Record<string, number> = {};
  let step = dim + gap();
  for (const axis of order.reverse()) {
    strides[axis] = step;
    step = step * Math.max(extent[axis]!, 1) + gap();
  }
  if (kind === 'shared') strides['batch'] = 0;
  return {
    length: offset + step + tail,
    offset,
    batch: strides['batch']!,
    head: strides['head']!,
    row: strides['row']!,
  };
}

function view(test: Case, data: Elements, dtype: Dtype, axes: Axes, at: Affine): Placed {
  const { batch, heads, rows, dim } = axes;
  const { offset } = at;
  if (test.lengths === 'ragged') {
    return { data, dtype, offset, shape: [rows, heads, dim], strides: [at.row, at.head, 1] };
  }
  return test.layout === 'bhsd'
    ? { data, dtype, offset, shape: [batch, heads, rows, dim], strides: [at.batch, at.head, at.row, 1] }
    : { data, dtype, offset, shape: [batch, rows, heads, dim], strides: [at.batch, at.row, at.head, 1] };
}

function write(
  test: Case,
  data: Elements,
  dtype: Dtype,
  at: Affine,
  dim: number,
  side: 'query' | 'key',
  values: Values,
  heads: Float64Array[][],
): void {
  values.sequences.forEach((sequence, s) => {
    const first = side === 'query' ? sequence.rowQ : sequence.rowKv;
    const rows = side === 'query' ? sequence.queries : sequence.keys;
    heads[s]!.forEach((source, h) => {
      for (let row = 0; row < rows; row++) {
        const b = test.lengths === 'ragged' ? 0 : sequence.batch;
        const start = at.offset + b * at.batch + h * at.head + (first + row) * at.row;
        for (let d = 0; d < dim; d++) store(dtype, data, start + d, source[row * dim + d]!);
      }
    });
  });
}

export interface PlacedInputs {
  query: Placed;
  key: Placed;
  value: Placed;
}

export function placeInputs(test: Case, values: Values): PlacedInputs {
  const random = new Random(test.seed + 1);
  const rows = rowsOf(test);
  const batch = test.lengths === 'ragged' ? 1 : test.batch;
  const axes = {
    query: { batch, heads: test.headsQ, rows: rows.queries, dim: test.dimQk },
    key: { batch, heads: test.headsKv, rows: rows.keys, dim: test.dimQk },
    value: { batch, heads: test.headsKv, rows: rows.keys, dim: test.dimV },
  };
  const places = {} as Record<'query' | 'key' | 'value', Affine>;
  let packed: Elements | null = null;
  if (test.storage.query === 'packed') {
    const width = test.headsQ * test.dimQk + test.headsKv * (test.dimQk + test.dimV);
    const all = Math.max(rows.queries, rows.keys);
    const common = { length: (batch * all + 1) * width, batch: all * width, row: width };
    places.query = { ...common, offset: 0, head: test.dimQk };
    places.key = { ...common, offset: test.headsQ * test.dimQk, head: test.dimQk };
    places.value = { ...common, offset: (test.headsQ + test.headsKv) * test.dimQk, head: test.dimV };
    packed = allocate(test.dtypes.query, common.length, NaN);
  }
  const one = (name: 'query' | 'key' | 'value'): Placed => {
    const dtype = test.dtypes[name];
    const at = places[name] ?? affineOf(test.storage[name], axes[name], test.layout, random);
    const data = packed ?? allocate(dtype, at.length, NaN);
    write(test, data, dtype, at, axes[name].dim, name === 'query' ? 'query' : 'key', values, values[name]);
    return view(test, data, dtype, axes[name], at);
  };
  return { query: one('query'), key: one('key'), value: one('value') };
}

/** A grid as a tensor: contiguous, or with gaps that hold `filler`. Key padding [B, 1, 1, Nkv] becomes [B, Nkv]. */
export function placeGrid(grid: Grid, dtype: Dtype | 'bool', rank: 2 | 4, random: Random): Placed {
  const gaps = random.chance(0.4);
  const gap = () => (gaps ? random.integer(0, 4) : 0);
  const [batches, heads, rows, columns] = grid.shape;
  const row = columns + gap();
  const head = row * rows + gap();
  const batch = head * heads + gap();
  const offset = gap();
  const length = offset + batch * batches;
  const data = dtype === 'bool' ? new Uint8Array(length).fill(1) : allocate(dtype, length, NaN);
  for (let b = 0, from = 0; b < batches; b++) {
    for (let h = 0; h < heads; h++) {
      for (let r = 0; r < rows; r++) {
        for (let c = 0; c < columns; c++, from++) {
          const to = offset + b * batch + h * head + r * row + c;
          if (dtype === 'bool') data[to] = grid.data[from]!;
          else store(dtype, data as Elements, to, grid.data[from]!);
        }
      }
    }
  }
  return rank === 2
    ? { data, dtype, offset, shape: [batches, columns], strides: [batch, 1] }
    : { data, dtype, offset, shape: grid.shape.slice(), strides: [batch, head, row, 1] };
}
