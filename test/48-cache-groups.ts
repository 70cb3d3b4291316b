// Caches attended to together: what each would have got by itself, whether they share a prefix or not; and forks that go
// on apart afterwards.

import test from 'ava';
import type { ExecutionContext } from 'ava';
import { KvCache, Tensor, alibi, mask } from '../lib/index.js';
import type { AttendGroupOptions, KvCacheOptions } from '../lib/index.js';
import { refuses, rejects, throwing } from './helpers/errors.js';
import type { Refusal } from './helpers/errors.js';
import { stages, untilParked, whileParking } from './helpers/in-flight.js';
import { randomBlock, tensorOf, valuesOf } from './reference/cached.js';
import type { Block } from './reference/cached.js';
import { Random } from './reference/random.js';

const cases = process.env['LONG_GRID'] ? 1000 : 24;
const page = 128;

interface Given extends KvCacheOptions {
  headsQ: number;
}

const rowsOf = (random: Random, given: Given, sequences: number, rows: number) => {
  const { heads, headsQ, dim, dimV = dim, dtype, layout, values } = given;
  const block = (count: number, width: number): Block => randomBlock(random, [sequences, count, rows, width], dtype);
  return {
    q: block(headsQ, dim),
    k: block(heads, dim),
    v: values === 'latent' ? undefined : block(heads, dimV),
    dtype,
    layout,
  };
};
type Rows = ReturnType<typeof rowsOf>;

const sequenceOf = ({ shape: [, heads, rows, dim], data }: Block, b: number): Block => {
  const size = heads * rows * dim;
  return { shape: [1, heads, rows, dim], data: data.slice(b * size, (b + 1) * size) };
};

function step(rows: Rows, b?: number): { q: Tensor; k: Tensor; v?: Tensor | undefined } {
  const tensor = (block: Block): Tensor =>
    tensorOf(b === undefined ? block : sequenceOf(block, b), rows.dtype, rows.layout);
  return { q: tensor(rows.q), k: tensor(rows.k), v: rows.v && tensor(rows.v) };
}

function append(cache: KvCache, random: Random, given: Given, count: number): void {
  const { k, v } = step(rowsOf(random, given, 1, count));
  cache.append(k, v);
}

function randomForm(random: Random): Given {
  const heads = random.integer(1, 3);
  const dim = [4, 24, 64][random.integer(0, 2)]!;
  const latent = random.chance(0.15);
  return {
    heads,
    headsQ: heads * random.integer(1, 4),
    dim,
    dimV: latent ? dim - 1 : [3, 40, 64][random.integer(0, 2)]!,
    dtype: (['float32', 'float32', 'float16', 'bfloat16'] as const)[random.integer(0, 3)]!,
    layout: random.chance(0.5) ? 'bhsd' : 'bshd',
    rope: random.chance(0.4) ? { pairing: 'halves', dim: 2 } : undefined,
    values: latent ? 'latent' : 'separate',
  };
}

/** Forks of one cache, each with tokens of its own behind those in common. */
function family(random: Random, given: Given, common: number, count: number): { root: KvCache; forks: KvCache[] } {
  const { headsQ: _, ...options } = given;
  const root = new KvCache(options);
  append(root, random, given, common);
  const forks = Array.from({ length: count }, () => root.fork());
  for (const fork of forks) if (random.chance(0.7)) append(fork, random, given, random.integer(1, 40));
  return { root, forks };
}

function close(
  t: ExecutionContext,
  actual: Tensor,
  expected: readonly Tensor[],
  layout: KvCacheOptions['layout'],
): void {
  const all = valuesOf(actual, layout);
  const parts = expected.flatMap((tensor) => Array.from(valuesOf(tensor, layout)));
  t.is(all.length, parts.length);
  t.true(all.every((x, i) => Math.abs(x - parts[i]!) <= 2e-5 * (1 + Math.abs(x))));
}

/** Of tensors whose sequences stand one after the other. */
function sameBits(tensor: Tensor, ...parts: readonly Tensor[]): boolean {
  const expected = parts.flatMap((part) => Array.from(part.toFloat32()));
  return tensor.toFloat32().every((x, i) => Object.is(x, expected[i]));
}

test('random families: what each cache gets by itself, and goes on with', (t) => {
  const random = new Random(48);
  for (let n = 0; n < cases; n += 1) {
    const given = randomForm(random);
    const common = [0, 5, page, page + 30, 2 * page, 3 * page + 77][random.integer(0, 5)]!;
    const { root, forks } = family(random, given, common, random.integer(1, 7));
    const stranger = family(random, given, 0, 0).root;
    append(stranger, random, given, random.integer(1, 200));
    const caches = [...forks.slice(1), stranger, forks[0]!];
    const twins = caches.map((cache) => cache.fork());
    const rows = rowsOf(random, given, caches.length, random.chance(0.6) ? 1 : random.integer(1, 20));
    const options: AttendGroupOptions<true> = {
      lse: true,
      outputDtype: 'float32',
      threads: random.integer(1, 2),
      ...(random.chance(0.3) ? { sinks: Array.from(random.normals(given.headsQ)) } : {}),
      ...(random.chance(0.2) ? { mask: mask('(i, j) => j % 3 !== 1 || j < 300') } : {}),
    };
    const members = [...forks.keys()].map((b) => (b === forks.length - 1 ? b + 1 : b));
    const half = Math.ceil(members.length / 2);
    const prefixes = random.chance(0.5)
      ? [{ sequences: members, tokens: common }]
      : [
          { sequences: members.slice(0, half), tokens: common },
          { sequences: members.slice(half), tokens: random.integer(0, common) },
        ];
    const { q, k, v } = step(rows);
    const { output, lse } = KvCache.attendGroupSync(caches, q, { ...options, k, v, prefixes });
    const alone = twins.map((twin, b) => {
      const { q: query, ...added } = step(rows, b);
      return twin.attendSync(query, { ...options, ...added });
    });
    close(
      t,
      output,
      alone.map((result) => result.output),
      given.layout,
    );
    const lses = alone.flatMap((result) => Array.from(result.lse.toFloat32()));
    t.true(lse.toFloat32().every((x, i) => x === lses[i] || Math.abs(x - lses[i]!) <= 2e-6 * (8 + Math.abs(x))));
    // Every cache holds what its twin holds, and what they came from is as it was.
    caches.forEach((cache, b) => {
      t.is(cache.length, twins[b]!.length);
      const { q: query, ...added } = step(rowsOf(random, given, 1, 2));
      const after = [cache, twins[b]!].map((one) => one.attendSync(query, added).output);
      t.true(sameBits(after[0]!, after[1]!), `case ${n}, cache ${b}`);
    });
    t.is(root.length, common);
    for (const cache of [root, ...caches, ...twins]) cache.free();
  }
});

const plain: Given = { heads: 2, headsQ: 4, dim: 32 };

test('without a prefix the bits are those of caches one by one; with one it is read apart', (t) => {
  const random = new Random(1);
  const { forks } = family(random, plain, 2 * page + 40, 5);
  const { q } = step(rowsOf(random, plain, 5, 1));
  const together = KvCache.attendGroupSync(forks, q).output;
  const alone = forks.map((fork, b) => fork.attendSync(q.narrow(0, b, 1)).output);
  t.true(sameBits(together, ...alone));
  const shared = KvCache.attendGroupSync(forks, q, { sharedPrefix: 2 * page + 40 }).output;
  t.false(sameBits(shared, together));
  close(t, shared, alone, 'bhsd');
  // What stands in the way of reading it once.
  for (const more of [{ score: alibi(4) }, { entropy: true }, { mask: mask('(i, j) => j !== 5') }]) {
    const apart = KvCache.attendGroupSync(forks, q, { ...more, sharedPrefix: 2 * page + 40 }).output;
    t.true(sameBits(apart, KvCache.attendGroupSync(forks, q, more).output));
  }
  t.false(sameBits(KvCache.attendGroupSync(forks, q, { sharedPrefix: page }).output, together));
  t.true(sameBits(KvCache.attendGroupSync(forks, q, { sharedPrefix: page - 1 }).output, together));
});

const inUse = { code: 'ERR_BUFFER_IN_USE', argument: 'caches[1]' } as const;

test('caches that do not go together are refused, and none has changed', async (t) => {
  const random = new Random(2);
  const { root, forks } = family(random, plain, 2 * page, 3);
  const [a, b, c] = forks as [KvCache, KvCache, KvCache];
  const { q, k, v } = step(rowsOf(random, plain, 2, 1));
  // What it has in common with the others ends in the first page, whatever its tokens are.
  const early = root.fork();
  early.truncate(page - 1);
  append(early, random, plain, page + 1);
  const made = (more: Partial<KvCacheOptions>): KvCache => new KvCache({ heads: 2, dim: 32, ...more });
  const freed = made({});
  freed.free();
  const caches = [a, b];
  const endless: KvCache[] = [a];
  endless.length = 2 ** 22;
  const refusals: readonly (readonly [unknown, object, Refusal])[] = [
    [a, {}, { code: 'ERR_INVALID_ARG_TYPE', argument: 'caches' }],
    [[], {}, { code: 'ERR_OUT_OF_RANGE', argument: 'caches' }],
    [[a, { length: 5 }], {}, { code: 'ERR_INVALID_ARG_TYPE', argument: 'caches[1]' }],
    [endless, {}, { code: 'ERR_INVALID_ARG_TYPE', argument: 'caches[1]' }],
    [throwing(2), {}, { code: 'ERR_INVALID_ARG_VALUE', argument: 'caches[0]' }],
    [[a, a], {}, { code: 'ERR_INVALID_ARG_VALUE', argument: 'caches[1]', received: /caches\[0\]/ }],
    [[a, freed], {}, { code: 'ERR_DISPOSED', argument: 'caches[1]' }],
    [[a, made({ window: 4 })], {}, { code: 'ERR_UNSUPPORTED', argument: 'caches[1]' }],
    [[made({ batch: 2 }), a], {}, { code: 'ERR_UNSUPPORTED', argument: 'caches[0]' }],
    [[a, made({ dtype: 'float16' })], {}, { code: 'ERR_INVALID_ARG_VALUE', argument: 'caches[1]' }],
    [[a, made({ layout: 'bshd' })], {}, { code: 'ERR_INVALID_ARG_VALUE', argument: 'caches[1]' }],
    [[a, made({ rope: { pairing: 'halves' } })], {}, { code: 'ERR_INVALID_ARG_VALUE', argument: 'caches[1]' }],
    [[a, b, c], {}, { code: 'ERR_SHAPE_MISMATCH', argument: 'query' }],
    [caches, { k: k.narrow(0, 0, 1) }, { code: 'ERR_SHAPE_MISMATCH', argument: 'key' }],
    [caches, { sharedPrefix: 5000 }, { code: 'ERR_OUT_OF_RANGE', argument: 'options.sharedPrefix' }],
    [caches, { sharedPrefix: 1, prefixes: [] }, { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.prefixes' }],
    [
      caches,
      { prefixes: [{ sequences: [0, 2], tokens: 5 }] },
      { code: 'ERR_OUT_OF_RANGE', argument: 'options.prefixes[0].sequences[1]' },
    ],
    [caches, { pages: {} }, { code: 'ERR_UNKNOWN_OPTION', argument: 'options.pages' }],
    [
      [a, early],
      { sharedPrefix: page },
      { code: 'ERR_INVALID_ARG_VALUE', argument: 'caches[1]', received: /from 0 on/ },
    ],
  ];
  for (const [given, options, refusal] of refusals) {
    refuses(t, () => KvCache.attendGroupSync(given as KvCache[], q, { k, v, ...options }), refusal);
    await rejects(t, () => KvCache.attendGroup(given as KvCache[], q, { k, v, ...options }), refusal);
  }
  // Less than a page may differ: nothing of it is read together.
  const lengths = caches.map((cache) => cache.length);
  t.notThrows(() => KvCache.attendGroupSync([a, early], q, { sharedPrefix: page - 1 }));
  t.deepEqual(
    caches.map((cache) => cache.length),
    lengths,
  );
  t.is(early.length, 2 * page);
});

for (const stage of stages) {
  test.serial(
    `while a group is ${stage}, its caches are in use; an abort takes back what all were given`,
    async (t) => {
      const random = new Random(3);
      const { forks } = family(random, plain, page + 9, 3);
      const lengths = forks.map((cache) => cache.length);
      const twins = forks.map((cache) => cache.fork());
      const { q, k, v } = step(rowsOf(random, plain, 3, 2));
      const single = step(rowsOf(random, plain, 2, 1));
      await whileParking(stage, async () => {
        const controller = new AbortController();
        const call = KvCache.attendGroup(forks, q, { k, v, sharedPrefix: page, signal: controller.signal });
        await untilParked(1);
        for (const cache of forks) {
          refuses(t, () => cache.attendSync(q.narrow(0, 0, 1)), { ...inUse, argument: 'cache' });
        }
        // The first one of the group, which was free, is free again.
        refuses(t, () => KvCache.attendGroupSync([twins[0]!, forks[1]!], single.q), inUse);
        t.notThrows(() => twins[0]!.fork());
        controller.abort();
        await t.throwsAsync(call, { code: 'ABORT_ERR' });
      });
      t.deepEqual(
        forks.map((cache) => cache.length),
        lengths,
      );
      const call = KvCache.attendGroup(forks, q, { k, v, sharedPrefix: page });
      const expected = KvCache.attendGroupSync(twins, q, { k, v, sharedPrefix: page });
      t.true(sameBits((await call).output, expected.output));
      t.deepEqual(
        forks.map((cache) => cache.length),
        lengths.map((length) => length + 2),
      );
    },
  );
}

test('one cache is a group, and positions are those of each', (t) => {
  const random = new Random(4);
  const given: Given = { ...plain, rope: { pairing: 'interleaved' } };
  const { forks } = family(random, given, 20, 3);
  const twins = forks.map((cache) => cache.fork());
  const rows = rowsOf(random, given, 3, 2);
  const { q, k, v } = step(rows);
  const positions = [7, 8, 90, 91, 3, 1000];
  const { output } = KvCache.attendGroupSync(forks, q, { k, v, positions });
  const alone = twins.map((twin, b) => {
    const { q: query, ...added } = step(rows, b);
    return twin.attendSync(query, { ...added, positions: positions.slice(2 * b, 2 * b + 2) }).output;
  });
  t.true(sameBits(output, ...alone));
  const last = step(rows, 1);
  const one = KvCache.attendGroupSync([forks[1]!], last.q, { k: last.k, v: last.v, sharedPrefix: 20 }).output;
  t.true(sameBits(one, twins[1]!.attendSync(last.q, { k: last.k, v: last.v }).output));
});
