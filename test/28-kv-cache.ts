// What a cache computes: steps and chunks of any cut equal the formula, in all types and layouts, with windows, pinned
// tokens, rotary embedding, forks and latent values.

import test from 'ava';
import { KvCache, Tensor, alibi, attentionSync, causal, mask } from '../lib/index.js';
import type { KvCacheOptions } from '../lib/index.js';
import { CacheModel, randomBlock, rowsOf, tensorOf, turned, valuesOf, worstError } from './reference/cached.js';
import type { Block } from './reference/cached.js';
import { Random } from './reference/random.js';
import { encode16 } from './reference/half.js';

const page = 128;

interface Case extends KvCacheOptions {
  headsQ: number;
  /** Rows of each call. */
  chunks: readonly number[];
  queryDtype?: 'float32' | 'float16' | 'bfloat16';
}

/** Runs chunks through a cache and the model; every call has to be right. */
function check(seed: number, given: Case, more: { sync?: boolean } = {}): number {
  const { headsQ, chunks, queryDtype: _, ...options } = given;
  const random = new Random(seed);
  const { batch = 1, heads, dim, dimV = dim, dtype = 'float32', layout, values } = options;
  const cache = new KvCache(options);
  const model = new CacheModel(options);
  let worst = 0;
  for (const rows of chunks) {
    const q = randomBlock(random, [batch, headsQ, rows, dim]);
    const k = randomBlock(random, [batch, heads, rows, dim], dtype);
    const v = values === 'latent' ? undefined : randomBlock(random, [batch, heads, rows, dimV], dtype);
    model.append(k, v);
    const { output } = cache.attendSync(tensorOf(q, 'float32', layout), {
      k: tensorOf(k, dtype, layout),
      v: v && tensorOf(v, dtype, layout),
      threads: more.sync ? 1 : undefined,
    });
    worst = Math.max(worst, worstError(model, options, q, valuesOf(output, layout)));
  }
  if (cache.length !== model.length) return NaN;
  cache.free();
  return worst;
}

const cuts: readonly (readonly number[])[] = [
  [1, 1, 1, 1],
  [page - 1, 1, 1, 1],
  [page, 1, page - 1, 2],
  [page + 1, 1],
  [3 * page + 5, 1, 1],
  [40, 40, 40, 40, 40],
  [1, 300, 1, 2, 3],
];

for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
  test(`steps and chunks of any cut, ${dtype}`, (t) => {
    cuts.forEach((chunks, index) => {
      const shapes = [
        { heads: 2, headsQ: 2, dim: 16 },
        { heads: 2, headsQ: 6, dim: 20, dimV: 9, batch: 2 },
        { heads: 1, headsQ: 4, dim: 64, layout: 'bshd', batch: 2 },
      ] as const;
      for (const shape of shapes) {
        const worst = check(index + 1, { ...shape, dtype, chunks });
        t.true(worst <= 1, `${JSON.stringify(shape)}, chunks ${chunks.join()}: ${worst} of the bound`);
      }
    });
  });

  test(`windows with pinned tokens, ${dtype}`, (t) => {
    cuts.forEach((chunks, index) => {
      for (const [window, pinned] of [
        [0, 0],
        [0, 1],
        [7, 3],
        [60, 0],
        [130, 4],
        [100, page + 2],
        [1000, 4],
      ] as const) {
        const long = [...chunks, 1, 50, 1, 1, page, 1, 2];
        const shape = { heads: 1, headsQ: 2, dim: 24, dtype, window, pinned, chunks: long } as const;
        const worst = check(index + 50, shape);
        t.true(worst <= 1, `window ${window}, pinned ${pinned}, chunks ${chunks.join()}: ${worst} of the bound`);
      }
    });
  });

  test(`rotary embedding of both pairings, ${dtype}`, (t) => {
    const ropes = [
      { pairing: 'halves' },
      { pairing: 'interleaved' },
      { pairing: 'halves', dim: 8, base: 500 },
      { pairing: 'interleaved', dim: 6, offset: 18 },
      { pairing: 'halves', dim: 6, offset: 3, frequencies: [1, 0.3, 0.01] },
    ] as const;
    ropes.forEach((rope, index) => {
      for (const chunks of [
        [1, 1, 1],
        [page - 1, 3, 1],
        [20, 20],
      ]) {
        for (const extra of [{}, { window: 30, pinned: 2 }]) {
          const worst = check(index + 80, { heads: 2, headsQ: 4, dim: 24, dtype, rope, chunks, batch: 2, ...extra });
          t.true(worst <= 1, `${JSON.stringify(rope)}, chunks ${chunks.join()}: ${worst} of the bound`);
        }
      }
    });
  });

  test(`latent values, ${dtype}`, (t) => {
    const rope = { pairing: 'interleaved', dim: 8, offset: 24 } as const;
    for (const chunks of [
      [1, 1, 1],
      [page + 3, 1],
      [30, 30, 1],
    ]) {
      for (const extra of [{}, { rope }, { rope, window: 20, pinned: 1 }]) {
        const worst = check(7, { heads: 1, headsQ: 16, dim: 32, dimV: 24, values: 'latent', dtype, chunks, ...extra });
        t.true(worst <= 1, `chunks ${chunks.join()}: ${worst} of the bound`);
      }
    }
  });
}

test('latent attention at its real size, 576 and 512', (t) => {
  const rope = { pairing: 'interleaved', dim: 64, offset: 512 } as const;
  const worst = check(3, { heads: 1, headsQ: 16, dim: 576, dimV: 512, values: 'latent', rope, chunks: [20, 1, 1] });
  t.true(worst <= 1, `${worst} of the bound`);
});

test('far positions keep the accuracy of near ones', (t) => {
  const options = { heads: 1, dim: 32, rope: { pairing: 'halves' } } as const;
  const random = new Random(4);
  for (const start of [0, 100_000, 2 ** 30]) {
    const cache = new KvCache(options);
    const model = new CacheModel(options);
    const shape = [1, 1, 12, 32] as const;
    const [q, k, v] = [randomBlock(random, shape), randomBlock(random, shape), randomBlock(random, shape)];
    const positions = Array.from({ length: 12 }, (_, s) => start + s);
    model.append(k, v, positions);
    const { output } = cache.attendSync(tensorOf(q), { k: tensorOf(k), v: tensorOf(v), positions });
    const worst = worstError(model, options, q, valuesOf(output), positions);
    t.true(worst <= 1, `from ${start}: ${worst} of the bound`);
  }
});

test('positions of rope are given by token, or by sequence and token', (t) => {
  const options = { heads: 2, dim: 16, batch: 2, rope: { pairing: 'halves' } } as const;
  const random = new Random(5);
  const block = (rows: number, heads = 2): Block => randomBlock(random, [2, heads, rows, 16]);
  for (const positions of [
    [5, 6, 7, 100],
    [0, 0, 0, 1, 4, 3, 2, -1],
  ]) {
    for (const typed of [false, true]) {
      const cache = new KvCache(options);
      const model = new CacheModel(options);
      const first = [block(3), block(3)] as const;
      cache.append(tensorOf(first[0]), tensorOf(first[1]));
      model.append(...first);
      const [q, k, v] = [block(4, 4), block(4), block(4)];
      model.append(k, v, positions);
      const given = typed ? Int32Array.from(positions) : positions;
      const { output } = cache.attendSync(tensorOf(q), { k: tensorOf(k), v: tensorOf(v), positions: given });
      t.true(worstError(model, options, q, valuesOf(output), positions) <= 1);
      // Fewer queries than tokens: theirs are the last positions. And queries alone bring their own.
      const last = rowsOf(q, 3, 4);
      const lastOf = positions.length === 4 ? [positions[3]!] : [positions[3]!, positions[7]!];
      const alone = cache.attendSync(tensorOf(last), { positions: lastOf });
      t.true(worstError(model, options, last, valuesOf(alone.output), lastOf) <= 1);
      const whole = valuesOf(output);
      const part = valuesOf(alone.output);
      for (let bh = 0; bh < 8; bh += 1) {
        for (let d = 0; d < 16; d += 1) {
          t.true(Math.abs(whole[(bh * 4 + 3) * 16 + d]! - part[bh * 16 + d]!) <= 1e-5);
        }
      }
    }
  }
});

test('the conventions of rotary embedding, by hand', (t) => {
  const row = Float64Array.from([1, 2, 3, 4]);
  const [c0, s0, c1, s1] = [Math.cos(3), Math.sin(3), Math.cos(0.03), Math.sin(0.03)];
  const halves = turned(row, 3, { pairing: 'halves' });
  t.deepEqual([...halves], [c0 - 3 * s0, 2 * c1 - 4 * s1, 3 * c0 + s0, 4 * c1 + 2 * s1]);
  const interleaved = turned(row, 3, { pairing: 'interleaved' });
  t.deepEqual([...interleaved], [c0 - 2 * s0, 2 * c0 + s0, 3 * c1 - 4 * s1, 4 * c1 + 3 * s1]);
  // Scores of a cache see turned keys: with values that tell keys apart, one query at position 0 reads them off.
  for (const pairing of ['halves', 'interleaved'] as const) {
    const cache = new KvCache({ heads: 1, dim: 4, dimV: 2, rope: { pairing } });
    cache.append(
      Tensor.from(Float32Array.from([0, 0, 0, 0, ...row]), [1, 1, 2, 4]),
      Tensor.from(Float32Array.from([1, 0, 0, 1]), [1, 1, 2, 2]),
      { positions: [0, 3] },
    );
    for (let d = 0; d < 4; d += 1) {
      const q = Tensor.from(
        Float32Array.from({ length: 4 }, (_, e) => (e === d ? 1 : 0)),
        [1, 1, 1, 4],
      );
      const [p0, p1] = cache.attendSync(q, { positions: [0], scale: 0.5 }).output.toFloat32();
      const expected = (pairing === 'halves' ? halves : interleaved)[d]!;
      t.true(Math.abs(Math.log(p1! / p0!) / 0.5 - expected) < 1e-5);
    }
  }
});

test('equals attention over the concatenated tensors, with the same options', (t) => {
  const random = new Random(8);
  const [rows, last] = [150, 3];
  const q = randomBlock(random, [2, 4, last, 32]);
  const k = randomBlock(random, [2, 2, rows, 32]);
  const v = randomBlock(random, [2, 2, rows, 32]);
  const cache = new KvCache({ heads: 2, dim: 32, batch: 2 });
  cache.append(tensorOf(rowsOf(k, 0, 100)), tensorOf(rowsOf(v, 0, 100)));
  cache.append(tensorOf(rowsOf(k, 100, rows)), tensorOf(rowsOf(v, 100, rows)));
  const padding = Tensor.from(
    Uint8Array.from({ length: 2 * rows }, (_, n) => (n % 7 === 2 ? 0 : 1)),
    [2, rows],
    {
      dtype: 'bool',
    },
  );
  const bias = tensorOf(randomBlock(random, [1, 4, last, rows]));
  const odd = mask('(i, j, { nkv, col }) => (i + j) % 3 !== 0 && col === j && nkv === 150');
  const cases = [
    {},
    { scale: 0.3, softcap: 2, sinks: [1, 2, 3, 4] },
    { mask: odd },
    { mask: padding },
    { mask: [padding, odd] },
    { score: alibi(4) },
    { bias },
    { lse: true, entropy: true, rowMax: true, outputDtype: 'bfloat16' },
  ] as const;
  for (const options of cases) {
    const allowed = 'mask' in options ? (Array.isArray(options.mask) ? [...options.mask] : [options.mask]) : [];
    const ours = cache.attendSync(tensorOf(q), options as object);
    const theirs = attentionSync(tensorOf(q), tensorOf(k), tensorOf(v), {
      ...options,
      mask: [...allowed, causal()] as never,
    });
    for (const name of ['output', 'lse', 'entropy', 'rowMax'] as const) {
      t.deepEqual(ours[name]?.data, theirs[name]?.data, `${JSON.stringify(options)} ${name}`);
    }
  }
});

test('masks and scores go by places in the cache, also where pages have gone', (t) => {
  const random = new Random(9);
  const rows = 700;
  const options = { heads: 1, dim: 16, window: 90, pinned: 5 } as const;
  const q = randomBlock(random, [1, 2, rows, 16]);
  const k = randomBlock(random, [1, 1, rows, 16]);
  const v = randomBlock(random, [1, 1, rows, 16]);
  const visible = '(i, j, { window, pinned }) => j <= i && (i - j <= window || j < pinned)';
  const windowed = mask(visible, { window: 90, pinned: 5 });
  const marks = Int32Array.from({ length: rows }, (_, n) => (n * n) % 5);
  const odd = mask('(i, j, { nkv, col, marks }) => marks(j) !== 2 && col === j && nkv > i', { marks });
  const whole = attentionSync(tensorOf(q), tensorOf(k), tensorOf(v), { mask: [windowed, odd], score: alibi(2) });
  const expected = valuesOf(whole.output);
  for (const chunk of [1, 37, 128]) {
    const cache = new KvCache(options);
    for (let from = 0; from < rows; from += chunk) {
      const to = Math.min(rows, from + chunk);
      const { output } = cache.attendSync(tensorOf(rowsOf(q, from, to)), {
        k: tensorOf(rowsOf(k, from, to)),
        v: tensorOf(rowsOf(v, from, to)),
        mask: odd,
        score: alibi(2),
      });
      const actual = valuesOf(output);
      const width = (to - from) * 16;
      for (let h = 0; h < 2; h += 1) {
        for (let n = 0; n < width; n += 1) {
          const difference = Math.abs(actual[h * width + n]! - expected[(h * rows + from) * 16 + n]!);
          if (!(difference < 3e-6)) return t.fail(`chunk ${chunk}, token ${from + Math.floor(n / 16)}: ${difference}`);
        }
      }
    }
    t.true(cache.bytes <= (3 + Math.ceil(chunk / page)) * page * 32 * 4);
  }
});

test('forks go their own ways and do not disturb each other', (t) => {
  for (const before of [page - 1, page, page + 1, 3 * page, 40]) {
    for (const extra of [{}, { window: 50, pinned: 3 }, { rope: { pairing: 'halves' } } as const]) {
      const options = { heads: 2, dim: 16, ...extra };
      const random = new Random(before);
      const block = (rows: number): Block => randomBlock(random, [1, 2, rows, 16]);
      const first = new KvCache(options);
      const model = new CacheModel(options);
      const [k, v] = [block(before), block(before)];
      first.append(tensorOf(k), tensorOf(v));
      model.append(k, v);
      const family = [{ cache: first, model }];
      for (let n = 0; n < 2; n += 1) family.push({ cache: first.fork(), model: model.fork() });
      for (let step = 0; step < 4; step += 1) {
        for (const one of family) {
          const [q, key, value] = [block(1), block(1), block(1)];
          one.model.append(key, value);
          const { output } = one.cache.attendSync(tensorOf(q), { k: tensorOf(key), v: tensorOf(value) });
          t.true(worstError(one.model, options, q, valuesOf(output)) <= 1);
        }
      }
      family.forEach(({ cache }) => cache.free());
    }
  }
});

test('inputs of any float type are rounded to the type of the cache', (t) => {
  const random = new Random(12);
  for (const from of ['float32', 'float16', 'bfloat16'] as const) {
    for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
      const options = { heads: 1, dim: 24, dtype } as const;
      const cache = new KvCache(options);
      const model = new CacheModel(options);
      const [q, k, v] = [1, 2, 3].map(() => randomBlock(random, [1, 1, 9, 24], from)) as [Block, Block, Block];
      model.append(k, v);
      const { output } = cache.attendSync(tensorOf(q, from), {
        k: tensorOf(k, from),
        v: tensorOf(v, from),
        outputDtype: 'float32',
      });
      t.true(worstError(model, options, q, valuesOf(output)) <= 1, `${from} into ${dtype}`);
    }
  }
});

test('the same calls give the same bits, whatever the threads', async (t) => {
  const runs: Float32Array[] = [];
  for (const threads of [1, 2, 7, 1]) {
    const random = new Random(3);
    const cache = new KvCache({ heads: 2, dim: 32, rope: { pairing: 'halves' }, window: 300, pinned: 2 });
    const results: number[] = [];
    for (const rows of [200, 1, 1, 700, 1]) {
      const [q, k, v] = [1, 2, 3].map(() => tensorOf(randomBlock(random, [1, 2, rows, 32])));
      const options = { k, v, threads };
      const { output } = threads === 7 ? await cache.attend(q!, options) : cache.attendSync(q!, options);
      results.push(...(output.data as Float32Array));
    }
    runs.push(Float32Array.from(results));
  }
  for (const run of runs) t.deepEqual(run, runs[0]);
});

test('what lies in the unused rows of pages reaches nothing', (t) => {
  const nothing = (dtype: 'float32' | 'bfloat16', rows: number): Tensor => {
    const count = 2 * rows * 16;
    const data =
      dtype === 'float32' ? new Float32Array(count).fill(NaN) : new Uint16Array(count).fill(encode16(dtype, NaN));
    return Tensor.from(data, [1, 2, rows, 16], { dtype });
  };
  for (const dtype of ['float32', 'bfloat16'] as const) {
    const options = { heads: 2, dim: 16, dtype } as const;
    const random = new Random(2);
    const cache = new KvCache(options);
    const model = new CacheModel(options);
    cache.append(nothing(dtype, 3 * page), nothing(dtype, 3 * page));
    cache.truncate(0);
    cache.append(nothing(dtype, page), nothing(dtype, page));
    cache.truncate(0);
    for (const rows of [1, 5, page - 7, 3]) {
      const block = (): Block => randomBlock(random, [1, 2, rows, 16], dtype);
      const [q, k, v] = [block(), block(), block()];
      // A poisoned fork, and a draft that is taken back.
      cache.fork().append(nothing(dtype, 4), nothing(dtype, 4));
      cache.append(nothing(dtype, 2), nothing(dtype, 2));
      cache.truncate(model.length);
      model.append(k, v);
      const { output } = cache.attendSync(tensorOf(q), { k: tensorOf(k, dtype), v: tensorOf(v, dtype) });
      t.true(worstError(model, options, q, valuesOf(output)) <= 1);
    }
  }
});

test('an empty cache, no rows, and more queries than tokens', (t) => {
  const cache = new KvCache({ heads: 1, dim: 8, window: 3 });
  const random = new Random(1);
  const q = tensorOf(randomBlock(random, [1, 2, 3, 8]));
  const none = Tensor.from(new Float32Array(0), [1, 1, 0, 8]);
  cache.append(none, none);
  t.is(cache.length, 0);
  t.deepEqual([...(cache.attendSync(q, { k: none, v: none }).output.data as Float32Array)], new Array(48).fill(0));
  const k = randomBlock(random, [1, 1, 1, 8]);
  const { output, lse } = cache.attendSync(q, { k: tensorOf(k), v: tensorOf(k), lse: true });
  const [a, b, c] = [...(lse.data as Float32Array)];
  t.deepEqual([a, b], [-Infinity, -Infinity]);
  t.true(Number.isFinite(c));
  t.true((output.data as Float32Array).subarray(0, 16).every((x) => x === 0));
  t.deepEqual((output.data as Float32Array).slice(16, 24), Float32Array.from(k.data));
});
