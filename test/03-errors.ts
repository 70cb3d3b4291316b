// Errors: one class, uniform messages, the argument at fault; asynchronous calls reject, never throw; aborts as in Node.

import test from 'ava';
import {
  alibi,
  and,
  AttentionError,
  attention,
  attentionSync,
  blockSparse,
  branches,
  causal,
  documents,
  draftTree,
  explain,
  KvCache,
  mask,
  mergePartials,
  prefixLm,
  score,
  segments,
  slidingWindow,
  temperature,
  Tensor,
  unshard,
} from '../lib/index.js';
import { fromNative } from '../lib/errors.js';
import type { NativeError } from '../lib/native.cjs';
import { isRefusal, refuses, rejects, revoked, throwing } from './helpers/errors.js';
import type { Refusal } from './helpers/errors.js';
import { filled, resizable } from './helpers/tensors.js';

const q = filled([2, 4, 3, 8]);
const kv = filled([2, 2, 5, 8]);
type Arguments = [unknown, unknown, unknown, unknown?];
const call = (...args: Arguments): unknown => attentionSync(...(args as [Tensor, Tensor, Tensor]));

test('an error has its parts, in the message too', (t) => {
  const cause = new Error('inner');
  const error = new AttentionError('ERR_UNSUPPORTED', 'options.mask', 'this', 'that', { cause });
  isRefusal(t, error, { code: 'ERR_UNSUPPORTED', argument: 'options.mask', expected: /^this$/, received: /^that$/ });
  t.is(error.cause, cause);
  t.true(error instanceof Error);
  t.regex(error.stack!, /^AttentionError: options\.mask: expected this but received that/);
  t.false(Object.keys(error).includes('name'));
});

/** Arguments and what is wrong with them; the same for every entry point. */
const wrong: Record<string, { args: Arguments; refusal: Refusal }> = {
  'no tensor': { args: [undefined, kv, kv], refusal: { code: 'ERR_INVALID_ARG_TYPE', argument: 'query' } },
  'a typed array': { args: [q, new Float32Array(4), kv], refusal: { code: 'ERR_INVALID_ARG_TYPE', argument: 'key' } },
  'a fake tensor': {
    args: [q, kv, Object.create(Tensor.prototype)],
    refusal: { code: 'ERR_INVALID_ARG_VALUE', argument: 'value', expected: /can be read/ },
  },
  'rank 3': { args: [filled([4, 3, 8]), kv, kv], refusal: { code: 'ERR_SHAPE_MISMATCH', argument: 'query' } },
  'rank 0': { args: [q, filled([]), kv], refusal: { code: 'ERR_SHAPE_MISMATCH', argument: 'key' } },
  bool: { args: [q, kv, filled([2, 2, 5, 8], 'bool')], refusal: { code: 'ERR_INVALID_ARG_VALUE', argument: 'value' } },
  batch: {
    args: [q, filled([1, 2, 5, 8]), kv],
    refusal: {
      code: 'ERR_SHAPE_MISMATCH',
      argument: 'key',
      expected: /^\[2, 2, 5, 8\]$/,
      received: /^\[1, 2, 5, 8\]$/,
    },
  },
  'query heads': {
    args: [filled([2, 3, 3, 8]), kv, kv],
    refusal: { code: 'ERR_SHAPE_MISMATCH', argument: 'key', received: /2/ },
  },
  'fewer query heads': {
    args: [filled([2, 1, 3, 8]), kv, kv],
    refusal: { code: 'ERR_SHAPE_MISMATCH', argument: 'key' },
  },
  'value heads': { args: [q, kv, filled([2, 4, 5, 8])], refusal: { code: 'ERR_SHAPE_MISMATCH', argument: 'value' } },
  'value rows': { args: [q, kv, filled([2, 2, 6, 8])], refusal: { code: 'ERR_SHAPE_MISMATCH', argument: 'value' } },
  'key features': { args: [q, filled([2, 2, 5, 7]), kv], refusal: { code: 'ERR_SHAPE_MISMATCH', argument: 'key' } },
  'no heads': { args: [filled([2, 0, 3, 8]), kv, kv], refusal: { code: 'ERR_OUT_OF_RANGE', argument: 'query' } },
  'no features': { args: [q, kv, filled([2, 2, 5, 0])], refusal: { code: 'ERR_OUT_OF_RANGE', argument: 'value' } },
  'many features': {
    args: [filled([1, 1, 1, 1025]), kv, kv],
    refusal: { code: 'ERR_OUT_OF_RANGE', argument: 'query' },
  },
  'columns apart': {
    args: [q, kv.transpose(2, 3), kv],
    refusal: { code: 'ERR_INVALID_ARG_VALUE', argument: 'key', expected: /contiguous last axis/, received: /stride 8/ },
  },
  'an unknown option': {
    args: [q, kv, kv, { maks: 0 }],
    refusal: { code: 'ERR_UNKNOWN_OPTION', argument: 'options.maks' },
  },
  'a mask': {
    args: [q, kv, kv, { mask: 'causal' }],
    refusal: { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.mask' },
  },
  'an uncalled mask': {
    args: [q, kv, kv, { mask: causal }],
    refusal: { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.mask' },
  },
  'a signal': {
    args: [q, kv, kv, { signal: {} }],
    refusal: { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.signal' },
  },
};

for (const [name, { args, refusal }] of Object.entries(wrong)) {
  test(`wrong arguments: ${name}`, async (t) => {
    refuses(t, () => call(...args), refusal);
    await rejects(t, () => attention(...(args as [Tensor, Tensor, Tensor])), refusal);
    refuses(t, () => explain(...(args as [Tensor, Tensor, Tensor])), refusal);
  });
}

test('tensors of other libraries: refused with the name of the part', (t) => {
  const data = new Float32Array(240);
  const like = (parts: object) => () => call({ data, dims: [2, 4, 3, 8], ...parts }, kv, kv);
  t.notThrows(like({}));
  refuses(t, like({ dims: undefined }), { code: 'ERR_INVALID_ARG_TYPE', argument: 'query.shape' });
  refuses(t, like({ data: [1, 2] }), { code: 'ERR_INVALID_ARG_TYPE', argument: 'query.data' });
  refuses(t, like({ data: new Float64Array(192) }), { code: 'ERR_INVALID_ARG_TYPE', argument: 'query.data' });
  refuses(t, like({ data: new Float32Array(3) }), { code: 'ERR_SHAPE_MISMATCH', argument: 'query.data' });
  refuses(t, like({ type: 'int64' }), { code: 'ERR_INVALID_ARG_VALUE', argument: 'query.dtype' });
  refuses(t, like({ location: 'gpu-buffer' }), { code: 'ERR_UNSUPPORTED', argument: 'query', received: /gpu-buffer/ });
  const gone = Object.defineProperty({ dims: [1] }, 'data', {
    get() {
      throw new Error('disposed');
    },
    enumerable: true,
  });
  refuses(t, () => call(gone, kv, kv), { code: 'ERR_INVALID_ARG_VALUE', argument: 'query' });
});

test('absurd sizes are refused', (t) => {
  const repeated = (shape: number[]): Tensor => Tensor.from(new Float32Array(64), shape, { strides: [0, 0, 0, 1] });
  const one = repeated([1, 1, 1, 64]);
  // A result of 2^40 rows, one of 2^36 bytes, more rows, heads and sequences than anything has.
  const inputs: [Tensor, Refusal['code'], string][] = [
    [repeated([1, 2 ** 20, 2 ** 20, 64]), 'ERR_OUT_OF_MEMORY', 'output'],
    [repeated([1, 1, 2 ** 30, 16]), 'ERR_OUT_OF_MEMORY', 'output'],
    [repeated([1, 1, 2 ** 40, 1]), 'ERR_OUT_OF_RANGE', 'query'],
    [repeated([1, 2 ** 40, 1, 1]), 'ERR_OUT_OF_RANGE', 'query'],
    [repeated([2 ** 40, 1, 1, 1]), 'ERR_OUT_OF_RANGE', 'query'],
  ];
  for (const [query, code, argument] of inputs) {
    const key = Tensor.from(one.data, [query.shape[0]!, 1, 1, query.shape[3]!], { strides: [0, 0, 0, 1] });
    refuses(t, () => call(query, key, key.reshape(key.shape)), { code, argument });
    refuses(t, () => explain(query, key, key), { code, argument });
  }
});

test('buffers that changed since: refused by every call that uses them', async (t) => {
  const data = new Float32Array(240);
  const tensor = Tensor.from(data, [2, 4, 3, 8]);
  structuredClone(data.buffer, { transfer: [data.buffer] });
  const detached = { code: 'ERR_INVALID_ARG_VALUE', argument: 'query', received: /detached/ } as const;
  refuses(t, () => call(tensor, kv, kv), detached);
  await rejects(t, () => attention(tensor, kv, kv), detached);

  const buffer = resizable(4 * 192, 4 * 192);
  const shrunk = Tensor.from(new Float32Array(buffer), [2, 4, 3, 8]);
  buffer.resize(4 * 191);
  refuses(t, () => call(shrunk, kv, kv), { code: 'ERR_SHAPE_MISMATCH', argument: 'query', received: /length 191/ });

  const disposed = filled([2, 2, 5, 8]);
  disposed.dispose();
  refuses(t, () => call(q, kv, disposed), { code: 'ERR_DISPOSED', argument: 'value' });
});

test('small arrays whose memory is gone: detached, or outside of a buffer that was resized', (t) => {
  const gone = (array: Int32Array | Float32Array | Float64Array | BigInt64Array): typeof array => {
    structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
    return array;
  };
  const outside = (): Int32Array => {
    const buffer = resizable(16, 16);
    const view = new Int32Array(buffer, 8, 2);
    buffer.resize(4);
    return view;
  };
  const [tokens, rows] = [filled([3, 4, 8]), filled([5, 2, 8])];
  const pool = filled([5, 2, 4, 8]);
  const pages = (more: object) => (): unknown =>
    call(q, pool, pool, { pages: { table: new Int32Array(6), lengths: [1, 1], ...more } });
  const cache = new KvCache({ heads: 1, dim: 8, rope: { pairing: 'halves' } });
  const token = filled([1, 1, 0, 8]);
  const calls: Record<string, [() => unknown, RegExp?]> = {
    'options.lengthsQ': [() => call(q, kv, kv, { lengthsQ: gone(new Int32Array(2)) })],
    'options.lengthsKv': [() => call(q, kv, kv, { lengthsKv: gone(new BigInt64Array(2)) })],
    'options.cuSeqlensQ': [() => call(tokens, rows, rows, { cuSeqlensQ: outside(), cuSeqlensKv: [0] }), /outside/],
    'options.sinks': [() => call(q, kv, kv, { sinks: gone(new Float32Array(4)) })],
    'options.pages.table': [pages({ table: gone(new Int32Array(6)) })],
    'options.pages.table.data': [pages({ table: { data: outside(), dims: [2, 3] } }), /outside/],
    'options.pages.table[1]': [pages({ table: [[0], gone(new Int32Array(1))] })],
    'options.pages.lengths': [pages({ lengths: gone(new Int32Array(2)) })],
    'options.pages.prefixes[0].sequences': [pages({ prefixes: [{ sequences: gone(new Int32Array(2)), tokens: 1 }] })],
    'options.rope.frequencies': [
      () =>
        new KvCache({
          heads: 1,
          dim: 8,
          rope: { pairing: 'halves', frequencies: gone(new Float64Array(4)) as Float64Array },
        }),
    ],
    'options.positions': [
      () => cache.attendSync(token, { k: token, v: token, positions: gone(new Int32Array(2)) as Int32Array }),
    ],
  };
  for (const [argument, [attempt, received]] of Object.entries(calls)) {
    refuses(t, attempt, { code: 'ERR_INVALID_ARG_VALUE', argument, received: received ?? /detached/ });
  }
});

test('options whose properties throw', (t) => {
  const options = {
    get scale(): number {
      throw new RangeError('no');
    },
  };
  refuses(t, () => call(q, kv, kv, options), { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.scale' });
});

/** Of a list that is an argument, the first element; of a list inside of it, the first of its first. */
const lists: Record<string, (list: never) => unknown> = {
  'options.sinks[0]': (list) => call(q, kv, kv, { sinks: list }),
  'options.mask[0]': (list) => call(q, kv, kv, { mask: list }),
  'query.shape[0]': (list) => call({ data: new Float32Array(192), dims: list }, kv, kv),
  'parts[0]': (list) => mergePartials(list),
  'shape[0]': (list) => Tensor.from(new Float32Array(4), list),
  'strides[0]': (list) => Tensor.from(new Float32Array(4), [1, 1, 1, 1], { strides: list }),
  'order[0]': (list) => q.transpose(list),
  'options.grid[0]': (list) => mask('(i, j) => i.x === j.x', {}, { grid: list }),
  'parameters.ids[0]': (list) => mask('(i, j, { ids }) => ids(i) === ids(j)', { ids: list }),
  'parameters.ids.data[0]': (list) => mask('(i, j, { ids }) => ids(i) === ids(j)', { ids: { data: list, shape: [4] } }),
  'ids[0]': (list) => documents(list),
  'ids.q[0]': (list) => documents({ q: list, kv: [0] }),
  'prefix[0]': (list) => prefixLm(list),
  'slopes[0]': (list) => alibi(list),
  'temperature[0]': (list) => temperature(list),
  'parents[0]': (list) => draftTree(list),
  'lengths[0]': (list) => branches(1, list),
  'program.items[0]': (list) => mask({ kind: 'mask', operation: 'and', items: list }),
  'shards[0]': (list) => unshard(list),
};

test('lists with holes, or with elements that throw: the place is named', async (t) => {
  for (const [argument, use] of Object.entries(lists)) {
    const holes = { code: 'ERR_INVALID_ARG_TYPE', argument } as const;
    const throws = { code: 'ERR_INVALID_ARG_VALUE', argument, received: /throws/ } as const;
    const gone = { ...throws, argument: argument.slice(0, -3) };
    for (const [list, refusal] of [
      [new Array(4), holes],
      [throwing(4), throws],
      [revoked(), gone],
    ] as const) {
      // mergePartials rejects, the others throw.
      const error = await t.throwsAsync(async () => use(list as never), undefined, argument);
      isRefusal(t, error, refusal);
    }
  }
  const nested = (list: unknown) => () => segments([0, 1], list as never);
  refuses(t, nested([[1, 0], new Array(2)]), { code: 'ERR_INVALID_ARG_TYPE', argument: 'allowed[1][0]' });
  refuses(t, nested([[1, 0], throwing(2)]), { code: 'ERR_INVALID_ARG_VALUE', argument: 'allowed[1][0]' });
  const made = { kind: 'score', operation: 'compose', items: [alibi(2).toJSON(), undefined] };
  refuses(t, () => score(made), { code: 'ERR_INVALID_ARG_TYPE', argument: 'program.items[1]' });
  refuses(t, () => score(revoked({})), { code: 'ERR_INVALID_ARG_VALUE', argument: 'program.kind' });
  const endless = { kind: 'mask', operation: 'not', items: [] as unknown[] };
  endless.items.push(endless);
  refuses(t, () => mask(endless), { code: 'ERR_INVALID_ARG_VALUE', argument: 'program' });
});

test('lists are read once, at the places that they have', (t) => {
  let reads = 0;
  const ids = Object.defineProperty([0, 0, 1, 1], 0, { get: () => (reads += 1) });
  documents(ids);
  prefixLm(ids);
  alibi(ids);
  branches(1, ids);
  t.is(reads, 8); // the first element is looked at before, for how deep the list is
  const growing: number[][] = [
    [0, 1],
    [0, 0],
  ];
  Object.defineProperty(growing[0], 0, { get: () => growing[1]!.push(0) });
  refuses(t, () => segments([0, 1], growing), { code: 'ERR_SHAPE_MISMATCH', argument: 'allowed[1]' });
  const silent = Object.assign([1, 2, 3, 4], { *[Symbol.iterator]() {} });
  t.deepEqual(
    (call(q, kv, kv, { sinks: silent }) as { output: Tensor }).output.data,
    (call(q, kv, kv, { sinks: [1, 2, 3, 4] }) as { output: Tensor }).output.data,
  );
});

test('objects that throw when they are looked at', (t) => {
  const traps = (name: keyof ProxyHandler<object>): never =>
    new Proxy(
      {},
      {
        [name]: () => {
          throw new Error('no');
        },
      },
    ) as never;
  const refusal = (argument: string) => ({ code: 'ERR_INVALID_ARG_VALUE', argument, received: /throws/ }) as const;
  for (const name of ['ownKeys', 'getPrototypeOf'] as const) {
    refuses(t, () => call(q, kv, kv, traps(name)), refusal('options'));
    refuses(t, () => new KvCache(traps(name)), refusal('options'));
    refuses(t, () => Tensor.from(new Float32Array(4), [4], traps(name)), refusal('options'));
  }
  refuses(t, () => call(traps('has'), kv, kv), refusal('query'));
  refuses(t, () => call(q, kv, kv, { out: traps('has') }), refusal('options.out'));
  refuses(t, () => documents(traps('has')), refusal('ids'));
  refuses(t, () => causal().with(traps('ownKeys')), refusal('parameters'));
  refuses(
    t,
    () => and(causal(), mask('(i, j, { n }) => i > n', { n: 1 })).with(traps('ownKeys')),
    refusal('parameters'),
  );
  refuses(t, () => mask('(i, j) => i === j', traps('ownKeys')), refusal('parameters'));
  const json = { operation: 'blocks', rows: 'row', blockSize: 1 };
  refuses(t, () => blockSparse(traps('get')), refusal('layout.operation'));
  refuses(
    t,
    () =>
      blockSparse({
        ...json,
        get layout() {
          throw new Error('no');
        },
      } as never),
    refusal('layout.layout'),
  );
});

test('windows: refused', (t) => {
  const make =
    (...args: unknown[]) =>
    () =>
      slidingWindow(...(args as [number, number]));
  refuses(t, make(), { code: 'ERR_INVALID_ARG_TYPE', argument: 'left' });
  refuses(t, make(1), { code: 'ERR_INVALID_ARG_TYPE', argument: 'right' });
  refuses(t, make('1', 1), { code: 'ERR_INVALID_ARG_TYPE', argument: 'left' });
  for (const value of [-1, 0.5, NaN, -Infinity])
    refuses(t, make(0, value), { code: 'ERR_OUT_OF_RANGE', argument: 'right' });
});

test('aborts: as in Node', async (t) => {
  const reason = new Error('enough');
  const signal = AbortSignal.abort(reason);
  const isAbort = (error: unknown): void => {
    const { name, code, cause } = error as { name: string; code: string; cause: unknown };
    t.deepEqual([name, code, cause], ['AbortError', 'ABORT_ERR', reason]);
    t.false(error instanceof AttentionError);
  };
  isAbort(await t.throwsAsync(() => attention(q, kv, kv, { signal })));
  isAbort(t.throws(() => attentionSync(q, kv, kv, { signal })));
  isAbort(await t.throwsAsync(() => mergePartials([attentionSync(q, kv, kv, { lse: true })], { signal })));
  // A call that is done no longer listens.
  const controller = new AbortController();
  const { output } = await attention(q, kv, kv, { signal: controller.signal });
  controller.abort();
  t.deepEqual(output.shape, [2, 4, 3, 8]);
});

test('errors of the addon become errors of this class', (t) => {
  const native = (parts: object): NativeError => Object.assign(new Error('m'), parts) as NativeError;
  const known = native({ code: 'ERR_OUT_OF_MEMORY', argument: 'workspace', expected: 'room', received: 'none' });
  isRefusal(t, fromNative(known), { code: 'ERR_OUT_OF_MEMORY', argument: 'workspace' });
  t.is(fromNative(known).cause, known);
  for (const strange of [native({}), native({ code: 'EFOO', expected: 'a', received: 'b' })]) {
    isRefusal(t, fromNative(strange), { code: 'ERR_INTERNAL', argument: 'fused-attention' });
  }
});
