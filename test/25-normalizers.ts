// Normalizers other than softmax: against the formulas in float64 over the grid, and what they share with softmax: selection
// by masks, repeatable bits, every layout and every home of keys.

import './helpers/seven-threads.js';
import test from 'ava';
import {
  attentionSync,
  causal,
  KvCache,
  mergePartials,
  mergePartialsSync,
  neighborhood,
  score,
  slidingWindow,
  Tensor,
  type AttentionOptions,
  type ErrorCode,
  type Normalizer,
  type SumPartial,
} from '../lib/index.js';
import { bitsOf, callOf, run } from './reference/call.js';
import { describe } from './reference/case.js';
import { deep, type Topic } from './reference/grid.js';
import { alone, joinQueries, makeBatch, outputOf } from './reference/paged.js';
import { bad } from './reference/poison.js';
import { Random } from './reference/random.js';
import { weighable, weighedCase, weighings, wrongWeights } from './reference/weights-case.js';
import { weighHead, type Weighing } from './reference/weights.js';
import { refuses } from './helpers/errors.js';

const topics: Topic[] = ['masks', 'scores', 'types', 'layouts', 'lengths', 'decode', 'dims', 'long', 'anything'];
const many = process.env['LONG_GRID'] === undefined ? 18 : 300;

for (const topic of topics) {
  test(`${topic}: sums of weights are right`, (t) => {
    for (let n = 0; n < many; n++) {
      t.deepEqual(wrongWeights(weighedCase(topic, 251_000 + n), weighings[n % weighings.length]!), []);
    }
  });
}

const repeated = (['masks', 'types', 'lengths', 'decode', 'long'] as Topic[]).flatMap((topic) =>
  Array.from({ length: 6 }, (_, n) => weighedCase(topic, 252_000 + n)),
);

test('the same bits with any number of threads', (t) => {
  const cases = [...deep.map(weighable), ...repeated];
  cases.forEach((one, n) => {
    const call = callOf(one);
    const normalizer = weighings[n % weighings.length]!;
    const bits = (threads: number) =>
      bitsOf(run({ ...call, options: { ...call.options, normalizer, threads } }).output);
    const first = bits(1);
    for (const threads of [2, 7]) t.deepEqual(bits(threads), first, describe(one));
  });
});

function normal(random: Random, shape: number[]): Tensor {
  return Tensor.from(Float32Array.from(random.normals(shape.reduce((a, b) => a * b, 1))), shape);
}

const doubles = ({ data }: Tensor): Float64Array => Float64Array.from(data as Float32Array);

interface Sizes {
  heads: number;
  queries: number;
  keys: number;
  dim: number;
}

/** Float32 tensors of one sequence, [1, heads, rows, dim]. */
function drawn(random: Random, { heads, queries, keys, dim }: Sizes) {
  const [q, k] = [normal(random, [1, heads, queries, dim]), normal(random, [1, heads, keys, dim])];
  return { q, k, v: normal(random, [1, heads, keys, dim]) };
}

/** Places of an output [1, heads, queries, dim] that are wrong. */
function wrongIn(
  { q, k, v }: ReturnType<typeof drawn>,
  output: Tensor,
  normalizer: Weighing,
  allowed: (row: number, column: number) => boolean,
  program?: (s: number, row: number, column: number) => { value: number; magnitude: number },
): string[] {
  const [, heads, queries, dim] = q.shape as [number, number, number, number];
  const keys = k.shape[2]!;
  const got = output.toFloat32();
  const wrong: string[] = [];
  const slice = (tensor: Tensor, h: number, rows: number) =>
    doubles(tensor).slice(h * rows * dim, (h + 1) * rows * dim);
  for (let h = 0; h < heads; h++) {
    const { output: expected, bound } = weighHead(
      {
        queries,
        keys,
        dimQk: dim,
        dimV: dim,
        scale: 1 / Math.sqrt(dim),
        softcap: 0,
        allowed,
        query: slice(q, h, queries),
        key: slice(k, h, keys),
        value: slice(v, h, keys),
        ...(program ? { score: program } : {}),
      },
      normalizer,
    );
    expected.forEach((x, n) => {
      const y = got[h * queries * dim + n]!;
      if (!(Math.abs(y - x) <= bound[n]!)) wrong.push(`head ${h}, ${n}: ${y}, expected ${x} +- ${bound[n]}`);
    });
  }
  return wrong.slice(0, 3);
}

test('score programs come before, positions as ever', (t) => {
  const tensors = drawn(new Random(1), { heads: 2, queries: 37, keys: 301, dim: 24 });
  for (const normalizer of weighings) {
    const { output } = attentionSync(tensors.q, tensors.k, tensors.v, {
      normalizer,
      mask: causal(),
      score: score('(s, i, j) => 2 * s - (i - j) / 64'),
      softcap: 3,
    });
    const program = (s: number, row: number, j: number) => {
      const distance = (row + 264 - j) / 64;
      return { value: 2 * s - distance, magnitude: 4 * Math.abs(s) + 2 * Math.abs(distance) };
    };
    const wrong = wrongIn(
      tensors,
      output,
      normalizer,
      (row, j) => j <= row + 264,
      (s, row, j) => program(3 * Math.tanh(s / 3), row, j),
    );
    t.deepEqual(wrong, []);
  }
});

test('keys that are gathered: neighborhoods of a grid', (t) => {
  const [height, width] = [24, 40];
  const tensors = drawn(new Random(2), { heads: 1, queries: height * width, keys: height * width, dim: 16 });
  const near = (a: number, b: number, length: number) => {
    const start = Math.min(Math.max(a - 3, 0), length - 7);
    return b >= start && b < start + 7;
  };
  const mask = neighborhood({ grid: [height, width], window: 7 });
  for (const normalizer of weighings) {
    const { output } = attentionSync(tensors.q, tensors.k, tensors.v, { normalizer, mask });
    const allowed = (i: number, j: number) =>
      near(Math.floor(i / width), Math.floor(j / width), height) && near(i % width, j % width, width);
    t.deepEqual(wrongIn(tensors, output, normalizer, allowed), []);
  }
});

test('pages have the bits of each sequence alone; a shared prefix has them nearly', (t) => {
  const [lengths, queries] = [
    [300, 150, 40, 9],
    [1, 1, 2, 20],
  ];
  for (const shared of [0, 6]) {
    const form = { headsQ: 4, headsKv: 2, dim: 32, dimV: 32, pageSize: 3, dtype: 'float32', layout: 'bhsd' } as const;
    const batch = makeBatch(new Random(shared), { ...form, lengths, queries, shared });
    for (const normalizer of weighings) {
      const { output } = attentionSync(joinQueries(batch, false), batch.key, batch.value, {
        normalizer,
        lengthsQ: queries,
        pages: { table: batch.table, lengths, ...(shared > 0 ? { sharedPrefix: shared } : {}) },
      });
      lengths.forEach((_, b) => {
        const expected = alone(batch, b, { normalizer });
        const off = (x: number, y: number) => Math.abs(x - y) / (1 + Math.abs(y));
        const worst = Math.max(...outputOf(batch, false, output, b).map((x, n) => off(x, expected[n]!)));
        t.true(worst <= (shared > 0 ? 1e-5 : 0), `${worst} of sequence ${b}, ${JSON.stringify(normalizer)}`);
      });
    }
  }
});

test('a cache has the bits of its tensors, whose keys are counted when some are gone', (t) => {
  const { k, v } = drawn(new Random(3), { heads: 2, queries: 1, keys: 70, dim: 16 });
  const q = normal(new Random(4), [1, 4, 1, 16]);
  for (const normalizer of weighings) {
    const cache = new KvCache({ heads: 2, dim: 16 });
    cache.append(k, v);
    const whole = attentionSync(q, k, v, { normalizer });
    t.deepEqual(bitsOf(cache.attendSync(q, { normalizer }).output), bitsOf(whole.output));
    const windowed = new KvCache({ heads: 2, dim: 16, window: 8 });
    windowed.append(k, v);
    const band = attentionSync(q, k, v, { normalizer, mask: slidingWindow(8, 0) }).output.toFloat32();
    windowed
      .attendSync(q, { normalizer })
      .output.toFloat32()
      .forEach((x, n) => {
        t.true(
          Math.abs(x - band[n]!) <= 1e-5 * (1 + Math.abs(band[n]!)),
          `${x}, ${band[n]} of ${JSON.stringify(normalizer)}`,
        );
      });
    cache.free();
    windowed.free();
  }
});

test('hidden keys and values may be anything, and empty rows are 0', (t) => {
  for (const [seed, topic] of (['masks', 'lengths', 'decode', 'long'] as Topic[]).entries()) {
    const random = new Random(seed);
    const sizes = { heads: 2, queries: topic === 'decode' ? 2 : 33, keys: topic === 'long' ? 1500 : 90, dim: 20 };
    const { q, k, v } = drawn(random, sizes);
    // Every third query sees nothing; the others see every second key, and one of 5 of the rest.
    const visible = Uint8Array.from({ length: sizes.queries * sizes.keys }, (_, n) => {
      const [row, column] = [Math.floor(n / sizes.keys), n % sizes.keys];
      return row % 3 === 1 ? 0 : column % 2 === 0 ? 1 : Number(row === 0 && column % 5 === 1);
    });
    const mask = Tensor.from(visible, [1, 1, sizes.queries, sizes.keys], { dtype: 'bool' });
    const spoiled = (tensor: Tensor) => {
      const data = (tensor.data as Float32Array).slice();
      data.forEach((_, n) => {
        if ((Math.floor(n / sizes.dim) % sizes.keys) % 2 === 1) data[n] = bad[n % 3]!;
      });
      return Tensor.from(data, tensor.shape);
    };
    for (const normalizer of weighings) {
      const clean = attentionSync(q, k, v, { normalizer, mask }).output.toFloat32();
      const poisoned = attentionSync(q, spoiled(k), spoiled(v), { normalizer, mask }).output.toFloat32();
      clean.forEach((x, n) => {
        const row = Math.floor(n / sizes.dim) % sizes.queries;
        if (row % 3 === 1) t.is(poisoned[n], 0);
        else if (row !== 0) t.is(poisoned[n], x, JSON.stringify(normalizer));
      });
      const dim = sizes.dim;
      t.true(
        poisoned.subarray(0, dim).some((x) => !Number.isFinite(x)),
        'the first row sees poison',
      );
    }
  }
});

test('a NaN among its scores spoils a row, an infinite one saturates it', (t) => {
  const row = (...data: number[]) => Tensor.from(Float32Array.from(data), [1, 1, data.length, 1]);
  const outputOfScores = (a: number, b: number, normalizer: Normalizer) =>
    attentionSync(row(1), row(a, b), row(1, 10), { normalizer }).output.data[0] as number;
  for (const normalizer of weighings) t.is(outputOfScores(NaN, 1, normalizer), NaN);
  t.is(outputOfScores(Infinity, -Infinity, 'sigmoid'), 1);
  t.is(outputOfScores(1e30, -1e30, 'sigmoid'), 1);
  t.is(outputOfScores(-200, 200, 'sigmoid'), 10);
  t.is(outputOfScores(-1, -Infinity, { kind: 'relu' }), 0);
  t.true(Math.abs(outputOfScores(-1, 2, { kind: 'squared-relu', divide: 8 }) - 5) < 1e-5);
});

const partially = weighings.filter((one) => !JSON.stringify(one).includes('keys'));

test('partials of parts of the keys add up to the whole', async (t) => {
  for (const [seed, sizes] of [
    { heads: 2, queries: 37, keys: 301, dim: 24 },
    { heads: 1, queries: 1, keys: 2500, dim: 64 },
    { heads: 3, queries: 70, keys: 3, dim: 5 },
  ].entries()) {
    const random = new Random(seed);
    const tensors = drawn(random, sizes);
    for (const normalizer of partially) {
      const inner = Array.from({ length: random.integer(0, 6) }, () => random.integer(0, sizes.keys));
      const ends = [...inner, sizes.keys].sort((a, b) => a - b); // empty parts among them
      const parts = ends.map((end, n) => {
        const begin = ends[n - 1] ?? 0;
        const [k, v] = [tensors.k, tensors.v].map((tensor) => tensor.narrow(2, begin, end - begin));
        return attentionSync(tensors.q, k!, v!, { normalizer, partial: true }) as SumPartial;
      });
      t.deepEqual(Object.keys(parts[0]!), ['kind', 'o']);
      const merged = mergePartialsSync(parts);
      t.deepEqual(Object.keys(merged), ['output']);
      t.deepEqual(
        wrongIn(tensors, merged.output, normalizer, () => true),
        [],
        JSON.stringify(normalizer),
      );
      t.deepEqual(bitsOf((await mergePartials(parts)).output), bitsOf(merged.output));
      const whole = attentionSync(tensors.q, tensors.k, tensors.v, { normalizer });
      const single = attentionSync(tensors.q, tensors.k, tensors.v, { normalizer, partial: true }) as SumPartial;
      t.deepEqual(bitsOf(single.o), bitsOf(whole.output));
      t.deepEqual(bitsOf(mergePartialsSync([single]).output), bitsOf(whole.output));
    }
  }
});

test('partials are head-first float32 of every layout and type; NaN stays in its own row', (t) => {
  const random = new Random(6);
  const [q, k, v] = [normal(random, [2, 5, 4, 8]), normal(random, [2, 9, 2, 8]), normal(random, [2, 9, 2, 8])];
  const normalizer = { kind: 'squared-relu', divide: 9 } as const;
  const options = { normalizer, layout: 'bshd', lengthsQ: [5, 3], lengthsKv: [9, 0] } as const;
  const [whole, part] = [attentionSync(q, k, v, options), attentionSync(q, k, v, { ...options, partial: true })];
  t.deepEqual([part.kind, part.o.shape, part.o.dtype], ['squared-relu', [2, 4, 5, 8], 'float32']);
  t.deepEqual(bitsOf(mergePartialsSync([part], { layout: 'bshd' }).output), bitsOf(whole.output));
  const half = attentionSync(q, k, Tensor.from(new Uint16Array(2 * 9 * 2 * 8), v.shape, { dtype: 'bfloat16' }), {
    ...options,
    partial: true,
  });
  t.is(half.o.dtype, 'float32');
  const ragged = attentionSync(q.reshape([10, 4, 8]), k.reshape([18, 2, 8]), v.reshape([18, 2, 8]), {
    normalizer: 'sigmoid',
    cuSeqlensQ: [0, 4, 10],
    cuSeqlensKv: [0, 9, 18],
    partial: true,
  });
  t.deepEqual(ragged.o.shape, [4, 10, 8]);
  t.deepEqual(mergePartialsSync([ragged, ragged]).output.shape, [10, 4, 8]);
  const out = Tensor.from(new Float32Array(320), [2, 4, 5, 8]);
  t.is(attentionSync(q, k, v, { ...options, partial: true, out: { o: out } }).o, out);
  refuses(t, () => attentionSync(q, k, v, { ...options, partial: true, out: { m: out } }), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: 'options.out.m',
  });
  const spoiled = part.o.toFloat32();
  spoiled[8 * 7 + 1] = NaN;
  const merged = mergePartialsSync([part, { kind: part.kind, o: Tensor.from(spoiled, part.o.shape) }]).output;
  merged.toFloat32().forEach((x, n) => t.is(Number.isNaN(x), n === 8 * 7 + 1));
  for (const kind of ['sigmoid', 'relu'] as const) {
    const byKeys = kind === 'sigmoid' ? { kind, shift: 'keys' as const } : { kind, divide: 'keys' as const };
    refuses(t, () => attentionSync(q, k, v, { layout: 'bshd', normalizer: byKeys, partial: true }), {
      code: 'ERR_UNSUPPORTED',
      argument: 'options.normalizer',
    });
  }
});

test('names stand for kinds, and what has no meaning is refused', (t) => {
  const { q, k, v } = drawn(new Random(5), { heads: 1, queries: 3, keys: 5, dim: 4 });
  const call = (options: object) => attentionSync(q, k, v, options as AttentionOptions);
  for (const kind of ['softmax', 'sigmoid', 'relu', 'squared-relu']) {
    t.deepEqual(bitsOf(call({ normalizer: kind }).output), bitsOf(call({ normalizer: { kind } }).output));
  }
  t.notDeepEqual(bitsOf(call({ normalizer: 'relu' }).output), bitsOf(call({}).output));
  for (const kind of ['sigmoid', 'relu', 'squared-relu']) {
    for (const [name, value] of Object.entries({ sinks: [1], lse: true, entropy: true, rowMax: true })) {
      refuses(t, () => call({ normalizer: kind, [name]: value }), {
        code: 'ERR_UNSUPPORTED',
        argument: `options.${name}`,
      });
    }
  }
  const argument = 'options.normalizer';
  const wrong = (normalizer: unknown, code: ErrorCode, where = '') =>
    refuses(t, () => call({ normalizer }), { code, argument: `${argument}${where}` });
  for (const value of [1, null, [], true]) wrong(value, 'ERR_INVALID_ARG_TYPE');
  wrong('softmin', 'ERR_INVALID_ARG_VALUE');
  wrong({ kind: 'softmin' }, 'ERR_INVALID_ARG_VALUE', '.kind');
  wrong({}, 'ERR_INVALID_ARG_TYPE', '.kind');
  wrong({ kind: 'relu', shift: 1 }, 'ERR_INVALID_ARG_VALUE', '.shift');
  wrong({ kind: 'softmax', shift: 1 }, 'ERR_INVALID_ARG_VALUE', '.shift');
  wrong({ kind: 'sigmoid', divide: 1 }, 'ERR_INVALID_ARG_VALUE', '.divide');
  wrong({ kind: 'sigmoid', shift: 'key' }, 'ERR_INVALID_ARG_TYPE', '.shift');
  wrong({ kind: 'sigmoid', shift: NaN }, 'ERR_OUT_OF_RANGE', '.shift');
  wrong({ kind: 'sigmoid', shift: 1e39 }, 'ERR_OUT_OF_RANGE', '.shift');
  for (const divide of [0, -1, NaN, Infinity, 1e-40]) wrong({ kind: 'relu', divide }, 'ERR_OUT_OF_RANGE', '.divide');
  wrong({ kind: 'relu', divide: '2' }, 'ERR_INVALID_ARG_TYPE', '.divide');
  wrong({ kind: 'relu', div: 2 }, 'ERR_UNKNOWN_OPTION', '.div');
});
