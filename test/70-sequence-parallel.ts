// One sequence over several ranks: what each schedule gives, what it sends, and that it says what it does.

import test from 'ava';
import {
  allGatherAttention,
  attentionSync,
  causal,
  explain,
  explainSchedule,
  mask,
  neighborhood,
  not,
  parallelAttention,
  ringAttention,
  shard,
  shardLengths,
  slidingWindow,
  Tensor,
  threadGroup,
  treeAttention,
  ulyssesAttention,
  unshard,
} from '../lib/index.js';
import type { Schedule, Sharding, Traffic } from '../lib/index.js';
import type { Engine } from '../lib/sequence-parallel/engine.js';
import { groupOver } from '../lib/sequence-parallel/group.js';
import { threadEngines } from '../lib/sequence-parallel/threads.js';
import { refuses, rejects } from './helpers/errors.js';
import { filled } from './helpers/tensors.js';
import { bitsOf } from './reference/call.js';
import {
  alone,
  everyFunction,
  onGroup,
  parallelCases,
  referenceOf,
  wholeOf,
  wrongPlaces,
  type Function,
  type ParallelCase,
  smallCase,
} from './reference/parallel-case.js';
import { drawParallel } from './reference/parallel-draw.js';
import { Random } from './reference/random.js';

const shardings: Sharding[] = ['contiguous', 'zigzag', 'striped'];
const sizes = [1, 2, 3, 4, 8];

for (const [n, one] of parallelCases.entries()) {
  test(`equal to one device: ${one.name}`, async (t) => {
    const whole = wholeOf(one, 70 + n);
    const reference = referenceOf(one, whole);
    for (const [s, size] of sizes.entries()) {
      for (const [f, name] of everyFunction.entries()) {
        // The ring in every sharding, the others in one after the other.
        const some =
          name === 'ring' ? shardings : name === 'striped' ? shardings.slice(2) : [shardings[(n + s + f) % 3]!];
        for (const sharding of some) {
          const result = await onGroup(name, size, sharding, one.options, whole);
          t.deepEqual(wrongPlaces(one, reference, result), [], `${name}, ${sharding}, ${size} ranks`);
          result.results.forEach(({ output }) => t.is(output.dtype, 'float32'));
        }
      }
    }
  });
}

test('equal to one device: drawn cases', async (t) => {
  for (let seed = 0; seed < 120; seed++) {
    const { one, name, size, sharding } = drawParallel(seed);
    const whole = wholeOf(one, seed);
    const expected = alone(one, whole);
    const result = await onGroup(name, size, sharding, one.options, whole);
    for (const [got, want] of [
      [result.output, expected.output],
      [result.lse, expected.lse!],
    ] as const) {
      t.deepEqual(got.shape, want.shape);
      const values = want.toFloat32();
      const far = got.toFloat32().findIndex((x, n) => x !== values[n] && !(Math.abs(x - values[n]!) < 2e-5));
      t.is(far, -1, `seed ${seed}: ${name}, ${sharding}, ${size} ranks, ${String(one.options.mask)}`);
    }
  }
});

test('all ranks of a tree have the same bits', async (t) => {
  const { results } = await onGroup('tree', 5, 'zigzag', { mask: causal() }, wholeOf(smallCase));
  for (const { output, lse } of results) {
    t.deepEqual(bitsOf(output), bitsOf(results[0]!.output));
    t.deepEqual(bitsOf(lse!), bitsOf(results[0]!.lse!));
  }
});

test('bits do not depend on when ranks come', async (t) => {
  const whole = wholeOf(smallCase);
  for (const name of everyFunction) {
    const sharding = name === 'striped' ? 'striped' : 'zigzag';
    const expected = await onGroup(name, 4, sharding, { mask: causal() }, whole);
    for (let n = 0; n < 4; n++) {
      const random = new Random(n);
      const groups = threadGroup(4);
      for (const group of groups) {
        const late = group.barrier.bind(group);
        const wait = random.integer(0, 6);
        void new Promise((resolve) => setTimeout(resolve, wait)).then(late);
      }
      const { output } = await onGroup(name, 4, sharding, { mask: causal() }, whole, groups);
      t.deepEqual(bitsOf(output), bitsOf(expected.output), name);
    }
  }
});

test('contiguous shards of any lengths, some of them empty', async (t) => {
  const one: ParallelCase = { ...smallCase, options: { mask: causal() }, allowed: ({ i, j }) => j <= i };
  const whole = wholeOf(one);
  const cuts = [0, 3, 3, 40, 61];
  const piece = (tensor: Tensor, rank: number): Tensor => tensor.narrow(2, cuts[rank]!, cuts[rank + 1]! - cuts[rank]!);
  const results = await Promise.all(
    threadGroup(4).map((group) => {
      const [q, k, v] = [whole.query, whole.key, whole.value].map((tensor) => piece(tensor, group.rank));
      return ringAttention(group, q!, k!, v!, { mask: causal(), lse: true });
    }),
  );
  const output = unshard(results.map((result) => result.output));
  const lse = unshard(results.map((result) => result.lse!));
  t.deepEqual(wrongPlaces(one, referenceOf(one, whole), { output, lse }), []);
});

test('rows of a round come in portions where ranks are few, and add up to the same', async (t) => {
  const long: ParallelCase = { ...smallCase, headsQ: 2, headsKv: 1, queries: [300], keys: [5001] };
  const cases: [ParallelCase, object][] = [
    [long, {}],
    [long, { mask: causal() }],
    [long, { mask: mask('(i, j) => j % 2500 < 1200 || i === j') }],
    [
      { ...long, batch: 3, ragged: true, queries: [100, 3, 40], keys: [4000, 7, 3333] },
      { mask: slidingWindow(3000, 0) },
    ],
  ];
  for (const [one, options] of cases) {
    const whole = wholeOf(one);
    const want = alone({ ...one, options }, whole).output.toFloat32();
    for (const size of [2, 3]) {
      for (const sharding of shardings) {
        const { output, groups } = await onGroup('ring', size, sharding, options, whole);
        t.true(output.toFloat32().every((x, n) => Math.abs(x - want[n]!) < 2e-5));
        // Of headers, of needs, and of rows: of a portion or more from every other rank.
        if (options === cases[0]![1]) {
          const portions = size === 2 ? 2 : 1;
          groups.forEach(({ traffic }) => t.is(traffic.receivedMessages, (2 + portions) * (size - 1)));
        }
        if (one.ragged) continue;
        const [q, k, v] = [whole.query.shape, whole.key.shape, whole.value.shape];
        const plan = explainSchedule(size, q, k, v, { ...options, sharding });
        t.deepEqual(
          groups.map(({ traffic }) => traffic.receivedBytes),
          plan.ranks.map(({ receivedBytes }) => receivedBytes),
        );
        const { flops } = explain(whole.query, whole.key, whole.value, options);
        t.is(
          plan.ranks.reduce((sum, rank) => sum + rank.flops, 0),
          flops,
        );
      }
    }
  }
});

test('a rank computes with the first portion while the second is on its way', async (t) => {
  const whole = wholeOf({ ...smallCase, queries: [50], keys: [5001] });
  const [first, second] = threadEngines(2, 5000) as [Engine, Engine];
  let [works, portions] = [0, 0];
  let enough = (): void => {};
  const computed = new Promise<void>((resolve) => (enough = resolve));
  const held: Engine = {
    rank: second.rank,
    size: second.size,
    send: (...args) => second.send(...args),
    async receive(from, channel) {
      if (channel.endsWith('rows') && ++portions === 2) await computed;
      return second.receive(from, channel);
    },
    working(work) {
      works += 1;
      // Its own keys, then the first portion.
      if (works === 2) enough();
      return second.working(work);
    },
    fail: (cause) => second.fail(cause),
    close: () => second.close(),
  };
  const groups = [groupOver(first), groupOver(held)];
  const { output } = await onGroup('ring', 2, 'contiguous', {}, whole, groups);
  const want = attentionSync(whole.query, whole.key, whole.value).output.toFloat32();
  t.true(output.toFloat32().every((x, n) => Math.abs(x - want[n]!) < 2e-5));
  t.is(portions, 2);
});

test('half types travel as they are, and the result is rounded once', async (t) => {
  const bits = (tensor: Tensor): Tensor =>
    Tensor.from(
      Uint16Array.from(new Uint32Array(tensor.toFloat32().buffer), (word) => word >>> 16),
      tensor.shape,
      {
        dtype: 'bfloat16',
      },
    );
  const wide = wholeOf(smallCase);
  const whole = { query: bits(wide.query), key: bits(wide.key), value: bits(wide.value) };
  for (const name of everyFunction) {
    const sharding = name === 'striped' ? 'striped' : 'contiguous';
    const narrow = await onGroup(name, 3, sharding, { mask: causal() }, whole);
    const full = await onGroup(name, 3, sharding, { mask: causal(), outputDtype: 'float32' }, whole);
    t.is(narrow.output.dtype, 'bfloat16');
    const words = new Uint32Array(full.output.toFloat32().buffer);
    const rounded = Uint16Array.from(words, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
    t.deepEqual(narrow.output.data, rounded, name);
    const received = narrow.groups.reduce((sum, { traffic }) => sum + traffic.receivedBytes, 0);
    const wider = full.groups.reduce((sum, { traffic }) => sum + traffic.receivedBytes, 0);
    if (name === 'ring') t.is(received, wider);
  }
});

test('[B, S, H, D] in and out', async (t) => {
  const call = {
    ring: ringAttention,
    tree: treeAttention,
    allGather: allGatherAttention,
    ulysses: ulyssesAttention,
    parallel: parallelAttention,
  };
  const whole = wholeOf(smallCase);
  const expected = await onGroup('ring', 3, 'contiguous', {}, whole);
  const swap = (tensor: Tensor): Tensor => tensor.transpose(1, 2);
  for (const name of everyFunction.filter((other) => other !== 'striped')) {
    const results = await Promise.all(
      threadGroup(3).map((group) => {
        const of = (tensor: Tensor): Tensor => swap(shard(tensor, group));
        const query = name === 'tree' ? swap(whole.query) : of(whole.query);
        return call[name as keyof typeof call](group, query, of(whole.key), of(whole.value), { layout: 'bshd' });
      }),
    );
    const output =
      name === 'tree'
        ? results[0]!.output
        : unshard(
            results.map((result) => result.output),
            { axis: 1 },
          );
    t.deepEqual(output.shape, [1, 61, 4, 5]);
    const [got, want] = [swap(output).toFloat32(), expected.output.toFloat32()];
    t.true(got.every((x, i) => Math.abs(x - want[i]!) < 1e-6));
  }
});

// --- what travels ------------------------------------------------------------------------------------------------------

const rowBytes = 2 * (8 + 5) * 4; // both heads of the small case's keys and values

test('a ring without a mask: every rank gets the keys and values of the others once', async (t) => {
  for (const size of [2, 3, 8]) {
    for (const sharding of shardings) {
      const { groups } = await onGroup('ring', size, sharding, {}, wholeOf(smallCase));
      let sent = 0;
      for (const { rank, traffic } of groups) {
        const own = shard(wholeOf(smallCase).key, { rank, size }, { sharding }).shape[2]!;
        t.is(traffic.receivedBytes, (61 - own) * rowBytes);
        t.is(traffic.sentBytes, (size - 1) * own * rowBytes);
        sent += traffic.sentBytes;
      }
      t.is(sent, (size - 1) * 61 * rowBytes);
    }
  }
});

test('under a mask only rows that are seen travel, and no message for an empty round', async (t) => {
  const whole = wholeOf({ ...smallCase, queries: [64], keys: [64] });
  const window = await onGroup('ring', 4, 'contiguous', { mask: slidingWindow(5, 0) }, whole);
  window.groups.forEach(({ rank, traffic }) => {
    t.is(traffic.receivedBytes, rank === 0 ? 0 : 5 * rowBytes);
    t.is(traffic.sentBytes, rank === 3 ? 0 : 5 * rowBytes);
    // Headers and needs go to three others each; rows to the one that needs them.
    t.is(traffic.receivedMessages, 6 + (rank === 0 ? 0 : 1));
  });
  const triangle = await onGroup('ring', 4, 'contiguous', { mask: causal() }, whole);
  triangle.groups.forEach(({ rank, traffic }) => t.is(traffic.receivedBytes, rank * 16 * rowBytes));
  // What a program says is seen is what counts, not its name: here it is a window, said the other way round.
  const renamed = await onGroup('ring', 4, 'contiguous', { mask: not(mask('(i, j) => j > i || j + 5 < i')) }, whole);
  renamed.groups.forEach(({ traffic }, rank) => t.deepEqual(traffic, window.groups[rank]!.traffic));
});

test('the halo of a neighborhood on a grid, counted pair by pair', async (t) => {
  const one = { ...smallCase, queries: [64], keys: [64] };
  const grid = neighborhood({ grid: [8, 8], window: 3 });
  const sees = (i: number, j: number): boolean => {
    const start = (at: number): number => Math.min(Math.max(at - 1, 0), 5);
    const along = (at: number, to: number): boolean => to >= start(at) && to < start(at) + 3;
    return along(i >> 3, j >> 3) && along(i % 8, j % 8);
  };
  for (const sharding of shardings) {
    const { groups } = await onGroup('ring', 4, sharding, { mask: grid }, wholeOf(one));
    const rankOf = (row: number): number =>
      sharding === 'striped' ? row % 4 : sharding === 'zigzag' ? Math.min(row >> 3, 7 - (row >> 3)) : row >> 4;
    groups.forEach(({ rank, traffic }) => {
      let rows = 0;
      for (let j = 0; j < 64; j++) {
        const needed = Array.from({ length: 64 }, (_, i) => i).some((i) => rankOf(i) === rank && sees(i, j));
        if (rankOf(j) !== rank && needed) rows += 1;
      }
      t.is(traffic.receivedBytes, rows * rowBytes, `${sharding}, rank ${rank}`);
    });
  }
});

test('rows between many that are seen travel with them, and change nothing', async (t) => {
  const one: ParallelCase = {
    ...smallCase,
    options: { mask: mask('(i, j) => j % 3 === 0 && i % 2 === 0 || i === j') },
    allowed: ({ i, j }) => (j % 3 === 0 && i % 2 === 0) || i === j,
  };
  const whole = wholeOf(one);
  for (const sharding of shardings) {
    const result = await onGroup('ring', 2, sharding, one.options, whole);
    t.deepEqual(wrongPlaces(one, referenceOf(one, whole), result), []);
    for (const { traffic } of result.groups) t.true(traffic.receivedBytes <= 31 * rowBytes);
  }
});

test('a tree sends partials, however many keys there are', async (t) => {
  const bytes = async (keys: number): Promise<Traffic[]> => {
    const whole = wholeOf({ ...smallCase, queries: [1], keys: [keys] });
    return (await onGroup('tree', 4, 'contiguous', {}, whole)).groups.map(({ traffic }) => traffic);
  };
  const few = await bytes(16);
  t.deepEqual(await bytes(400), few);
  const partial = 4 * (5 + 2) * 4;
  t.is(
    few.reduce((sum, { sentBytes }) => sum + sentBytes, 0),
    2 * 3 * partial,
  );
});

// --- explainSchedule ---------------------------------------------------------------------------------------------------

test('explainSchedule says what comes in', async (t) => {
  const functions: [Schedule, Function, Sharding][] = [
    ...shardings.map((sharding): [Schedule, Function, Sharding] => ['ring', 'ring', sharding]),
    ['tree', 'tree', 'contiguous'],
    ['allGather', 'allGather', 'zigzag'],
    ['ulysses', 'ulysses', 'striped'],
  ];
  for (const options of [{}, { mask: causal() }, { mask: slidingWindow(7, 2) }]) {
    for (const [schedule, name, sharding] of functions) {
      for (const size of [1, 3, 5]) {
        const whole = wholeOf(smallCase);
        const plan = explainSchedule(size, whole.query.shape, whole.key.shape, whole.value.shape, {
          ...options,
          schedule,
          sharding,
        });
        const withoutLse = await onGroup(name, size, sharding, options, whole);
        const lseBytes = (rank: number): number => {
          if (name !== 'ulysses') return 0;
          const heads = Math.floor((4 * (rank + 1)) / size) - Math.floor((4 * rank) / size);
          return (4 - heads) * shard(whole.query, { rank, size }, { sharding }).shape[2]! * 4;
        };
        t.deepEqual(
          plan.ranks.map(({ receivedBytes }) => receivedBytes),
          withoutLse.groups.map(({ traffic, rank }) => traffic.receivedBytes - lseBytes(rank)),
          `${schedule} ${sharding} ${size}`,
        );
        const all = explain(whole.query, whole.key, whole.value, options).flops;
        t.is(
          plan.ranks.reduce((sum, { flops }) => sum + flops, 0),
          all,
          `${schedule} ${sharding} ${size}`,
        );
      }
    }
  }
});

test('causal work is even in zigzag and stripes: the busiest of 8 ranks has 1.05 times the mean at most', (t) => {
  const balance = (sharding: Sharding): number =>
    explainSchedule(8, [1, 2, 4096, 64], [1, 1, 4096, 64], [1, 1, 4096, 64], { mask: causal(), sharding }).balance;
  t.true(balance('zigzag') <= 1.05, `zigzag ${balance('zigzag')}`);
  t.true(balance('striped') <= 1.05, `striped ${balance('striped')}`);
  t.true(balance('contiguous') > 1.5);
});

test('rounds without work are told apart, and the text says so', (t) => {
  const shape = [1, 1, 64, 8];
  const plan = explainSchedule(4, shape, shape, shape, { mask: causal() });
  t.deepEqual(
    plan.ranks.map(({ rounds }) => rounds.filter(({ work }) => work !== null).length),
    [1, 2, 3, 4],
  );
  t.regex(plan.toString(), /^4 ranks, the busiest 1\.\d\d times the mean\n {2}rank 0 +1 of 4 rounds: \d+ tiles, /);
  refuses(t, () => explainSchedule(2, [1, 2, 3], shape, shape), { code: 'ERR_SHAPE_MISMATCH', argument: 'q' });
  refuses(t, () => explainSchedule(2, shape, shape, shape, { schedule: 'star' as 'ring' }), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: 'options.schedule',
  });
});

// --- shard and unshard -------------------------------------------------------------------------------------------------

test('shards are every row once, and go back to their places', (t) => {
  const data = Float32Array.from({ length: 2 * 3 * 23 * 4 }, (_, n) => n);
  const tensor = Tensor.from(data, [2, 3, 23, 4]);
  for (const sharding of shardings) {
    for (const size of [1, 2, 5, 30]) {
      const parts = Array.from({ length: size }, (_, rank) => shard(tensor, { rank, size }, { sharding }));
      const counts = parts.map(({ shape }) => shape[2]!);
      t.true(Math.max(...counts) - Math.min(...counts) <= (sharding === 'zigzag' ? 2 : 1));
      t.deepEqual(unshard(parts, { sharding }).data, data);
    }
  }
  t.is(shard(tensor, { rank: 1, size: 3 }).data, data);
  t.deepEqual(shard(tensor, { rank: 1, size: 3 }, { sharding: 'striped' }).strides, [276, 92, 12, 1]);
  const rows = Tensor.from(data.subarray(0, 23 * 4), [23, 4]);
  const cuSeqlens = [0, 9, 9, 23];
  for (const sharding of shardings) {
    const options = { sharding, cuSeqlens };
    const parts = Array.from({ length: 4 }, (_, rank) => shard(rows, { rank, size: 4 }, options));
    parts.forEach(({ shape }, rank) => t.is(shardLengths(cuSeqlens, { rank, size: 4 }, { sharding }).at(-1), shape[0]));
    t.deepEqual(unshard(parts, options).toFloat32(), rows.toFloat32());
  }
});

test('shard and unshard refuse what does not fit', (t) => {
  const tensor = filled([1, 2, 8, 4]);
  refuses(t, () => shard(tensor, { rank: 2, size: 2 }), { code: 'ERR_OUT_OF_RANGE', argument: 'place.rank' });
  refuses(t, () => shard(tensor, { rank: 0, size: 2 }, { axis: 4 }), {
    code: 'ERR_OUT_OF_RANGE',
    argument: 'options.axis',
  });
  refuses(t, () => shard(tensor, 3 as never), { code: 'ERR_INVALID_ARG_TYPE', argument: 'place' });
  refuses(t, () => unshard([tensor, filled([1, 2, 6, 4])], { sharding: 'striped' }), {
    code: 'ERR_SHAPE_MISMATCH',
    argument: 'shards',
  });
  refuses(t, () => unshard([tensor, filled([1, 3, 8, 4])]), { code: 'ERR_SHAPE_MISMATCH', argument: 'shards[1]' });
  refuses(t, () => unshard([tensor, filled([1, 2, 8, 4], 'bfloat16')]), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: 'shards[1]',
  });
  refuses(t, () => unshard([]), { code: 'ERR_INVALID_ARG_TYPE', argument: 'shards' });
});

test('what a schedule does not take is refused on every rank, and the group stays', async (t) => {
  const whole = wholeOf(smallCase);
  const groups = threadGroup(2);
  const visible = Tensor.from(new Uint8Array(61), [1, 61], { dtype: 'bool' });
  const refused = [
    [{ mask: visible }, 'ERR_UNSUPPORTED', 'options.mask'],
    [{ mask: not(visible) }, 'ERR_UNSUPPORTED', 'options.mask'],
    [{ bias: filled([61]) }, 'ERR_UNKNOWN_OPTION', 'options.bias'],
    [{ sharding: 'diagonal' }, 'ERR_INVALID_ARG_VALUE', 'options.sharding'],
  ] as const;
  for (const [options, code, argument] of refused) {
    await Promise.all(
      groups.map((group) =>
        rejects(t, () => ringAttention(group, whole.query, whole.key, whole.value, options as never), {
          code,
          argument,
        }),
      ),
    );
  }
  await rejects(t, () => ringAttention({} as never, whole.query, whole.key, whole.value), {
    code: 'ERR_INVALID_ARG_TYPE',
    argument: 'group',
  });
  await t.notThrowsAsync(onGroup('ring', 2, 'contiguous', {}, whole, groups));
});

test('one rank alone is one device', async (t) => {
  const whole = wholeOf(smallCase);
  const direct = attentionSync(whole.query, whole.key, whole.value, { mask: neighborhood({ grid: [61], window: 5 }) });
  for (const name of everyFunction) {
    const sharding = name === 'striped' ? 'striped' : 'contiguous';
    const options = { mask: neighborhood({ grid: [61], window: 5 }) };
    const { output, groups } = await onGroup(name, 1, sharding, options, whole);
    const [got, want] = [output.toFloat32(), direct.output.toFloat32()];
    t.true(got.every((x, n) => Math.abs(x - want[n]!) < 1e-6));
    t.is(groups[0]!.traffic.sentMessages, 0);
  }
});
