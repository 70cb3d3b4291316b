// What published methods are in terms of neighborhoods, each against the method written out: Swin, HaloNet, NATTEN's
// tables; and which keys are seen, exactly.

import test from 'ava';
import {
  and,
  attentionSync,
  causal,
  compose,
  documents,
  explain,
  gridBias,
  mask,
  neighborhood,
  neighborhoodAttentionSync,
  temperature,
  Tensor,
} from '../lib/index.js';
import type { AttentionOptions, ErrorCode } from '../lib/index.js';
import { refuses, throwing } from './helpers/errors.js';
import { normal, numbers, optionsOf } from './reference/neighborhood-case.js';
import { biasEntry, cellsOf, placesOf, seesOf, type Neighborhood } from './reference/neighborhood.js';
import { Random } from './reference/random.js';

const [height, width, heads, dim] = [12, 8, 2, 16];
const cells = height * width;
const shape = [1, height, width, heads, dim];
const [q, k, v] = [1, 2, 3].map((seed) => normal(new Random(seed), shape)) as [Tensor, Tensor, Tensor];

/** The cells of a list as a sequence of their own, [1, n, heads, dim]. */
function taken(x: Tensor, list: readonly number[]): Tensor {
  const row = heads * dim;
  const data = new Float32Array(list.length * row);
  list.forEach((cell, n) => data.set(numbers(x).subarray(cell * row, (cell + 1) * row), n * row));
  return Tensor.from(data, [1, list.length, heads, dim]);
}

/** Largest difference between rows of the grid and those of a call over some of its cells. */
function apart(output: Tensor, list: readonly number[], own: Tensor): number {
  const expected = numbers(own);
  return Math.max(...numbers(taken(output, list)).map((x, n) => Math.abs(x - expected[n]!)));
}

function attend(queries: readonly number[], keys: readonly number[], options: AttentionOptions = {}): Tensor {
  return attentionSync(taken(q, queries), taken(k, keys), taken(v, keys), { ...options, layout: 'bshd' }).output;
}

/** Cells of the rectangle [y0, y1) × [x0, x1), as far as it lies on the grid. */
function rectangle(y0: number, y1: number, x0: number, x1: number): number[] {
  const found: number[] = [];
  for (let y = Math.max(y0, 0); y < Math.min(y1, height); y += 1) {
    for (let x = Math.max(x0, 0); x < Math.min(x1, width); x += 1) found.push(y * width + x);
  }
  return found;
}

test('Swin: windows that do not overlap, each a dense call with its table', (t) => {
  const size = 4;
  // As in a checkpoint of Swin: [(2w − 1)², H], by query − key.
  const swin = numbers(normal(new Random(4), [(2 * size - 1) ** 2, heads]));
  const entries = (2 * size - 1) ** 2;
  const turned = Float32Array.from({ length: heads * entries }, (_, n) => {
    const [head, entry] = [Math.floor(n / entries), n % entries];
    return swin[(entries - 1 - entry) * heads + head]!;
  });
  const relativeBias = Tensor.from(turned, [heads, 2 * size - 1, 2 * size - 1]);
  const { output } = neighborhoodAttentionSync(q, k, v, { window: size, stride: size, relativeBias });
  const inside = Array.from({ length: size * size }, (_, n) => placesOf([size, size], n) as [number, number]);
  const bias = Float32Array.from({ length: heads * size ** 4 }, (_, n) => {
    const [head, pair] = [Math.floor(n / size ** 4), n % size ** 4];
    const [y, x] = inside[Math.floor(pair / size ** 2)]!;
    const [ky, kx] = inside[pair % size ** 2]!;
    return swin[((y - ky + size - 1) * (2 * size - 1) + x - kx + size - 1) * heads + head]!;
  });
  for (let y = 0; y < height; y += size) {
    for (let x = 0; x < width; x += size) {
      const list = rectangle(y, y + size, x, x + size);
      const own = attend(list, list, { bias: Tensor.from(bias, [1, heads, size ** 2, size ** 2]) });
      t.true(apart(output, list, own) < 1e-5);
    }
  }
});

test('Swin: shifted windows, by rolling the tokens and telling their regions apart', (t) => {
  const [size, shift] = [4, 2];
  // Where the token of a rolled place comes from, and the parts that the roll has brought together.
  const from = Array.from({ length: cells }, (_, n) => {
    const [y, x] = placesOf([height, width], n) as [number, number];
    return ((y + shift) % height) * width + ((x + shift) % width);
  });
  const region = Array.from({ length: cells }, (_, n) => {
    const [y, x] = placesOf([height, width], n) as [number, number];
    return (y >= height - shift ? 2 : 0) + (x >= width - shift ? 1 : 0);
  });
  const rolled = (x: Tensor): Tensor => taken(x, from).reshape(shape);
  const options = { window: size, stride: size, mask: documents(region) };
  const { output } = neighborhoodAttentionSync(rolled(q), rolled(k), rolled(v), options);
  const back = new Array<number>(cells);
  from.forEach((cell, place) => (back[cell] = place));
  // Without a roll: windows begin at −2, 2, 6, ...; those at the border are smaller.
  for (let y = -shift; y < height; y += size) {
    for (let x = -shift; x < width; x += size) {
      const list = rectangle(y, y + size, x, x + size);
      const places = list.map((cell) => back[cell]!);
      t.true(apart(output, places, attend(list, list)) < 1e-5);
    }
  }
});

test('HaloNet: blocks that see themselves and a halo, cut at the border', (t) => {
  const [block, halo] = [4, 2];
  const options = { window: block + 2 * halo, stride: block, border: 'mask' } as const;
  const { output } = neighborhoodAttentionSync(q, k, v, options);
  for (let y = 0; y < height; y += block) {
    for (let x = 0; x < width; x += block) {
      const own = rectangle(y, y + block, x, x + block);
      const seen = rectangle(y - halo, y + block + halo, x - halo, x + block + halo);
      t.true(apart(output, own, attend(own, seen)) < 1e-5);
    }
  }
});

test('HaloNet: on an axis that is no multiple of the block the last one is shorter, not its halo longer', (t) => {
  for (const [length, block, halo] of [
    [9, 4, 1],
    [11, 4, 2],
    [10, 3, 2],
    [23, 5, 3],
  ] as const) {
    const near = neighborhood({ grid: [length], window: block + 2 * halo, stride: block, border: 'mask' });
    const same = Tensor.from(new Float32Array(length), [1, 1, length, 1]);
    const ones = Float32Array.from({ length: length ** 2 }, (_, n) => Number(n % (length + 1) === 0));
    const weights = numbers(
      attentionSync(same, same, Tensor.from(ones, [1, 1, length, length]), { mask: near }).output,
    );
    for (let i = 0; i < length; i += 1) {
      const first = i - (i % block);
      for (let j = 0; j < length; j += 1) {
        const inside = j >= first - halo && j < first + block + halo;
        t.is(weights[i * length + j]! > 0, inside, `${length}, block ${block}, halo ${halo}: ${i} sees ${j}`);
      }
    }
  }
});

test('the widest window is dense; so is one axis with a window of its length', (t) => {
  const rows = neighborhoodAttentionSync(q, k, v, { window: [2, width], stride: [2, 1] }).output;
  for (let y = 0; y < height; y += 2) {
    const list = rectangle(y, y + 2, 0, width);
    t.true(apart(rows, list, attend(list, list)) < 1e-5);
  }
  const all = rectangle(0, height, 0, width);
  const { output } = neighborhoodAttentionSync(q, k, v, { window: [height, width] });
  t.true(apart(output, all, attend(all, all)) < 1e-5);
});

test('exactly the keys of the definition: with equal weights sums of positions are whole numbers', (t) => {
  const random = new Random(53);
  for (let drawn = 0; drawn < 40; drawn += 1) {
    const near = drawNear(random);
    const positions = cellsOf(near) + near.extra;
    const sees = seesOf(near);
    const zero = Tensor.from(new Float32Array(positions * 8), [1, 1, positions, 8]);
    const code = Float32Array.from({ length: positions * 3 }, (_, n) => {
      const j = Math.floor(n / 3);
      return [1, j, (j * j) % 101][n % 3]!;
    });
    const value = Tensor.from(code, [1, 1, positions, 3]);
    const { output, lse } = attentionSync(zero, zero, value, { mask: neighborhood(optionsOf(near)), lse: true });
    let wrong = 0;
    for (let i = 0; i < positions; i += 1) {
      const sums = [0, 0, 0];
      for (let j = 0; j < positions; j += 1) {
        if (sees(i, j)) [1, j, (j * j) % 101].forEach((term, d) => (sums[d]! += term));
      }
      const count = sums[0]!;
      if (Math.round(Math.exp(numbers(lse)[i]!)) !== count) wrong += 1;
      for (const d of [0, 1, 2]) if (Math.round(numbers(output)[i * 3 + d]! * count) !== sums[d]) wrong += 1;
    }
    t.is(wrong, 0, JSON.stringify(near));
  }
});

test('a table of 2·window − 1 offsets has an entry for every pair that is seen', (t) => {
  const random = new Random(54);
  for (let drawn = 0; drawn < 60; drawn += 1) {
    const near = drawNear(random);
    const sees = seesOf({ ...near, extra: 0 });
    const count = cellsOf(near);
    t.notThrows(() => {
      for (let i = 0; i < count; i += 1) for (let j = 0; j < count; j += 1) if (sees(i, j)) biasEntry(near, 0, i, j);
    }, JSON.stringify(near));
  }
});

test('a relative bias follows the score; more masks join', (t) => {
  const relativeBias = normal(new Random(5), [heads, 9, 5]);
  const [extraKey, extraValue] = [k, v].map((x) => x.narrow(1, 0, 1).reshape([1, width, heads, dim]));
  const options = { window: [5, 3], extraKey, extraValue };
  const bias = gridBias(relativeBias, { grid: [height, width], extra: width });
  const warm = temperature(0.5);
  for (const more of [causal(), [causal(), mask('(i, j) => j % 7 !== 3')]]) {
    const one = neighborhoodAttentionSync(q, k, v, { ...options, score: warm, relativeBias, mask: more });
    const item = Array.isArray(more) ? and(...more) : more;
    const other = neighborhoodAttentionSync(q, k, v, { ...options, score: compose(warm, bias), mask: item });
    t.deepEqual(one.output.data, other.output.data);
    const plain = neighborhoodAttentionSync(q, k, v, { ...options, score: warm });
    t.notDeepEqual(one.output.data, plain.output.data);
  }
});

test('explain says when the grid is not made use of', (t) => {
  const flat = (x: Tensor): Tensor => x.reshape([1, cells, heads, dim]);
  const near = neighborhood({ grid: [height, width], window: 3 });
  const reason = (item: AttentionOptions['mask'], queries = cells): string | undefined =>
    explain(flat(q).narrow(1, cells - queries, queries), flat(k), flat(v), {
      mask: item,
      layout: 'bshd',
    }).notTaken.find(({ path }) => path === 'grid')?.reason;
  const padding = Tensor.from(new Uint8Array(cells).fill(1), [1, cells], { dtype: 'bool' });
  t.is(reason(near), undefined);
  t.is(reason(causal()), undefined);
  t.is(reason([near, padding]), undefined);
  t.regex(reason([near, causal()])!, /combined/);
  t.regex(reason(and(near, causal()))!, /combined/);
  t.regex(reason(near.with({ xEnd: new Int32Array(width).fill(width) }))!, /new parameters/);
  for (const queries of [1, 60]) t.regex(reason(near, queries)!, /not the cells/);
  const few = [heads, 1, 1].map((own) => normal(new Random(own), [1, own, 8, dim])) as [Tensor, Tensor, Tensor];
  const told = explain(...few, { mask: neighborhood({ grid: [8], window: 3 }) });
  t.regex(told.notTaken.find(({ path }) => path === 'grid')!.reason, /few queries/);
});

test('wrong options of a relative bias and of more masks are named', (t) => {
  const refused = (options: object, code: ErrorCode, argument: string): void =>
    refuses(t, () => neighborhoodAttentionSync(q, k, v, { window: 3, ...options }), { code, argument });
  const table = (tables: number, ...offsets: number[]): Tensor => normal(new Random(6), [tables, ...offsets]);
  refused({ relativeBias: table(3, 5, 5) }, 'ERR_SHAPE_MISMATCH', 'options.relativeBias');
  refused({ relativeBias: table(2, 5) }, 'ERR_SHAPE_MISMATCH', 'options.relativeBias');
  refused({ relativeBias: table(2, 5, 4) }, 'ERR_SHAPE_MISMATCH', 'options.relativeBias');
  refused({ relativeBias: 3 }, 'ERR_INVALID_ARG_TYPE', 'options.relativeBias');
  refused({ relativeBias: table(2, 5, 5), score: causal() }, 'ERR_INVALID_ARG_TYPE', 'options.score');
  refused({ mask: [causal(), 3] }, 'ERR_INVALID_ARG_TYPE', 'options.mask[1]');
  refused({ mask: [causal(), undefined] }, 'ERR_INVALID_ARG_TYPE', 'options.mask[1]');
  refused({ mask: throwing(2) }, 'ERR_INVALID_ARG_VALUE', 'options.mask[0]');
  refused({ mask: Object.assign([], { length: 2 ** 31 }) }, 'ERR_OUT_OF_RANGE', 'options.mask');
  refused({ extra: 2 }, 'ERR_UNKNOWN_OPTION', 'options.extra');
  const bias = (options: object, code: ErrorCode, argument: string): void =>
    refuses(t, () => gridBias(table(2, 5, 5), { grid: [4, 5], ...options }), { code, argument });
  bias({ grid: [4] }, 'ERR_SHAPE_MISMATCH', 'bias');
  bias({ grid: 4 }, 'ERR_INVALID_ARG_TYPE', 'options.grid');
  bias({ dilation: 0 }, 'ERR_OUT_OF_RANGE', 'options.dilation');
  bias({ dilation: [1] }, 'ERR_INVALID_ARG_VALUE', 'options.dilation');
  bias({ extra: -1 }, 'ERR_OUT_OF_RANGE', 'options.extra');
  bias({ window: 3 }, 'ERR_UNKNOWN_OPTION', 'options.window');
});

function drawNear(random: Random): Neighborhood {
  const rank = random.integer(1, 3);
  const axes = Array.from({ length: rank }, () => {
    const length = random.integer(2, [90, 12, 6][rank - 1]!);
    const window = random.integer(2, length);
    const dilation = random.integer(1, Math.floor(length / window));
    return { length, window, stride: random.integer(1, window), dilation, causal: random.chance(0.3) };
  });
  return { axes, border: random.chance(0.5) ? 'clamp' : 'mask', extra: random.chance(0.3) ? random.integer(1, 4) : 0 };
}
