// Random neighborhoods against their definition, query by query.

import { and, attentionSync, gridBias, mask, neighborhood, Tensor } from '../../lib/index.js';
import type { NeighborhoodOptions } from '../../lib/index.js';
import { attendHead } from './attention.js';
import { biasEntry, cellsOf, seesOf, type Axis, type Neighborhood } from './neighborhood.js';
import { Random } from './random.js';
import { lseBound, outputBound, rowContext, within } from './tolerance.js';

function drawAxis(random: Random, most: number): Axis {
  const length = random.integer(2, most);
  const window = random.integer(2, random.chance(0.2) ? length : Math.max(2, length >> 1));
  const stride = random.chance(0.4) ? random.integer(1, window) : 1;
  const dilation = random.chance(0.4) ? random.integer(1, Math.floor(length / window)) : 1;
  return { length, window, stride, dilation, causal: random.chance(0.3) };
}

function draw(random: Random): Neighborhood {
  const rank = random.integer(1, 3);
  const axes = Array.from({ length: rank }, () => drawAxis(random, [180, 18, 8][rank - 1]!));
  return {
    axes,
    border: random.chance(0.7) ? 'clamp' : 'mask',
    extra: random.chance(0.4) ? random.integer(1, 5) : 0,
  };
}

export function optionsOf({ axes, border, extra }: Neighborhood): NeighborhoodOptions {
  return {
    grid: axes.map(({ length }) => length),
    window: axes.map(({ window }) => window),
    stride: axes.map(({ stride }) => stride),
    dilation: axes.map(({ dilation }) => dilation),
    causal: axes.map(({ causal }) => causal),
    border,
    extra,
  };
}

export function normal(random: Random, shape: number[]): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  return Tensor.from(
    Float32Array.from({ length: count }, () => random.normal()),
    shape,
  );
}

/** The numbers of a float32 tensor. */
export const numbers = ({ data }: Tensor): Float32Array => data as Float32Array;

const headOf = (tensor: Tensor, b: number, h: number): Float64Array => {
  const [, heads, rows, dim] = tensor.shape as [number, number, number, number];
  const from = (b * heads + h) * rows * dim;
  return Float64Array.from(numbers(tensor).subarray(from, from + rows * dim));
};

/** A random case: what is wrong with it, or null. */
export function wrongNeighborhood(seed: number): string | null {
  const random = new Random(seed);
  const drawn = draw(random);
  const options = optionsOf(drawn);
  const keys = drawn.extra + cellsOf(drawn);
  const queries = random.chance(0.5) ? keys : keys - drawn.extra;
  const [batch, headsKv] = [random.integer(1, 2), random.integer(1, 2)];
  const heads = headsKv * random.integer(1, 2);
  const [dimQk, dimV] = [random.pick([4, 8, 16, 24, 40]), random.pick([3, 8, 16, 33])];
  const q = normal(random, [batch, heads, queries, dimQk]);
  const k = normal(random, [batch, headsKv, keys, dimQk]);
  const v = normal(random, [batch, headsKv, keys, dimV]);
  const near = neighborhood(options);
  // The same as a program among others: no grid is known to the schedule then.
  const item = random.chance(0.2) ? and(near, mask('() => true')) : near;
  const threads = random.integer(1, 2);
  const { grid, dilation, extra } = options;
  const table = random.chance(0.3) ? normal(random, [heads, ...drawn.axes.map(({ window }) => 2 * window - 1)]) : null;
  const score = table ? gridBias(table, { grid, dilation, extra }) : undefined;
  const { output, lse } = attentionSync(q, k, v, { mask: item, score, lse: true, threads });
  const sees = seesOf(drawn);
  const start = keys - queries;
  for (let b = 0; b < batch; b += 1) {
    for (let h = 0; h < heads; h += 1) {
      const hkv = Math.floor((h * headsKv) / heads);
      const expected = attendHead({
        queries,
        keys,
        dimQk,
        dimV,
        query: headOf(q, b, h),
        key: headOf(k, b, hkv),
        value: headOf(v, b, hkv),
        scale: 1 / Math.sqrt(dimQk),
        softcap: 0,
        allowed: (row, column) => sees(start + row, column),
        bias: (row, column) => {
          const [i, j] = [start + row - drawn.extra, column - drawn.extra];
          return table && i >= 0 && j >= 0 ? numbers(table)[biasEntry(drawn, h, i, j)]! : 0;
        },
      });
      for (let row = 0; row < queries; row += 1) {
        const context = rowContext(expected, row, dimQk, keys);
        const at = (b * heads + h) * queries + row;
        const where = `${JSON.stringify({ seed, ...options })} [${b}, ${h}, ${row}]`;
        if (!within(lse.data[at] as number, expected.lse[row]!, lseBound(context))) {
          return `${where}: lse ${lse.data[at]}, expected ${expected.lse[row]}`;
        }
        for (let d = 0; d < dimV; d += 1) {
          const want = expected.output[row * dimV + d]!;
          const bound = outputBound(context, expected.spread[row * dimV + d]!);
          if (!within(output.data[at * dimV + d] as number, want, bound)) {
            return `${where}[${d}]: ${output.data[at * dimV + d]}, expected ${want} +- ${bound}`;
          }
        }
      }
    }
  }
  return null;
}
