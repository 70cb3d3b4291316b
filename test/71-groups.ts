// Groups: messages between ranks, and what the others hear of a rank that fails, is lost or is late.

import test from 'ava';
import { AttentionError, causal, ringAttention, score, Tensor, threadGroup } from '../lib/index.js';
import type { AbortSignalLike, Group } from '../lib/index.js';
import type { Engine } from '../lib/sequence-parallel/engine.js';
import { threadEngines } from '../lib/sequence-parallel/threads.js';
import { isRefusal, refuses, rejects } from './helpers/errors.js';
import { filled } from './helpers/tensors.js';
import { everyFunction, onGroup, onRank, wholeOf, tinyCase, usualSharding } from './reference/parallel-case.js';

const lost = { code: 'ERR_GROUP_FAILED', argument: 'group' } as const;

test('messages arrive in order, as copies, and are counted', async (t) => {
  const [a, b] = threadGroup(2) as [Group, Group];
  t.deepEqual([a.rank, b.rank, a.size, String(b)], [0, 1, 2, 'Group(rank 1 of 2)']);
  const first = filled([2, 3]);
  const sending = Promise.all([a.send(1, [first, filled([4], 'bfloat16')]), a.send(1, [filled([5])])]);
  const received = [await b.receive(0), await b.receive(0)];
  await sending;
  t.deepEqual(
    received.map((tensors) => tensors.map(({ shape, dtype }) => [...shape, dtype])),
    [
      [
        [2, 3, 'float32'],
        [4, 'bfloat16'],
      ],
      [[5, 'float32']],
    ],
  );
  t.deepEqual(received[0]![0]!.data, first.data);
  t.not(received[0]![0]!.data, first.data);
  t.deepEqual(a.traffic, { sentBytes: 24 + 8 + 20, receivedBytes: 0, sentMessages: 2, receivedMessages: 0 });
  t.deepEqual(b.traffic, { sentBytes: 0, receivedBytes: 52, sentMessages: 0, receivedMessages: 2 });
});

test('collective operations', async (t) => {
  const groups = threadGroup(3);
  const of = (value: number): Tensor => Tensor.from(Float32Array.of(value), [1]);
  const values = (tensors: Tensor[]): number[] => tensors.map(({ data }) => (data as Float32Array)[0]!);
  const gathered = await Promise.all(groups.map((group) => group.allGather(of(group.rank))));
  gathered.forEach((tensors) => t.deepEqual(values(tensors), [0, 1, 2]));
  const exchanged = await Promise.all(
    groups.map((group) => group.allToAll([0, 1, 2].map((to) => of(10 * group.rank + to)))),
  );
  exchanged.forEach((tensors, rank) => t.deepEqual(values(tensors), [rank, 10 + rank, 20 + rank]));
  const told = await Promise.all(groups.map((group) => group.broadcast(1, group.rank === 1 ? of(7) : undefined)));
  t.deepEqual(values(told), [7, 7, 7]);
  let here = 0;
  await Promise.all(
    groups.map(async (group) => {
      await new Promise((resolve) => setTimeout(resolve, 5 * group.rank));
      here += 1;
      await group.barrier();
      t.is(here, 3);
    }),
  );
});

test('operations under way at once do not mix', async (t) => {
  const groups = threadGroup(3);
  const whole = wholeOf(tinyCase);
  const expected = await onGroup('ring', 3, 'contiguous', { mask: causal() }, whole);
  const [first, second] = await Promise.all([
    onGroup('ring', 3, 'contiguous', { mask: causal() }, whole, groups),
    onGroup('tree', 3, 'contiguous', { mask: causal() }, whole, groups),
  ]);
  t.deepEqual(first!.output.data, expected.output.data);
  const [got, want] = [second!.output.toFloat32(), first!.output.toFloat32()];
  t.true(got.every((x, n) => Math.abs(x - want[n]!) < 1e-6));
});

test('arguments of groups', async (t) => {
  refuses(t, () => threadGroup(0), { code: 'ERR_OUT_OF_RANGE', argument: 'size' });
  refuses(t, () => threadGroup(2, { timeout: 0 }), { code: 'ERR_OUT_OF_RANGE', argument: 'options.timeout' });
  refuses(t, () => threadGroup(2, { time: 1 } as never), { code: 'ERR_UNKNOWN_OPTION', argument: 'options.time' });
  const [a] = threadGroup(2) as [Group, Group];
  await rejects(t, () => a.send(2, []), { code: 'ERR_OUT_OF_RANGE', argument: 'to' });
  await rejects(t, () => a.send(1, [3 as never]), { code: 'ERR_INVALID_ARG_TYPE', argument: 'tensors[0]' });
  await rejects(t, () => a.allToAll([filled([1])]), { code: 'ERR_SHAPE_MISMATCH', argument: 'tensors' });
});

/** How each of the ranks' operations ended. */
async function endsOf(operations: Promise<unknown>[]): Promise<unknown[]> {
  const settled = await Promise.allSettled(operations);
  return settled.map((one) => (one.status === 'rejected' ? (one.reason as unknown) : null));
}

test('a rank that does not come is lost to the others in time, and finds the group ended when it does', async (t) => {
  const whole = wholeOf(tinyCase);
  for (const name of everyFunction) {
    const groups = threadGroup(3, { timeout: 40 });
    const start = performance.now();
    const ends = await endsOf(groups.slice(1).map((group) => onRank(group, name, usualSharding(name), {}, whole)));
    t.true(performance.now() - start < 20_000, 'long before a timeout that nobody asked for');
    for (const end of ends) isRefusal(t, end, { ...lost, expected: /rank 0 within 40 ms/ });
    await rejects(t, () => onRank(groups[0]!, name, usualSharding(name), {}, whole), lost);
    await rejects(t, () => groups[1]!.barrier(), lost);
    await t.notThrowsAsync(onGroup(name, 3, usualSharding(name), {}, whole));
  }
});

test('a rank that computes for long is not lost', async (t) => {
  const [engine, other] = threadEngines(2, 30) as [Engine, Engine];
  const work = engine.working(new Promise((resolve) => setTimeout(resolve, 150)));
  const received = other.receive(0, 'late');
  await work;
  await engine.send(1, 'late', { note: 'here', tensors: [] });
  t.is((await received).note, 'here');
});

test('nor is one that waits for it; ranks that wait for each other are', async (t) => {
  const [a, b, c] = threadEngines(3, 30) as [Engine, Engine, Engine];
  const work = c.working(new Promise((resolve) => setTimeout(resolve, 200)));
  const chain = b.receive(2, 'x').then(() => b.send(0, 'x', { note: 'on', tensors: [] }));
  const last = a.receive(1, 'x');
  await work;
  await c.send(1, 'x', { note: '', tensors: [] });
  await chain;
  t.is((await last).note, 'on');
  const ends = await endsOf([a.receive(1, 'y'), b.receive(0, 'y')]);
  for (const end of ends) isRefusal(t, end, lost);
});

test('an error of one rank is its own, and the cause for the others', async (t) => {
  const whole = wholeOf(tinyCase);
  const groups = threadGroup(3);
  // A read outside of the table, found as rank 2 computes.
  const wild = score('(s, i, j, { table }) => s + table(i)', { table: Float32Array.of(1) });
  const ends = await endsOf(
    groups.map((group) => onRank(group, 'ring', 'contiguous', group.rank === 2 ? { score: wild } : {}, whole)),
  );
  isRefusal(t, ends[2], { code: 'ERR_OUT_OF_RANGE', argument: 'options.score' });
  for (const end of ends.slice(0, 2)) {
    isRefusal(t, end, { ...lost, received: /an error of rank 2: options\.score: / });
    t.is((end as AttentionError).cause, ends[2]);
  }
});

test('arguments of one rank that are wrong: the others hear of it, and the group stays', async (t) => {
  const whole = wholeOf(tinyCase);
  const groups = threadGroup(3);
  const ends = await endsOf(
    groups.map((group) =>
      onRank(group, 'ring', 'contiguous', (group.rank === 1 ? { scalee: 1 } : {}) as object, whole),
    ),
  );
  isRefusal(t, ends[1], { code: 'ERR_UNKNOWN_OPTION', argument: 'options.scalee' });
  for (const end of [ends[0], ends[2]]) isRefusal(t, end, { ...lost, received: /on rank 1 options\.scalee/ });
  await t.notThrowsAsync(onGroup('ring', 3, 'contiguous', {}, whole, groups));
});

test('shards that do not fit together: the same error on every rank, and the group stays', async (t) => {
  const groups = threadGroup(3);
  const whole = wholeOf(tinyCase);
  const other = { ...whole, value: filled([1, 3, 12, 8]) };
  const ends = await endsOf(
    groups.map((group) => onRank(group, 'ring', 'contiguous', {}, group.rank === 1 ? other : whole)),
  );
  for (const end of ends) {
    isRefusal(t, end, { code: 'ERR_SHAPE_MISMATCH', argument: 'dims of rank 1', expected: /\[4, 4\]/ });
  }
  const shorter = wholeOf({ ...tinyCase, queries: [6], keys: [6] });
  const uneven = await endsOf(
    groups.map((group) => onRank(group, 'striped', 'striped', {}, group.rank === 1 ? shorter : whole)),
  );
  for (const end of uneven) isRefusal(t, end, { code: 'ERR_SHAPE_MISMATCH', argument: 'query' });
  const different = await endsOf(
    groups.map((group) => onRank(group, group.rank === 0 ? 'ring' : 'tree', 'contiguous', {}, whole)),
  );
  for (const end of different) isRefusal(t, end, { ...lost, received: /treeAttention on rank 1/ });
  const queries = await endsOf(
    groups.map((group) =>
      onRank(group, 'tree', 'contiguous', {}, group.rank === 2 ? { ...whole, query: filled([1, 3, 5, 4]) } : whole),
    ),
  );
  for (const end of queries) isRefusal(t, end, { code: 'ERR_SHAPE_MISMATCH', argument: 'query of rank 2' });
  await t.notThrowsAsync(onGroup('ring', 3, 'contiguous', {}, whole, groups));
});

test('an aborted rank: an AbortError there, a failed group for the others', async (t) => {
  const controller = new AbortController();
  const groups = threadGroup(2);
  const whole = wholeOf({ ...tinyCase, queries: [3000], keys: [3000] });
  const operations = groups.map((group) =>
    onRank(group, 'ring', 'contiguous', group.rank === 0 ? { signal: controller.signal } : {}, whole),
  );
  setTimeout(() => controller.abort('enough'), 5);
  const [own, theirs] = await endsOf(operations);
  t.like(own, { name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' });
  isRefusal(t, theirs, lost);
});

test('a signal that throws on one rank: its own error there, and the group stays', async (t) => {
  const throws = (): never => {
    throw new Error('no');
  };
  const silent = { aborted: false, addEventListener() {}, removeEventListener() {} };
  const groups = threadGroup(2, { timeout: 5000 });
  const { q, k, v } = { q: filled([1, 2, 4, 8]), k: filled([1, 2, 4, 8]), v: filled([1, 2, 4, 8]) };
  const call = (signal: AbortSignalLike): Promise<PromiseSettledResult<unknown>[]> =>
    Promise.allSettled(groups.map((group, rank) => ringAttention(group, q, k, v, rank === 0 ? { signal } : {})));
  const [own, other] = await call({ ...silent, addEventListener: throws });
  isRefusal(t, (own as PromiseRejectedResult).reason, { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.signal' });
  t.is((other as PromiseRejectedResult).reason.code, 'ERR_GROUP_FAILED');
  const settled = await call({ ...silent, removeEventListener: throws });
  t.deepEqual(
    settled.map(({ status }) => status),
    ['fulfilled', 'fulfilled'],
  );
});

test('an abort ends waiting for a rank that does not come', async (t) => {
  const controller = new AbortController();
  const [group] = threadGroup(2) as [Group, Group];
  const waiting = onRank(group, 'ring', 'contiguous', { signal: controller.signal }, wholeOf(tinyCase));
  setTimeout(() => controller.abort(), 5);
  await t.throwsAsync(waiting, { name: 'AbortError' });
});

test('closing a group ends it', async (t) => {
  const [a, b] = threadGroup(2) as [Group, Group];
  const waiting = a.receive(1);
  b.close();
  await rejects(t, () => waiting, { ...lost, received: /rank 1 closed/ });
  await rejects(t, () => b.barrier(), { code: 'ERR_DISPOSED', argument: 'group' });
});
