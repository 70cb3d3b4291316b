// The numbers of a case, from its seed: one plain float64 array for each tensor of each sequence and head, with values
// that the case's types represent exactly. storage.ts lays them out; attention.ts reads them as they are.

import { round, type Dtype } from './half.js';
import { Random } from './random.js';
import { sequencesOf, rowsOf, type Case, type SequenceShape } from './case.js';

export interface Grid {
  /** Extents, 1 where broadcast. */
  shape: [number, number, number, number];
  data: Float64Array;
}

export interface Values {
  sequences: SequenceShape[];
  /** By sequence, then head: rows * dim. */
  query: Float64Array[][];
  key: Float64Array[][];
  value: Float64Array[][];
  /** [B, 1, 1, Nkv] for key padding, else the grid; 1 allows. */
  masks: Grid[];
  bias: Grid | null;
  sinks: Float32Array | null;
}

export function at(grid: Grid, b: number, h: number, row: number, column: number): number {
  const [batches, heads, rows, columns] = grid.shape;
  const line = ((batches === 1 ? 0 : b) * heads + (heads === 1 ? 0 : h)) * rows + (rows === 1 ? 0 : row);
  return grid.data[line * columns + (columns === 1 ? 0 : column)]!;
}

function rounded(dtype: Dtype, data: Float64Array): Float64Array {
  return data.map((x) => round(dtype, x));
}

/** Mask cells: noise, whole stretches shut, whole rows shut, or nearly everything open. */
function maskGrid(random: Random, shape: Grid['shape']): Grid {
  const [batches, heads, rows, columns] = shape;
  const data = new Float64Array(batches * heads * rows * columns);
  for (let line = 0; line < batches * heads * rows; line++) {
    const kind = random.unit();
    const density = kind < 0.5 ? 0.6 : kind < 0.8 ? 0.95 : 1;
    const from = random.integer(0, columns);
    const length = random.chance(0.4) ? random.integer(0, columns) : 0;
    const shut = kind > 0.97;
    for (let column = 0; column < columns; column++) {
      const open = random.chance(density) && !(column >= from && column < from + length) && !shut;
      // Any nonzero byte is true.
      data[line * columns + column] = open ? random.pick([1, 1, 255, 2]) : 0;
    }
  }
  return { shape, data };
}

/** All sequences get the longest one's rows, as many as they have. */
function share(heads: Float64Array[][], sequences: SequenceShape[], dim: number): void {
  const lengths = sequences.map(({ keys }) => keys);
  const longest = heads[lengths.indexOf(Math.max(...lengths))]!;
  lengths.forEach((keys, s) => (heads[s] = longest.map((head) => head.subarray(0, keys * dim))));
}

export function valuesOf(test: Case): Values {
  const random = new Random(test.seed);
  const sequences = sequencesOf(test);
  const rows = rowsOf(test);
  const { dimQk, dimV, headsQ, headsKv, dtypes } = test;

  // Query deviation sets the spread of scale * q.k: 'normal' about 1 at the default scale, 'wide' up to some hundred.
  const deviation = { normal: 1, wide: random.pick([4, 12, 30]), flat: 0, ties: 1 }[test.scores];
  const make = (dtype: Dtype, length: number, spread: number) => {
    if (test.scores !== 'ties') return rounded(dtype, random.normals(length, spread));
    return rounded(
      dtype,
      Float64Array.from({ length }, () => spread * random.integer(-1, 1)),
    );
  };
  const heads = <T>(count: number, one: () => T) => Array.from({ length: count }, one);
  const shift = random.chance(0.25) ? 3 : 0;

  const query = sequences.map((s) => heads(headsQ, () => make(dtypes.query, s.queries * dimQk, deviation)));
  const key = sequences.map((s) => heads(headsKv, () => make(dtypes.key, s.keys * dimQk, 1)));
  const value = sequences.map((s) =>
    heads(headsKv, () =>
      rounded(
        dtypes.value,
        random.normals(s.keys * dimV).map((x) => x + shift),
      ),
    ),
  );
  if (test.storage.key === 'shared') share(key, sequences, dimQk);
  if (test.storage.value === 'shared') share(value, sequences, dimV);

  const masks = test.masks.map((mask) =>
    mask === 'keys'
      ? maskGrid(random, [test.batch, 1, 1, rows.keys])
      : maskGrid(random, [mask.batch ? test.batch : 1, mask.head ? headsQ : 1, rows.queries, rows.keys]),
  );

  let bias: Grid | null = null;
  if (test.bias !== null) {
    const full = [test.batch, headsQ, rows.queries, rows.keys] as const;
    const shape = full.map((extent, axis) => (test.bias!.axes[axis] ? extent : 1)) as Grid['shape'];
    const length = shape.reduce((a, b) => a * b, 1);
    const shut = random.chance(0.3) ? 0.1 : 0;
    const data = random
      .normals(length, test.scores === 'wide' ? 8 : 1)
      .map((x) => (random.chance(shut) ? -Infinity : x));
    bias = { shape, data: rounded(test.bias.dtype, data) };
  }
  const sinks = test.sinks ? Float32Array.from({ length: headsQ }, () => 2 * random.normal()) : null;
  return { sequences, query, key, value, masks, bias, sinks };
}
