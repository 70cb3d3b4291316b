// The life of a cache: refusals that change nothing, calls in flight, aborts, freeing, memory, and random sequences of
// operations against the model.

import { array as arrayOf, assert, constantFrom, integer, nat, oneof, property, record } from 'fast-check';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { KvCache, Tensor, attentionSync, causal } from '../lib/index.js';
import type { KvCacheOptions } from '../lib/index.js';
import { refuses, rejects, revoked, throwing } from './helpers/errors.js';
import type { Refusal } from './helpers/errors.js';
import { child, native, random, stages, until, untilParked, whileParking } from './helpers/in-flight.js';
import { CacheModel, randomBlock, tensorOf, valuesOf, worstError } from './reference/cached.js';
import type { Block } from './reference/cached.js';
import { Random } from './reference/random.js';

const plain = { heads: 2, dim: 16 } as const;
const inUse = { code: 'ERR_BUFFER_IN_USE', argument: 'cache' } as const;
const disposed = { code: 'ERR_DISPOSED', argument: 'cache' } as const;

const rows = (count: number, seed = count, heads = 2): Tensor => random([1, heads, count, 16], seed);

/** A cache with some tokens in it. */
function started(count = 100, options: KvCacheOptions = plain): KvCache {
  const cache = new KvCache(options);
  cache.append(rows(count, 1), rows(count, 2));
  return cache;
}

/** Whether the cache holds just the tokens of `started`, by what a query sees of it. */
function unchanged(t: ExecutionContext, cache: KvCache, count = 100): void {
  t.is(cache.length, count);
  const q = rows(3, 9);
  const expected = attentionSync(q, rows(count, 1), rows(count, 2), { mask: causal() }).output;
  t.deepEqual(cache.attendSync(q).output.data, expected.data);
}

const constructions: readonly (readonly [unknown, Refusal])[] = [
  [undefined, { code: 'ERR_INVALID_ARG_TYPE', argument: 'options' }],
  [{ dim: 16 }, { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.heads' }],
  [
    { ...plain, heads: 0 },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.heads' },
  ],
  [
    { ...plain, dim: 1025 },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.dim' },
  ],
  [
    { ...plain, dimV: 1.5 },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.dimV' },
  ],
  [
    { ...plain, batch: -1 },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.batch' },
  ],
  [
    { ...plain, dtype: 'bool' },
    { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.dtype' },
  ],
  [
    { ...plain, layout: 'bdhs' },
    { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.layout' },
  ],
  [
    { ...plain, window: -1 },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.window' },
  ],
  [
    { ...plain, pinned: 4 },
    { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.pinned' },
  ],
  [
    { ...plain, sinks: 4 },
    { code: 'ERR_UNKNOWN_OPTION', argument: 'options.sinks' },
  ],
  [
    { ...plain, values: 'latent', dimV: 17 },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.dimV' },
  ],
  [
    { ...plain, rope: {} },
    { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.rope.pairing' },
  ],
  [
    { ...plain, rope: { pairing: 'neox' } },
    { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.rope.pairing' },
  ],
  [
    { ...plain, rope: { pairing: 'halves', dim: 7 } },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.rope.dim' },
  ],
  [
    { ...plain, rope: { pairing: 'halves', dim: 18 } },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.rope.dim' },
  ],
  [
    { ...plain, rope: { pairing: 'halves', offset: 10, dim: 8 } },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.rope.dim' },
  ],
  [
    { ...plain, rope: { pairing: 'halves', base: 0 } },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.rope.base' },
  ],
  [
    { ...plain, rope: { pairing: 'halves', frequencies: [1] } },
    { code: 'ERR_SHAPE_MISMATCH', argument: 'options.rope.frequencies' },
  ],
  [
    { ...plain, rope: { pairing: 'halves', dim: 2, frequencies: [NaN] } },
    { code: 'ERR_OUT_OF_RANGE', argument: 'options.rope.frequencies[0]' },
  ],
  [
    { ...plain, rope: { pairing: 'halves', dim: null } },
    { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.rope.dim' },
  ],
  [
    { ...plain, rope: { pairing: 'halves', dim: 2, frequencies: throwing() } },
    { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.rope.frequencies[0]' },
  ],
  [
    { ...plain, rope: { pairing: 'halves', dim: 2, frequencies: new Array(1) } },
    { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.rope.frequencies[0]' },
  ],
  [revoked({}), { code: 'ERR_INVALID_ARG_VALUE', argument: 'options' }],
  [
    { heads: 2 ** 20, dim: 1024, batch: 2 ** 20 },
    { code: 'ERR_OUT_OF_MEMORY', argument: 'options' },
  ],
];

test('options that make no sense are refused', (t) => {
  for (const [options, refusal] of constructions) refuses(t, () => new KvCache(options as never), refusal);
});

test('refused calls leave the cache as it was', async (t) => {
  const cache = started();
  const [k, v, q] = [rows(2), rows(2), rows(1)];
  const turning = started(100, { ...plain, rope: { pairing: 'halves' } });
  const windowed = new KvCache({ ...plain, window: 10 });
  windowed.append(rows(2000), rows(2000));
  windowed.append(k, v);
  const latent = new KvCache({ ...plain, dimV: 8, values: 'latent' });
  const all = Tensor.from(new Uint8Array(2002).fill(1), [1, 2002], { dtype: 'bool' });
  const endless = Tensor.from(new Float32Array(16), [1, 2, 2 ** 31 - 1, 16], { strides: [0, 0, 0, 1] });
  const endlessCache = started();
  const cases: readonly (readonly [KvCache, unknown, object, Refusal])[] = [
    [cache, q, { k: rows(2, 1, 3), v }, { code: 'ERR_SHAPE_MISMATCH', argument: 'key' }],
    [cache, q, { k, v: rows(3) }, { code: 'ERR_SHAPE_MISMATCH', argument: 'value' }],
    [cache, q, { k }, { code: 'ERR_INVALID_ARG_TYPE', argument: 'value' }],
    [cache, q, { v }, { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.v' }],
    [cache, random([1, 3, 1, 16]), { k, v }, { code: 'ERR_SHAPE_MISMATCH', argument: 'query' }],
    [cache, random([2, 2, 1, 16]), { k, v }, { code: 'ERR_SHAPE_MISMATCH', argument: 'query' }],
    [cache, q, { k, v, align: 'top-left' }, { code: 'ERR_UNKNOWN_OPTION', argument: 'options.align' }],
    [cache, q, { k, v, positions: [1, 2] }, { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.positions' }],
    [turning, q, { k, v, positions: [1] }, { code: 'ERR_SHAPE_MISMATCH', argument: 'options.positions' }],
    [turning, q, { k, v, positions: [1, 2 ** 31] }, { code: 'ERR_OUT_OF_RANGE', argument: 'options.positions[1]' }],
    [turning, q, { k, v, positions: '12' }, { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.positions' }],
    [turning, q, { k, v, positions: throwing(2) }, { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.positions[0]' }],
    [turning, q, { k, v, positions: new Array(2) }, { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.positions[0]' }],
    [turning, rows(3), { k, v, positions: [1, 2] }, { code: 'ERR_SHAPE_MISMATCH', argument: 'query' }],
    [windowed, rows(1999), {}, { code: 'ERR_OUT_OF_RANGE', argument: 'query' }],
    [windowed, q, { mask: all }, { code: 'ERR_UNSUPPORTED', argument: 'options.mask' }],
    [windowed, q, { bias: random([1]) }, { code: 'ERR_UNSUPPORTED', argument: 'options.bias' }],
    [latent, q, { k, v }, { code: 'ERR_INVALID_ARG_VALUE', argument: 'value' }],
    [cache, q, { k, v, out: k.narrow(2, 0, 1) }, { code: 'ERR_ALIASING', argument: 'options.out.output' }],
    [cache, q, { k, v, scale: NaN }, { code: 'ERR_OUT_OF_RANGE', argument: 'options.scale' }],
    [endlessCache, q, { k: endless, v: endless }, { code: 'ERR_OUT_OF_MEMORY', argument: 'key' }],
  ];
  for (const [one, query, options, refusal] of cases) {
    const before = one.length;
    refuses(t, () => one.attendSync(query as Tensor, options), refusal);
    await rejects(t, () => one.attend(query as Tensor, options), refusal);
    t.is(one.length, before);
  }
  refuses(t, () => cache.append(k, rows(5)), { code: 'ERR_SHAPE_MISMATCH', argument: 'value' });
  refuses(t, () => cache.append(k, v, { scale: 1 } as never), {
    code: 'ERR_UNKNOWN_OPTION',
    argument: 'options.scale',
  });
  refuses(t, () => cache.truncate(101), { code: 'ERR_OUT_OF_RANGE', argument: 'length' });
  refuses(t, () => windowed.truncate(1500), { code: 'ERR_OUT_OF_RANGE', argument: 'length' });
  unchanged(t, cache);
  unchanged(t, endlessCache);
  cache.append(k, v);
  t.is(cache.length, 102);
});

for (const stage of stages) {
  test.serial(`while a call that appends is ${stage}, nothing else touches the cache`, async (t) => {
    const cache = started();
    const [q, k, v] = [rows(1), rows(2), rows(2)];
    const call = await whileParking(stage, async () => {
      const promise = cache.attend(q, { k, v });
      await untilParked(1);
      t.is(cache.length, 100);
      refuses(t, () => cache.append(k, v), inUse);
      refuses(t, () => cache.attendSync(q), inUse);
      refuses(t, () => cache.fork(), inUse);
      refuses(t, () => cache.truncate(3), inUse);
      await rejects(t, () => cache.attend(q, { k, v }), inUse);
      return { promise };
    });
    await call.promise;
    t.is(cache.length, 102);
    t.notThrows(() => cache.append(k, v));
  });

  test.serial(`while a call that only reads is ${stage}, others may read`, async (t) => {
    const cache = started();
    const q = rows(1);
    const call = await whileParking(stage, async () => {
      const promise = cache.attend(q);
      await untilParked(1);
      const other = cache.fork();
      t.notThrows(() => other.append(rows(1), rows(1)));
      t.notThrows(() => cache.attendSync(q));
      refuses(t, () => cache.append(rows(1), rows(1)), inUse);
      refuses(t, () => cache.truncate(3), inUse);
      return { promise };
    });
    const { output } = await call.promise;
    t.deepEqual(output.data, cache.attendSync(q).output.data);
    unchanged(t, cache);
  });

  test.serial(`an abort of a call that is ${stage} takes back what it appended`, async (t) => {
    for (const count of [1, 28, 29, 300]) {
      const cache = started();
      const [q, k, v] = [rows(1), rows(count, 5), rows(count, 6)];
      await whileParking(stage, async () => {
        const controller = new AbortController();
        const call = cache.attend(q, { k, v, signal: controller.signal });
        await untilParked(1);
        controller.abort('enough');
        const error = (await t.throwsAsync(call)) as NodeJS.ErrnoException;
        t.is(error.code, 'ABORT_ERR');
        t.is(error.cause, 'enough');
      });
      unchanged(t, cache);
      t.notThrows(() => cache.attendSync(q, { k, v }));
      t.is(cache.length, 100 + count);
    }
  });

  test.serial(`a cache freed while a call is ${stage} keeps its pages until the call is done`, async (t) => {
    for (const count of [0, 3]) {
      const [q, k, v] = [rows(1), rows(count, 5), rows(count, 6)];
      const expected = started().attendSync(q, { k, v }).output;
      const cache = started();
      const call = await whileParking(stage, async () => {
        const promise = cache.attend(q, { k, v });
        await untilParked(1);
        cache.free();
        refuses(t, () => cache.length, disposed);
        return { promise };
      });
      t.deepEqual((await call.promise).output.data, expected.data);
      refuses(t, () => cache.append(k, v), disposed);
      await rejects(t, () => cache.attend(q), disposed);
    }
  });
}

test('an aborted signal rejects at once and appends nothing', async (t) => {
  const cache = started();
  const signal = AbortSignal.abort();
  await t.throwsAsync(cache.attend(rows(1), { k: rows(1), v: rows(1), signal }), { code: 'ABORT_ERR' });
  t.throws(() => cache.attendSync(rows(1), { k: rows(1), v: rows(1), signal }), { code: 'ABORT_ERR' });
  unchanged(t, cache);
});

test('a result that cannot be written back takes back what was appended', async (t) => {
  const cache = started();
  const Resizable = ArrayBuffer as unknown as new (bytes: number, options: { maxByteLength: number }) => ArrayBuffer;
  const memory = new Resizable(4 * 32, { maxByteLength: 4 * 32 }) as ArrayBuffer & { resize(bytes: number): void };
  const out = Tensor.from(new Float32Array(memory), [1, 2, 1, 16]);
  const call = cache.attend(rows(1), { k: rows(1), v: rows(1), out });
  memory.resize(4);
  await t.throwsAsync(call, { code: 'ERR_INVALID_ARG_VALUE' });
  unchanged(t, cache);
});

test('keys in memory that could go away are copied first', async (t) => {
  const Resizable = ArrayBuffer as unknown as new (bytes: number, options: { maxByteLength: number }) => ArrayBuffer;
  const [q, k, v] = [rows(1), rows(5), rows(5)];
  const memory = new Resizable(4 * 160, { maxByteLength: 4 * 160 }) as ArrayBuffer & { resize(bytes: number): void };
  const array = new Float32Array(memory);
  array.set(k.data as Float32Array);
  const call = started().attend(q, { k: Tensor.from(array, [1, 2, 5, 16]), v });
  memory.resize(4);
  t.deepEqual((await call).output.data, started().attendSync(q, { k, v }).output.data);
});

test('positions are read by index, whatever an iterator of theirs says', (t) => {
  const turning = (): KvCache => started(100, { ...plain, rope: { pairing: 'halves' } });
  const positions = Object.assign([7, 3], { *[Symbol.iterator]() {} }) as number[];
  const [k, v, q] = [rows(2), rows(2), rows(1)];
  const expected = turning().attendSync(q, { k, v, positions: [7, 3] }).output.data;
  t.deepEqual(turning().attendSync(q, { k, v, positions }).output.data, expected);
});

test('a getter that changes the cache which the call is about', async (t) => {
  const query = (change: () => void): Tensor =>
    ({
      dims: [1, 2, 1, 16],
      get data() {
        change();
        return new Float32Array(32);
      },
    }) as unknown as Tensor;
  const cache = started();
  const appends = query(() => cache.append(rows(1), rows(1)));
  refuses(t, () => cache.attendSync(appends), { ...inUse, received: /101/ });
  await rejects(t, () => cache.attend(appends), inUse);
  refuses(t, () => cache.append(appends, rows(1)), inUse);
  t.is(cache.length, 103);
  refuses(t, () => KvCache.attendGroupSync([cache], appends), { code: 'ERR_BUFFER_IN_USE', argument: 'caches[0]' });
  refuses(t, () => cache.attendSync(query(() => cache.truncate(2))), inUse);
  refuses(t, () => cache.attendSync(query(() => cache.free())), disposed);
});

test('methods that were taken off their cache, and classes that say another length', async (t) => {
  const cache = started();
  const { append, attend, attendSync, fork } = cache;
  const refusal = { code: 'ERR_INVALID_ARG_TYPE', argument: 'this' } as const;
  refuses(t, () => append(rows(1), rows(1)), refusal);
  refuses(t, () => attendSync(rows(1)), refusal);
  refuses(t, () => fork.call({} as KvCache), refusal);
  refuses(t, () => Object.create(cache).length, refusal);
  await rejects(t, () => attend(rows(1)), refusal);
  t.is(attend.name, 'attend');

  class Other extends KvCache {
    override get length(): number {
      return 5;
    }
  }
  const other = new Other(plain);
  other.append(rows(100, 1), rows(100, 2));
  t.is(other.fork().length, 100);
  t.deepEqual(other.attendSync(rows(3, 9)).output.data, started().attendSync(rows(3, 9)).output.data);
  other.truncate(7);
  t.is(String(other), 'KvCache(float32, 2 heads of 16, 7 tokens)');
});

test('a freed cache is disposed', async (t) => {
  const cache = started();
  const other = cache.fork();
  cache.free();
  cache.free();
  for (const use of [
    () => cache.length,
    () => cache.bytes,
    () => cache.fork(),
    () => cache.truncate(0),
    () => cache.append(rows(1), rows(1)),
    () => cache.attendSync(rows(1)),
  ]) {
    refuses(t, use, disposed);
  }
  await rejects(t, () => cache.attend(rows(1)), disposed);
  t.is(String(cache), 'KvCache(freed)');
  unchanged(t, other);
  t.is(String(other), 'KvCache(float32, 2 heads of 16, 100 tokens)');
  const { dispose } = Symbol as { dispose?: symbol };
  if (dispose) (other as unknown as Record<symbol, () => void>)[dispose]!();
  if (dispose) refuses(t, () => other.length, disposed);
});

test('forks count shared pages, windows bound memory', (t) => {
  const page = 128 * 2 * 2 * 16 * 4;
  const cache = started(128 * 100);
  t.is(cache.bytes, 100 * page);
  const forks = Array.from({ length: 20 }, () => cache.fork());
  for (const fork of forks) fork.append(rows(1), rows(1));
  t.is(forks[0]!.bytes, 101 * page);

  const windowed = new KvCache({ ...plain, window: 200, pinned: 4 });
  const [q, k, v] = [rows(1), rows(1), rows(1)];
  let most = 0;
  for (let step = 0; step < 3000; step += 1) {
    windowed.attendSync(q, { k, v });
    most = Math.max(most, windowed.bytes);
  }
  t.is(windowed.length, 3000);
  t.true(most <= 4 * page, `${most / page} pages`);
});

test('caches that grow step by step end where memory does, not the process', async (t) => {
  const { code, signal, stderr, stdout } = await child('cache-beyond-memory');
  t.is(signal, null, stderr);
  t.is(code, 0, stderr);
  const ending = JSON.parse(stdout) as { code: string; held: number };
  t.is(ending.code, 'ERR_OUT_OF_MEMORY');
  t.true(ending.held > 240 && ending.held <= 256, stdout);
});

test.serial('caches that nobody frees are collected, as their memory is known of', async (t) => {
  const { code, stderr, stdout } = await child('forgotten-caches');
  t.is(code, 0, stderr);
  const { resident, made } = JSON.parse(stdout) as { resident: number; made: number };
  t.true(resident < made / 4, stdout);
});

test.serial('a process and a worker end with caches in use', async (t) => {
  for (const how of ['exit', 'worker']) {
    const { code, signal, stderr, stdout } = await child('caches-in-use', [how]);
    t.is(code, how === 'exit' ? 5 : 0, `${signal} ${stderr}`);
    if (how === 'worker') t.regex(stdout, /ok/);
  }
});

test('the native functions refuse what is no cache', (t) => {
  const numbers = Float64Array.of(1, 1, 1, 4, 4, 0, 0, -1, 0, 2 ** 30, 0, 0);
  const cache = native.cache(numbers);
  const other = native.cache(numbers);
  const wide = native.cache(Float64Array.from(numbers, (x, n) => (n === 3 ? 5 : x)));
  t.is(native.cacheLength(cache), 0);
  for (const call of [
    () => native.cacheLength({} as never),
    () => native.forkCache(undefined as never),
    () => native.truncateCache(cache, NaN),
    () => native.cache(Float64Array.of(1, 2, 3)),
    () => native.cache(Float64Array.from(numbers, (x, n) => (n === 3 ? 0 : x))),
    () => native.cache(Float64Array.from(numbers, (x, n) => (n === 8 ? 1 : x))),
    () => native.cache(Float64Array.of(...numbers.subarray(0, 11), 3, 1, 1, 1)),
    () => native.runCacheSync(cache, null, null, 0, 1, {} as never, []),
    () => native.runCacheSync(cache, null, null, 0, 1, numbers, []),
    () => native.runCacheSync(cache, null, new Float32Array(1) as never, -1, 1, numbers, []),
    () => native.runCacheSync([], null, null, 0, 1, numbers, []),
    () => native.runCacheSync([cache, {} as never], null, null, 0, 1, numbers, []),
    () => native.runCacheSync([cache, cache], null, null, 0, 1, numbers, []),
    () => native.runCacheSync([cache, wide], null, null, 0, 0, numbers, []),
    () => native.runCacheSync([cache, other], Int32Array.of(0), null, 0, 0, numbers, []),
    () => native.runCacheSync([cache, other], Int32Array.of(0, 1, 5), null, 0, 0, numbers, []),
    () => native.runCacheSync([cache, other], Int32Array.of(0, 0, -5), null, 0, 0, numbers, []),
    () => native.runCacheSync([cache, other], Int32Array.of(0, 0, 5), null, 0, 0, numbers, []),
  ]) {
    const error = t.throws(call) as NodeJS.ErrnoException;
    t.regex(String(error.code), /^ERR_/);
    t.not(error.code, 'ERR_INTERNAL');
  }
  t.is(native.cacheLength(cache), 0);
});

// --- random sequences ----------------------------------------------------------------------------------------------------

const shapes = record({
  heads: integer({ min: 1, max: 2 }),
  group: integer({ min: 1, max: 3 }),
  dim: constantFrom(4, 10),
  dtype: constantFrom('float32', 'float16', 'bfloat16'),
  batch: integer({ min: 1, max: 2 }),
  window: constantFrom(undefined, 0, 5, 100, 150),
  pinned: constantFrom(0, 3, 130),
  rope: constantFrom(undefined, { pairing: 'halves' }, { pairing: 'interleaved', dim: 2, offset: 2 }),
});

const operations = arrayOf(
  record({
    what: constantFrom('attend', 'attend', 'attend', 'append', 'read', 'fork', 'truncate', 'free', 'refused'),
    who: nat(3),
    rows: oneof(integer({ min: 0, max: 3 }), integer({ min: 100, max: 260 })),
    seed: nat(),
  }),
  { maxLength: 14 },
);

test('random sequences of operations equal the model', (t) => {
  assert(
    property(shapes, operations, ({ group, window, pinned, ...shape }, list) => {
      const options = { ...shape, window, pinned: window === undefined ? 0 : pinned } as KvCacheOptions;
      const { heads, dim, batch = 1, dtype = 'float32' } = options;
      const family = [{ cache: new KvCache(options), model: new CacheModel(options) }];
      for (const { what, who, rows: count, seed } of list) {
        const at = who % family.length;
        const { cache, model } = family[at]!;
        const source = new Random(seed);
        const block = (number: number, n = count): Block => randomBlock(source, [batch, number, n, dim], dtype);
        if (what === 'fork' && family.length < 4) family.push({ cache: cache.fork(), model: model.fork() });
        if (what === 'free' && family.length > 1) {
          cache.free();
          family.splice(at, 1);
        }
        if (what === 'truncate') {
          // Windows allow less: at least one step back.
          const length = window === undefined ? seed % (model.length + 1) : Math.max(0, model.length - 1);
          cache.truncate(length);
          model.truncate(length);
        }
        if (what === 'refused') {
          const wrong = tensorOf(block(heads + 1, 1), dtype);
          t.throws(() => cache.append(wrong, wrong), { code: 'ERR_SHAPE_MISMATCH' });
        }
        if (what === 'append' || what === 'attend') {
          const [q, k, v] = [randomBlock(source, [batch, heads * group, count, dim]), block(heads), block(heads)];
          model.append(k, v);
          if (what === 'append') {
            cache.append(tensorOf(k, dtype), tensorOf(v, dtype));
          } else {
            const { output } = cache.attendSync(tensorOf(q), { k: tensorOf(k, dtype), v: tensorOf(v, dtype) });
            if (!(worstError(model, options, q, valuesOf(output)) <= 1)) return false;
          }
        }
        if (what === 'read') {
          const q = randomBlock(source, [batch, heads * group, 1, dim]);
          if (!(worstError(model, options, q, valuesOf(cache.attendSync(tensorOf(q)).output)) <= 1)) return false;
        }
        if (family.some((one) => one.cache.length !== one.model.length)) return false;
      }
      return true;
    }),
    { numRuns: 150, seed: 11 },
  );
  t.pass();
});

test.after.always(async () => until(() => native.parked() === 0, 'no call stands parked'));
