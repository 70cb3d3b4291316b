// Which schedule is chosen, and what the choice is made from.

import test from 'ava';
import {
  causal,
  documents,
  explainSchedule,
  mask,
  measureCosts,
  parallelAttention,
  predictSchedules,
  shard,
  slidingWindow,
  threadGroup,
} from '../lib/index.js';
import type { GroupCosts, Schedule, Sharding } from '../lib/index.js';
import { interpolated, sampled } from '../lib/sequence-parallel/sampled.js';
import { refuses, rejects } from './helpers/errors.js';
import { onGroup, parallelCases, referenceOf, wholeOf, wrongPlaces } from './reference/parallel-case.js';

const schedules: Schedule[] = ['ring', 'tree', 'allGather', 'ulysses'];
const shardings: Sharding[] = ['contiguous', 'zigzag', 'striped'];

for (const [n, one] of parallelCases.entries()) {
  test(`by a schedule that is named: ${one.name}`, async (t) => {
    const whole = wholeOf(one, 170 + n);
    const reference = referenceOf(one, whole);
    for (const [s, schedule] of schedules.entries()) {
      const sharding = shardings[(n + s) % 3]!;
      const result = await onGroup('parallel', 3, sharding, { ...one.options, schedule } as object, whole);
      t.deepEqual(wrongPlaces(one, reference, result), [], `${schedule}, ${sharding}`);
    }
  });
}

const shape = (heads: number, rows: number): number[] => [1, heads, rows, 64];
const predicted = (size: number, rows: number, options: object = {}, queries = rows) =>
  predictSchedules(size, shape(8, queries), shape(2, rows), shape(2, rows), options);

test('the quickest is chosen: what that is hangs on mask, sizes and costs', (t) => {
  const slow: GroupCosts = { bandwidth: 1e6 };
  // A window sends its halo in a ring, and everything in the others.
  t.is(predicted(8, 16384, { mask: slidingWindow(64, 0), costs: slow }).chosen, 'ring');
  // One query: its partials are less than any keys.
  t.is(predicted(8, 65536, { costs: slow }, 1).chosen, 'tree');
  // Contiguous shards of a causal mask are uneven; heads are not.
  t.is(predicted(8, 16384, { mask: causal() }).chosen, 'ulysses');
  t.is(predicted(8, 16384, { mask: causal(), sharding: 'zigzag' }).chosen, 'ring');
  // Each round of a ring is a call.
  t.is(predicted(16, 2048, { costs: { callTime: 0.1, latency: 1e-6 }, headsStep: 2 }).chosen, 'allGather');
  for (const size of [1, 2, 5]) {
    const { chosen, schedules: all } = predicted(size, 1000, { mask: causal() });
    t.is(chosen, all[0]!.schedule);
    t.deepEqual(
      [...all].sort((a, b) => a.seconds - b.seconds),
      all,
    );
    t.deepEqual(all.map(({ schedule }) => schedule).sort(), [...schedules].sort());
  }
});

test('a schedule that does not fit into memory is not chosen where another does', (t) => {
  const { schedules: all } = predicted(8, 16384, { mask: causal() });
  const least = Math.min(...all.map(({ memoryBytes }) => memoryBytes));
  const small = predicted(8, 16384, { mask: causal(), costs: { memory: least } });
  t.is(small.schedules.find(({ schedule }) => schedule === small.chosen)!.memoryBytes, least);
  t.is(predicted(8, 16384, { mask: causal(), costs: { memory: 1 } }).chosen, small.chosen);
});

test('bytes and work are those of explainSchedule', (t) => {
  const [q, k, v] = [
    [1, 4, 61, 8],
    [1, 2, 61, 8],
    [1, 2, 61, 5],
  ];
  for (const options of [{}, { mask: causal() }, { mask: slidingWindow(7, 2) }]) {
    for (const sharding of shardings) {
      for (const size of [1, 3, 4]) {
        const costs = { flopRate: 1, readRate: 1e300, callTime: 1e-300, latency: 1e-300 };
        const { schedules: all } = predictSchedules(size, q!, k!, v!, { ...options, sharding, costs });
        for (const { schedule, computeSeconds, receivedBytes } of all) {
          const { ranks } = explainSchedule(size, q!, k!, v!, { ...options, sharding, schedule });
          const what = `${schedule} ${sharding} ${size}`;
          if (schedule !== 'ulysses') t.is(computeSeconds, Math.max(...ranks.map(({ flops }) => flops)), what);
          if (schedule === 'tree') continue;
          t.true(
            ranks.some((rank) => rank.receivedBytes === receivedBytes),
            what,
          );
        }
      }
    }
  }
});

test('explainSchedule explains the choice, and the function does what it says', async (t) => {
  const [one] = [parallelCases.find(({ name }) => name === 'dense, softcap')!];
  for (const [queries, options, sharding] of [
    [61, {}, 'contiguous'],
    [61, { mask: slidingWindow(3, 0) }, 'striped'],
    [2, { costs: { bandwidth: 1 } }, 'zigzag'],
    [2, { schedule: 'tree' }, 'zigzag'],
    [61, { mask: documents(Int32Array.from({ length: 61 }, (_, n) => n >> 4)), costs: { latency: 1 } }, 'contiguous'],
  ] as const) {
    const whole = wholeOf({ ...one, queries: [queries] });
    const [q, k, v] = [whole.query.shape, whole.key.shape, whole.value.shape];
    const wanted = { ...options, sharding };
    const plan = explainSchedule(3, q, k, v, { schedule: 'auto', ...wanted });
    t.is(plan.schedule, 'schedule' in options ? options.schedule : plan.predicted.chosen);
    const groups = threadGroup(3);
    await Promise.all(
      groups.map((group) => {
        const [ownQ, ownK, ownV] = [whole.query, whole.key, whole.value].map((all) => shard(all, group, { sharding }));
        return parallelAttention(group, ownQ!, ownK!, ownV!, wanted);
      }),
    );
    const missing = (rank: number): number =>
      'schedule' in options
        ? (queries - shard(whole.query, { rank, size: 3 }, { sharding }).shape[2]!) * 2 * 4 * 8 * 4
        : 0;
    t.deepEqual(
      groups.map(({ traffic }) => traffic.receivedBytes),
      plan.ranks.map(({ receivedBytes }, rank) => receivedBytes + missing(rank)),
      plan.schedule,
    );
  }
});

test('all ranks take what rank 0 chooses, whatever they reckon themselves', async (t) => {
  const whole = wholeOf(parallelCases[0]!);
  const costs: GroupCosts[] = [{ callTime: 1, latency: 1e-9 }, { latency: 1 }, {}];
  const received = async (of: (rank: number) => object): Promise<number[]> => {
    const groups = threadGroup(3);
    await Promise.all(
      groups.map((group) => {
        const [q, k, v] = [whole.query, whole.key, whole.value].map((all) => shard(all, group));
        return parallelAttention(group, q!, k!, v!, of(group.rank));
      }),
    );
    return groups.map(({ traffic }) => traffic.receivedBytes);
  };
  const expected = explainSchedule(3, whole.query.shape, whole.key.shape, whole.value.shape, {
    schedule: 'auto',
    costs: costs[0]!,
  });
  t.not(expected.schedule, explainSchedule(3, whole.query.shape, whole.key.shape, whole.value.shape).schedule);
  t.deepEqual(
    await received((rank) => ({ costs: costs[rank]! })),
    await received(() => ({ schedule: expected.schedule })),
  );
});

test('ranks that name different schedules are told so', async (t) => {
  const whole = wholeOf(parallelCases[0]!);
  await Promise.all(
    threadGroup(2).map((group) => {
      const [q, k, v] = [whole.query, whole.key, whole.value].map((all) => shard(all, group));
      const schedule = group.rank === 0 ? 'ring' : 'auto';
      return rejects(t, () => parallelAttention(group, q!, k!, v!, { schedule }), {
        code: 'ERR_SHAPE_MISMATCH',
        argument: 'options of rank 1',
      });
    }),
  );
});

test('thousands of ranks and a hundred million tokens are reckoned in moments', (t) => {
  const start = performance.now();
  const all = predicted(4096, 100_000_000, { mask: causal(), sharding: 'striped' });
  t.true(performance.now() - start < 20_000);
  const ring = all.schedules.find(({ schedule }) => schedule === 'ring')!;
  // Half of all pairs, evenly.
  const flops = (4 * 64 * 8 * 1e8 * 1e8) / 2 / 4096;
  t.true(Math.abs(ring.computeSeconds / (flops / 5e10) - 1) < 0.01, String(all));
  const window = predicted(4096, 100_000_000, { mask: slidingWindow(4095, 0) });
  const near = window.schedules.find(({ schedule }) => schedule === 'ring')!;
  const rows = near.receivedBytes / (2 * 64 * 2 * 4);
  t.true(rows >= 4095 && rows < 4095 * 1.1, `${rows} rows`);
});

test('a mask that has no order is counted by samples', (t) => {
  const scattered = mask('(i, j) => ((i * 7 + j * 13) % 64) < 16');
  const { schedules: all } = predicted(64, 65536, { mask: scattered, costs: { callTime: 1e-300, readRate: 1e300 } });
  const flops = (4 * 64 * 8 * 65536 * 65536) / 4 / 64;
  const ring = all.find(({ schedule }) => schedule === 'ring')!;
  t.true(Math.abs(ring.computeSeconds / (flops / 5e10) - 1) < 0.02, String(ring.computeSeconds / (flops / 5e10)));
});

test('sampled: steps and lines are found with few values', (t) => {
  let asked = 0;
  const of = (count: number, value: (n: number) => number): number[] => {
    asked = 0;
    return sampled(count, [], (n) => ((asked += 1), [value(n)])).map(([only]) => only!);
  };
  t.deepEqual(
    of(10, (n) => n * n),
    Array.from({ length: 10 }, (_, n) => n * n),
  );
  const step = of(4096, (n) => (n < 1234 ? 5 : 0));
  t.true(step.every((value, n) => value === (n < 1234 ? 5 : 0)));
  t.true(asked <= 64);
  const line = of(4096, (n) => 3 * n + 1);
  t.true(line.every((value, n) => Math.abs(value - 3 * n - 1) < 1e-6));
  t.is(of(1, () => 7)[0], 7);
  t.deepEqual(
    interpolated(
      [2, 4],
      new Map([
        [2, [0]],
        [4, [1]],
      ]),
    ),
    [[0], [0.5], [1]],
  );
});

test('measureCosts: the same numbers on every rank, and numbers that can be', async (t) => {
  const all = await Promise.all(threadGroup(2).map((group) => measureCosts(group, { dim: 8, threads: 1 })));
  t.deepEqual(all[0], all[1]);
  const { flopRate, readRate, callTime, latency, bandwidth, memory } = all[0]!;
  for (const rate of [flopRate, readRate, bandwidth]) t.true(rate > 1e6 && rate < 1e13, String(rate));
  for (const time of [callTime, latency]) t.true(time > 0 && time < 1, String(time));
  t.is(memory, Infinity);
  const [alone] = await Promise.all(threadGroup(1).map((group) => measureCosts(group)));
  t.is(alone!.latency, 5e-5);
  t.notThrows(() => predicted(2, 64, { costs: all[0]! }));
});

test('arguments', async (t) => {
  refuses(t, () => predicted(2, 64, { costs: { latency: -1 } }), {
    code: 'ERR_OUT_OF_RANGE',
    argument: 'options.costs.latency',
  });
  refuses(t, () => predicted(2, 64, { costs: { latency: '1' } }), {
    code: 'ERR_INVALID_ARG_TYPE',
    argument: 'options.costs.latency',
  });
  refuses(t, () => predicted(2, 64, { costs: { speed: 1 } }), {
    code: 'ERR_UNKNOWN_OPTION',
    argument: 'options.costs.speed',
  });
  refuses(t, () => predicted(2, 64, { schedule: 'ring' }), {
    code: 'ERR_UNKNOWN_OPTION',
    argument: 'options.schedule',
  });
  const [group] = threadGroup(1);
  await rejects(t, () => measureCosts(group!, { dim: 0 }), { code: 'ERR_OUT_OF_RANGE', argument: 'options.dim' });
  await rejects(t, () => measureCosts(group!, { threads: 0 }), {
    code: 'ERR_OUT_OF_RANGE',
    argument: 'options.threads',
  });
  await t.notThrowsAsync(group!.barrier());
  await rejects(t, () => measureCosts({} as never), { code: 'ERR_INVALID_ARG_TYPE', argument: 'group' });
});
