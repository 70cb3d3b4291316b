// Arguments of every function that throw at any one of the moments at which they are looked at, or have another value in any
// one place: an error that says so, or none.

import test from 'ava';
import * as fa from '../lib/index.js';
import { KvCache, Tensor } from '../lib/index.js';

/** Looks that are let pass before one throws. */
let left = Infinity;

/** Throws when it is its turn. */
function look<Result>(at: () => Result): Result {
  if (left-- === 0) throw new Error('a trap');
  return at();
}

/** A plain value, every look at whose objects and arrays may throw. */
function trapped(value: unknown): never {
  const plain = Array.isArray(value) || (value !== null && Object.getPrototypeOf(value) === Object.prototype);
  if (!plain) return value as never;
  const inner = Array.isArray(value)
    ? value.map(trapped)
    : Object.fromEntries(Object.entries(value as object).map(([name, one]) => [name, trapped(one)]));
  return new Proxy(inner as object, {
    get: (...of) => (of[1] === 'removeEventListener' ? Reflect.get(...of) : look(() => Reflect.get(...of))),
    has: (...of) => look(() => Reflect.has(...of)),
    ownKeys: (...of) => look(() => Reflect.ownKeys(...of)),
    getPrototypeOf: (...of) => look(() => Reflect.getPrototypeOf(...of)),
    getOwnPropertyDescriptor: (...of) => look(() => Reflect.getOwnPropertyDescriptor(...of)),
  }) as never;
}

/** Places that are let be before one has another value. */
let places = Infinity;
let another: unknown;

/** A plain value, in which one place has another value. */
function changed(value: unknown): never {
  if (places-- === 0) return another as never;
  if (Array.isArray(value)) return value.map(changed) as never;
  if (value === null || Object.getPrototypeOf(value ?? 0) !== Object.prototype) return value as never;
  return Object.fromEntries(Object.entries(value as object).map(([name, one]) => [name, changed(one)])) as never;
}

const gone = new Int32Array(2);
structuredClone(gone.buffer, { transfer: [gone.buffer] });
const untrue = Object.defineProperties(new Int32Array(2), {
  length: { value: 7 },
  [Symbol.iterator]: { value: function* () {} },
});
const circular: { items: unknown[] } = { items: [] };
circular.items.push(circular);

const others: readonly unknown[] = [
  [undefined, null, NaN, -1, 0.5, 1e308, 2 ** 31, 2 ** 53, 10n, Symbol('x'), 'x', true, () => 1],
  [{}, [], [[]], new Array(2), new Array(2 ** 32 - 1), [1, 2], circular, Object.create(null), new Map()],
  [gone, untrue, new Float32Array(3), new BigInt64Array(2), new SharedArrayBuffer(8)],
  [fa.causal(), fa.alibi(2), Tensor, Tensor.prototype, Tensor.from(new Float32Array(4), [4])],
].flat();

const size = (shape: number[]): number => shape.reduce((product, n) => product * n, 1);
const like = (...dims: number[]): object => ({ data: new Float32Array(size(dims)), dims });
const bool = (...dims: number[]): object => ({ data: new Uint8Array(size(dims)), dims, type: 'bool' });
const tensor = (...dims: number[]): Tensor => Tensor.from(new Float32Array(size(dims)), dims);
const rows = (): object => like(1, 1, 8, 4);
const token = (batch = 1): object => like(batch, 1, 1, 4);
const signal = { aborted: false, addEventListener() {}, removeEventListener() {} };
const statistics = { mass: [[0, 2]], columns: [1, 2], topK: 1, blocks: { blockSize: [2, 2] }, columnSums: true };
const partial = (): object => ({ kind: 'softmax', o: like(1, 1, 8, 4), m: like(1, 1, 8), l: like(1, 1, 8) });
const pool = tensor(4, 1, 4, 4);
const blocks = fa.blockSparse([[0]], { blockSize: 4 });
const [alone] = fa.threadGroup(1) as [fa.Group];

const cache = new KvCache({ heads: 1, dim: 4, rope: { pairing: 'halves' } });
cache.append(tensor(1, 1, 3, 4), tensor(1, 1, 3, 4));
const other = cache.fork();

const calls: Record<string, (t: typeof trapped) => unknown> = {
  attention: (t) =>
    fa.attention(
      t(rows()),
      t(rows()),
      t(rows()),
      t({
        mask: [fa.causal(), bool(1, 1, 8, 8)],
        bias: like(8, 8),
        sinks: [1],
        lengthsQ: [8],
        lengthsKv: [8],
        out: { output: like(1, 1, 8, 4), lse: like(1, 1, 8) },
        lse: true,
        statistics,
        normalizer: { kind: 'softmax' },
        signal,
      }),
    ),
  ragged: (t) => {
    const x = (): never => t(like(8, 1, 4));
    return fa.attentionSync(x(), x(), x(), t({ cuSeqlensQ: [0, 4, 8], cuSeqlensKv: [0, 4, 8] }));
  },
  'pages, nested': (t) => {
    const prefixes = [{ sequences: [0], tokens: 2 }];
    return fa.attentionSync(t(token(2)), pool, pool, t({ pages: { table: [[1], [2, 3]], lengths: [4, 5], prefixes } }));
  },
  'pages, as a tensor': (t) => {
    const table = { data: new Int32Array(4), dims: [2, 2] };
    return fa.attentionSync(t(token(2)), pool, pool, t({ pages: { table, lengths: [4, 5], sharedPrefix: 2 } }));
  },
  explain: (t) => fa.explain(t(rows()), t(rows()), t(rows()), t({ mask: [fa.causal()] })),
  mergePartials: (t) =>
    fa.mergePartials(t([partial(), partial()]), t({ sinks: [1], out: { output: like(1, 1, 8, 4) }, signal })),
  'new KvCache': (t) => new KvCache(t({ heads: 1, dim: 4, rope: { pairing: 'halves', frequencies: [1, 2] } })),
  attend: (t) => cache.attend(t(token()), t({ k: like(1, 1, 1, 4), v: like(1, 1, 1, 4), positions: [5], signal })),
  append: (t) => cache.append(t(token()), t(token()), t({ positions: [5] })),
  attendGroup: (t) =>
    KvCache.attendGroup(t([cache, other]), t(token(2)), t({ prefixes: [{ sequences: [0, 1], tokens: 1 }] })),
  'Tensor.from': (t) =>
    Tensor.from(new Float32Array(8), t([2, 4]), t({ strides: [4, 1], offset: 0, dtype: 'float32' })),
  transpose: (t) => tensor(2, 3, 4).transpose(t([2, 0, 1])),
  reshape: (t) => tensor(2, 3, 4).reshape(t([6, 4])),
  mask: (t) =>
    fa.mask(
      '(i, j, { a, c, d, n }) => a(i) === c(j, 0) + d(i) + n',
      t({ a: [1, 2], c: [[1], [2]], d: { data: [1, 2], shape: [2] }, n: 1 }),
      t({ grid: [2, 2] }),
    ),
  'mask, of JSON': (t) =>
    fa.mask(t({ ...(fa.and(fa.documents([1, 2]), fa.not(fa.causal()), blocks).toJSON() as object) })),
  score: (t) => fa.score('(s, i, j, { a }) => s * a(i)', t({ a: [1, 2] }), t({ grid: [2] })),
  'score, of JSON': (t) => fa.score(t({ ...(fa.compose(fa.alibi([1]), fa.alibi([2])).toJSON() as object) })),
  with: (t) => fa.documents([1, 2]).with(t({ ids: [3, 4] })),
  'with, of a combination': (t) => fa.and(fa.documents([1, 2]), fa.causal()).with(t({ ids: [3, 4] })),
  documents: (t) =>
    fa.documents(
      t([
        [1, 2],
        [3, 4],
      ]),
    ),
  'documents, of two sides': (t) => fa.documents(t({ q: [1], kv: [1] })),
  prefixLm: (t) => fa.prefixLm(t([1, 2])),
  segments: (t) =>
    fa.segments(
      t([0, 1]),
      t([
        [1, 0],
        [0, 1],
      ]),
    ),
  alibi: (t) => fa.alibi(t([1, 2])),
  relativeBias: (t) => fa.relativeBias(t(Array.from({ length: 32 }, () => [1])), t({ maxDistance: 128 })),
  temperature: (t) => fa.temperature(t([1, 2])),
  shiftedGroups: (t) => fa.shiftedGroups(t({ group: 4, heads: 2 })),
  draftTree: (t) => fa.draftTree(t([-1, 0, 0])),
  branches: (t) => fa.branches(1, t([2, 3])),
  neighborhood: (t) =>
    fa.neighborhood(t({ grid: [8, 8], window: [3, 3], stride: [1, 1], dilation: [1, 1], causal: [true, false] })),
  gridBias: (t) => fa.gridBias(t(like(1, 3, 3)), t({ grid: [4, 4], dilation: [1, 1] })),
  neighborhoodAttention: (t) => {
    const x = (): never => t(like(1, 4, 4, 1, 2));
    const extra = { extraKey: like(1, 2, 1, 2), extraValue: like(1, 2, 1, 2) };
    const options = { window: [3, 3], mask: [fa.causal()], relativeBias: like(1, 3, 3), ...extra };
    return fa.neighborhoodAttention(x(), x(), x(), t(options));
  },
  blockSparse: (t) => fa.blockSparse(t([[0], [0, 1]]), t({ blockSize: [4, 4], rows: 'row' })),
  'blockSparse, of heads': (t) => fa.blockSparse(t([[[0], new Int32Array(1)]]), t({ blockSize: 4 })),
  'blockSparse, of CSR': (t) =>
    fa.blockSparse(t({ indptr: [0, 1, 2], indices: [0, 1], shape: [2, 2] }), t({ blockSize: 4 })),
  'blockSparse, of a tensor': (t) => fa.blockSparse(t(bool(2, 2)), t({ blockSize: 4 })),
  'blockSparse, of JSON': (t) => fa.blockSparse(t({ ...blocks.toJSON() })),
  list: (t) => blocks.list(0, t({ h: 0 })),
  toDense: (t) => blocks.toDense(t({ nq: 1, nkv: 1 })),
  localGlobal: (t) => fa.localGlobal(t({ length: 64, blockSize: 8, before: 1, after: 0 })),
  shardedStrides: (t) => fa.shardedStrides(t({ length: 64, blockSize: 8, heads: 2, local: 1, stride: 2 })),
  verticalSlash: (t) => fa.verticalSlash(t({ length: 64, blockSize: 8, vertical: [[1], [2]], slash: [0, 1] })),
  pooledScores: (t) => fa.pooledScores(t(rows()), t(rows()), t({ blockSize: [2, 2] })),
  chooseBlocks: (t) => fa.chooseBlocks(t(like(2, 2)), t({ blockSize: 4, topK: 1 })),
  blockMap: (t) => fa.blockMap(t([fa.causal()]), t({ nq: 8, block: [4, 4] })),
  shard: (t) => fa.shard(t(rows()), t({ size: 2, rank: 0 }), t({ sharding: 'contiguous' })),
  unshard: (t) => fa.unshard(t([like(1, 1, 8, 4), like(1, 1, 8, 4)]), t({ sharding: 'contiguous' })),
  threadGroup: (t) => fa.threadGroup(2, t({ timeout: 50 })),
  allToAll: (t) => alone.allToAll(t([like(1, 1, 8, 4)])),
  ringAttention: (t) => {
    const [group] = fa.threadGroup(1) as [fa.Group];
    return fa.ringAttention(group, t(rows()), t(rows()), t(rows()), t({ mask: [fa.causal()], sinks: [1], signal }));
  },
  explainSchedule: (t) => {
    const shape = (): never => t([1, 1, 8, 4]);
    return fa.explainSchedule(2, shape(), shape(), shape(), t({ schedule: 'ring', mask: [fa.causal()] }));
  },
};

for (const [name, call] of Object.entries(calls)) {
  test.serial(`${name}: traps`, async (t) => {
    left = Infinity;
    await t.notThrowsAsync(async () => call(trapped));
    const tokens = cache.length;
    let passed = 0;
    for (; ; passed += 1) {
      left = passed;
      const [settled] = await Promise.allSettled([(async () => call(trapped))()]);
      if (left >= 0) break;
      if (settled.status === 'fulfilled') {
        t.fail(`nothing came of look ${passed}`);
        continue;
      }
      const error: unknown = settled.reason;
      t.true(error instanceof fa.AttentionError, String(error));
      t.is((error as fa.AttentionError).code, 'ERR_INVALID_ARG_VALUE', String(error));
      t.is(((error as Error).cause as Error).message, 'a trap');
    }
    t.true(passed > 2);
    t.is(cache.length, name === 'append' || name === 'attend' ? tokens + 1 : tokens);
  });

  test.serial(`${name}: other values`, async (t) => {
    for (another of others) {
      for (let before = 0; ; before += 1) {
        places = before;
        const [settled] = await Promise.allSettled([(async () => call(changed))()]);
        if (places >= 0) break;
        if (settled.status === 'fulfilled') continue;
        const { code, message } = settled.reason as fa.AttentionError;
        // A signal may be one that has aborted.
        if (code === ('ABORT_ERR' as never)) continue;
        t.true(settled.reason instanceof fa.AttentionError, String(settled.reason));
        t.not(code, 'ERR_INTERNAL', message);
      }
    }
    t.pass();
  });
}
