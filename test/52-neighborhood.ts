// Neighborhood attention against its definition, query by query.

import test from 'ava';
import {
  and,
  attention,
  attentionSync,
  blockMap,
  explain,
  gridBias,
  mask,
  neighborhood,
  neighborhoodAttention,
  neighborhoodAttentionSync,
  Tensor,
} from '../lib/index.js';
import type { ErrorCode, NeighborhoodOptions } from '../lib/index.js';
import { refuses, revoked, throwing } from './helpers/errors.js';
import { attendHead } from './reference/attention.js';
import { normal, numbers, optionsOf, wrongNeighborhood } from './reference/neighborhood-case.js';
import { seesOf, type Neighborhood } from './reference/neighborhood.js';
import { Random } from './reference/random.js';
import { lseBound, outputBound, rowContext, within } from './reference/tolerance.js';

const long = process.env['LONG_GRID'] !== undefined;

test(`${long ? 2400 : 240} random neighborhoods`, (t) => {
  t.timeout(3_600_000);
  for (let seed = 1; seed <= (long ? 2400 : 240); seed += 1) t.is(wrongNeighborhood(seed), null);
});

const square = { grid: [12, 20], window: [5, 7] };
const shape = [1, 2, 240, 16];
const [q, k, v] = [1, 2, 3].map((seed) => normal(new Random(seed), shape)) as [Tensor, Tensor, Tensor];

test('bits do not depend on threads or on the batch', async (t) => {
  const expected = attentionSync(q, k, v, { mask: neighborhood(square), threads: 1 }).output.data as Float32Array;
  t.deepEqual((await attention(q, k, v, { mask: neighborhood(square), threads: 7 })).output.data, expected);
  const twice = (x: Tensor): Tensor =>
    Tensor.from(Float32Array.from([...numbers(x), ...numbers(x)]), [2, ...shape.slice(1)]);
  const both = numbers(attentionSync(twice(q), twice(k), twice(v), { mask: neighborhood(square) }).output);
  t.deepEqual(both.subarray(0, expected.length), expected);
  t.deepEqual(both.subarray(expected.length), expected);
});

test('NaN in a key or value reaches none of the queries that do not see it', (t) => {
  for (const dilation of [1, 2]) {
    const drawn: Neighborhood = {
      axes: [
        { length: 12, window: 5, stride: 1, dilation, causal: false },
        { length: 20, window: 7, stride: 1, dilation, causal: false },
      ],
      border: 'clamp',
      extra: 0,
    };
    const near = neighborhood(optionsOf(drawn));
    const sees = seesOf(drawn);
    const clean = attentionSync(q, k, v, { mask: near }).output.data;
    for (const cell of [0, 77, 130, 239]) {
      const poisoned = (x: Tensor): Tensor => {
        const data = Float32Array.from(x.data as Float32Array);
        for (const head of [0, 1]) data.fill(NaN, (head * 240 + cell) * 16, (head * 240 + cell + 1) * 16);
        return Tensor.from(data, shape);
      };
      const spoiled = attentionSync(q, poisoned(k), poisoned(v), { mask: near }).output.data;
      for (let at = 0; at < clean.length; at += 1) {
        const row = Math.floor(at / 16) % 240;
        if (sees(row, cell)) t.true(Number.isNaN(spoiled[at]));
        else t.is(spoiled[at], clean[at]);
      }
    }
  }
});

test('half types, scores and more masks meet the same grid', (t) => {
  const near = neighborhood({ ...square, dilation: 2 });
  const far = mask('(i, j) => (i + j) % 3 !== 0');
  const plain = mask((i, j, { sees }) => sees(i, j) !== 0, { sees: tableOf(seesOf(neighborsOf(square, 2)), 240) });
  const options = { lse: true, softcap: 20, sinks: new Float32Array([0.5, -1]) } as const;
  for (const [one, other] of [
    [near, plain],
    [and(near, far), and(plain, far)],
  ] as const) {
    const [a, b] = [one, other].map((item) => attentionSync(q, k, v, { ...options, mask: item }));
    for (let at = 0; at < a!.output.data.length; at += 1) {
      t.true(Math.abs((a!.output.data[at] as number) - (b!.output.data[at] as number)) < 1e-5);
    }
  }
  const half = (x: Tensor): Tensor => {
    const bits = Uint16Array.from(
      x.data as Float32Array,
      (value) => new Uint32Array(new Float32Array([value]).buffer)[0]! >>> 16,
    );
    return Tensor.from(bits, shape, { dtype: 'bfloat16' });
  };
  const halves = [q, k, v].map(half) as [Tensor, Tensor, Tensor];
  const [a, b] = [near, plain].map(
    (item) => attentionSync(...halves, { mask: item, outputDtype: 'float32' }).output.data,
  );
  for (let at = 0; at < a!.length; at += 1) t.true(Math.abs((a![at] as number) - (b![at] as number)) < 1e-5);
});

test('windows that do not overlap are attention inside each of them; the widest is dense', (t) => {
  const windowed = attentionSync(q, k, v, { mask: neighborhood({ grid: [12, 20], window: [4, 5], stride: [4, 5] }) });
  const same = mask((i, j, { of }) => of(i) === of(j), {
    of: Int32Array.from({ length: 240 }, (_, n) => Math.floor(n / 80) * 4 + Math.floor((n % 20) / 5)),
  });
  const expected = attentionSync(q, k, v, { mask: same });
  const dense = attentionSync(q, k, v);
  const whole = attentionSync(q, k, v, { mask: neighborhood({ grid: [12, 20], window: [12, 20] }) });
  for (let at = 0; at < dense.output.data.length; at += 1) {
    t.true(Math.abs((windowed.output.data[at] as number) - (expected.output.data[at] as number)) < 1e-5);
    t.true(Math.abs((whole.output.data[at] as number) - (dense.output.data[at] as number)) < 1e-5);
  }
});

test('tile maps and pairs are those of the definition', (t) => {
  const drawn = neighborsOf(square, 2);
  const sees = seesOf(drawn);
  const near = neighborhood(optionsOf(drawn));
  let pairs = 0;
  for (let i = 0; i < 240; i += 1) for (let j = 0; j < 240; j += 1) pairs += Number(sees(i, j));
  t.is(explain(q, k, v, { mask: near }).flops, 2 * pairs * 2 * 32);
  const map = blockMap(near, { nq: 240, nkv: 240, block: [16, 16] });
  for (let row = 0; row < 15; row += 1) {
    for (let column = 0; column < 15; column += 1) {
      let seen = 0;
      for (let n = 0; n < 256; n += 1) seen += Number(sees(row * 16 + (n >> 4), column * 16 + (n & 15)));
      t.is(map.states[row * 15 + column], seen === 0 ? 0 : seen === 256 ? 2 : 1);
    }
  }
});

test('a grid that the sequence does not fit is a program like others', (t) => {
  // Decoding: the last cells alone.
  const causal = neighborhood({ grid: [240], window: 30, causal: true });
  const last = q.narrow(2, 236, 4);
  const [some, all] = [attentionSync(last, k, v, { mask: causal }), attentionSync(q, k, v, { mask: causal })];
  for (const h of [0, 1]) {
    for (let at = 0; at < 64; at += 1) {
      const [a, b] = [some.output.data[h * 64 + at], all.output.data[h * 3840 + 236 * 16 + at]] as [number, number];
      t.true(Math.abs(a - b) < 1e-5);
    }
  }
  refuses(t, () => attentionSync(q, k, v, { mask: neighborhood({ grid: [200], window: 30 }) }), {
    code: 'ERR_OUT_OF_RANGE',
    argument: 'options.mask',
  });
});

test('tensors with the axes of their grid, with extra keys and a relative bias', async (t) => {
  const [batch, heads, headsKv, dim, extra] = [2, 4, 2, 8, 3];
  for (const [grid, window, dilation] of [
    [[30], [7], [2]],
    [
      [6, 7],
      [3, 5],
      [2, 1],
    ],
    [
      [4, 5, 3],
      [3, 2, 3],
      [1, 2, 1],
    ],
  ] as const) {
    const cells = grid.reduce<number>((a, b) => a * b, 1);
    const random = new Random(cells);
    const query = normal(random, [batch, ...grid, heads, dim]);
    const [key, value] = [0, 1].map(() => normal(random, [batch, ...grid, headsKv, dim])) as [Tensor, Tensor];
    const [extraKey, extraValue] = [0, 1].map(() => normal(random, [batch, extra, headsKv, dim])) as [Tensor, Tensor];
    const bias = normal(random, [heads, ...window.map((width) => 2 * width - 1)]);
    const score = gridBias(bias, { grid, dilation, extra });
    const options = { window, dilation, score, extraKey, extraValue, lse: true };
    const { output, lse } = neighborhoodAttentionSync(query, key, value, options);
    t.deepEqual(output.shape, [batch, ...grid, heads, dim]);
    t.deepEqual(lse!.shape, [batch, heads, ...grid]);
    const later = await neighborhoodAttention(query, key, value, options);
    t.deepEqual(later.output.data, output.data);

    const axes = grid.map((length, axis) => ({
      length,
      window: window[axis]!,
      stride: 1,
      dilation: dilation[axis]!,
      causal: false,
    }));
    const sees = seesOf({ axes, border: 'clamp', extra });
    const rows = (x: Tensor, count: number, b: number, h: number, of: number): number[][] =>
      Array.from({ length: count }, (_, n) => {
        const from = ((b * count + n) * of + h) * dim;
        return Array.from(numbers(x).subarray(from, from + dim));
      });
    const biasOf = (h: number, i: number, j: number): number => {
      let [at, from, to, size] = [h, i, j, cells];
      for (const [axis, length] of grid.entries()) {
        size /= length;
        const away = (Math.floor(to / size) - Math.floor(from / size)) / dilation[axis]!;
        at = at * (2 * window[axis]! - 1) + away + window[axis]! - 1;
        [from, to] = [from % size, to % size];
      }
      return numbers(bias)[at]!;
    };
    for (let b = 0; b < batch; b += 1) {
      for (let h = 0; h < heads; h += 1) {
        const hkv = h >> 1;
        const keys = [...rows(extraKey, extra, b, hkv, headsKv), ...rows(key, cells, b, hkv, headsKv)];
        const values = [...rows(extraValue, extra, b, hkv, headsKv), ...rows(value, cells, b, hkv, headsKv)];
        const queries = rows(query, cells, b, h, heads);
        const expected = attendHead({
          queries: cells,
          keys: keys.length,
          dimQk: dim,
          dimV: dim,
          query: Float64Array.from(queries.flat()),
          key: Float64Array.from(keys.flat()),
          value: Float64Array.from(values.flat()),
          scale: 1 / Math.sqrt(dim),
          softcap: 0,
          allowed: (row, column) => sees(row + extra, column),
          bias: (row, column) => (column < extra ? 0 : biasOf(h, row, column - extra)),
        });
        for (let row = 0; row < cells; row += 1) {
          const context = rowContext(expected, row, dim, keys.length);
          t.true(within(numbers(lse!)[(b * heads + h) * cells + row]!, expected.lse[row]!, lseBound(context)));
          for (let d = 0; d < dim; d += 1) {
            const got = numbers(output)[((b * cells + row) * heads + h) * dim + d]!;
            const bound = outputBound(context, expected.spread[row * dim + d]!);
            t.true(within(got, expected.output[row * dim + d]!, bound));
          }
        }
      }
    }
  }
});

test('wrong tensors of a grid are named', async (t) => {
  const x = normal(new Random(1), [1, 4, 5, 2, 8]);
  const options = { window: 3 };
  const refused = (call: () => unknown, code: ErrorCode, argument: string): void =>
    refuses(t, call, { code, argument });
  refused(() => neighborhoodAttentionSync(x.reshape([1, 40, 8]), x, x, options), 'ERR_SHAPE_MISMATCH', 'query');
  refused(() => neighborhoodAttentionSync(x, x.reshape([1, 5, 4, 2, 8]), x, options), 'ERR_SHAPE_MISMATCH', 'key');
  refused(() => neighborhoodAttentionSync(x, x, x.transpose(1, 2), options), 'ERR_SHAPE_MISMATCH', 'value');
  const extraKey = normal(new Random(2), [1, 3, 2, 8]);
  refused(
    () => neighborhoodAttentionSync(x, x, x, { ...options, extraKey }),
    'ERR_INVALID_ARG_VALUE',
    'options.extraValue',
  );
  refused(
    () => neighborhoodAttentionSync(x, x, x, { ...options, extraKey, extraValue: extraKey.reshape([3, 1, 2, 8]) }),
    'ERR_SHAPE_MISMATCH',
    'options.extraValue',
  );
  refuses(t, () => neighborhoodAttentionSync(x, x, x, { ...options, extraKey, extraValue: extraKey.narrow(1, 0, 2) }), {
    code: 'ERR_SHAPE_MISMATCH',
    argument: 'options.extraValue',
    expected: /^\[1, 3, 2, 8\]$/,
  });
  const turned = x.narrow(2, 0, 4).transpose(1, 2);
  refused(() => neighborhoodAttentionSync(turned, turned, turned, options), 'ERR_UNSUPPORTED', 'query');
  await t.throwsAsync(neighborhoodAttention(x, x, x, { window: 6 }), { code: 'ERR_OUT_OF_RANGE' });
  refused(() => gridBias(x, { grid: [4, 5] }), 'ERR_SHAPE_MISMATCH', 'bias');
});

test('wrong options are named', (t) => {
  const wrong = (options: unknown, code: ErrorCode, argument: string): void => {
    refuses(t, () => neighborhood(options as NeighborhoodOptions), { code, argument });
  };
  wrong(undefined, 'ERR_INVALID_ARG_TYPE', 'options.grid');
  wrong({ window: 3 }, 'ERR_INVALID_ARG_TYPE', 'options.grid');
  wrong({ grid: [], window: 3 }, 'ERR_INVALID_ARG_VALUE', 'options.grid');
  wrong({ grid: [4, 4, 4, 4], window: 3 }, 'ERR_INVALID_ARG_VALUE', 'options.grid');
  wrong({ grid: [4, NaN], window: 3 }, 'ERR_OUT_OF_RANGE', 'options.grid[1]');
  wrong({ grid: [2 ** 20, 2 ** 20], window: 3 }, 'ERR_OUT_OF_RANGE', 'options.grid');
  wrong({ grid: [2 ** 30], window: 3 }, 'ERR_OUT_OF_RANGE', 'options.grid[0]');
  wrong({ grid: [8] }, 'ERR_INVALID_ARG_TYPE', 'options.window');
  wrong({ grid: [8], window: 1 }, 'ERR_OUT_OF_RANGE', 'options.window');
  wrong({ grid: [8, 4], window: [3, 5] }, 'ERR_OUT_OF_RANGE', 'options.window[1]');
  wrong({ grid: [8, 4], window: [3] }, 'ERR_INVALID_ARG_VALUE', 'options.window');
  wrong({ grid: [8], window: 3, stride: null }, 'ERR_INVALID_ARG_TYPE', 'options.stride');
  wrong({ grid: [8], window: 3, stride: 4 }, 'ERR_OUT_OF_RANGE', 'options.stride');
  wrong({ grid: [8], window: 3, dilation: 3 }, 'ERR_OUT_OF_RANGE', 'options.dilation');
  wrong({ grid: [8], window: 3, causal: 1 }, 'ERR_INVALID_ARG_TYPE', 'options.causal');
  wrong({ grid: [8], window: 3, border: 'wrap' }, 'ERR_INVALID_ARG_VALUE', 'options.border');
  wrong({ grid: [8], window: 3, extra: -1 }, 'ERR_OUT_OF_RANGE', 'options.extra');
  const holes = (list: unknown[]): unknown[] => {
    delete list[1];
    return list;
  };
  wrong({ grid: new Array(2), window: 3 }, 'ERR_INVALID_ARG_TYPE', 'options.grid[0]');
  wrong({ grid: holes([4, 4]), window: 3 }, 'ERR_INVALID_ARG_TYPE', 'options.grid[1]');
  wrong({ grid: [4, 4], window: holes([3, 3]) }, 'ERR_INVALID_ARG_TYPE', 'options.window[1]');
  wrong({ grid: throwing(2), window: 3 }, 'ERR_INVALID_ARG_VALUE', 'options.grid[0]');
  wrong({ grid: [4, 4], window: throwing(2) }, 'ERR_INVALID_ARG_VALUE', 'options.window[0]');
  wrong({ grid: revoked(), window: 3 }, 'ERR_INVALID_ARG_VALUE', 'options.grid');
  wrong({ grid: [4], window: revoked() }, 'ERR_INVALID_ARG_VALUE', 'options.window');
  wrong(revoked({}), 'ERR_INVALID_ARG_VALUE', 'options');
  wrong({ grid: [8], window: 3, kernel: 3 }, 'ERR_UNKNOWN_OPTION', 'options.kernel');
});

function neighborsOf({ grid, window }: { grid: number[]; window: number[] }, dilation: number): Neighborhood {
  const axes = grid.map((length, axis) => ({ length, window: window[axis]!, stride: 1, dilation, causal: false }));
  return { axes, border: 'clamp', extra: 0 };
}

function tableOf(sees: (i: number, j: number) => boolean, count: number): { data: Int32Array; shape: number[] } {
  const data = Int32Array.from({ length: count * count }, (_, n) => Number(sees(Math.floor(n / count), n % count)));
  return { data, shape: [count, count] };
}
