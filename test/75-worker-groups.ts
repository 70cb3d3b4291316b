// Groups whose ranks are in different threads: what they give, what is copied, and what others hear of a thread that ends,
// stops or fails.

import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { attentionSync, causal, joinGroup, shard, Tensor, unshard, workerSeats } from '../lib/index.js';
import type { Sharding, WorkerSeat } from '../lib/index.js';
import type { Engine } from '../lib/sequence-parallel/engine.js';
import { SharedSigns } from '../lib/sequence-parallel/shared-signs.js';
import { now } from '../lib/sequence-parallel/waits.js';
import { WorkerEngine } from '../lib/sequence-parallel/workers.js';
import { refuses, rejects } from './helpers/errors.js';
import { onGroup, wholeOf, type Function, type Whole, smallCase } from './reference/parallel-case.js';

interface Failed {
  name: string;
  code: string;
  argument: string;
  expected: string;
  received: string;
  cause?: Failed;
}

type Answer = { result?: unknown; failed?: Failed };

/** A worker that is a rank. */
class Rank {
  readonly worker = new Worker(join(__dirname, 'groups', 'rank.cjs'), { execArgv: [] });

  constructor() {
    this.worker.setMaxListeners(0);
  }

  join(seat: WorkerSeat, fault: { at?: number; how?: 'exit' | 'stop' } = {}): Promise<Answer> {
    return this.ask({ step: 'join', seat, ...fault }, seat.ports as []);
  }

  /** Nothing where the thread ends first. */
  ask(task: object, transfer: [] = []): Promise<Answer> {
    return new Promise((resolve) => {
      this.worker.once('message', resolve);
      this.worker.once('exit', () => resolve({}));
      this.worker.postMessage(task, transfer);
    });
  }
}

const names: Record<Exclude<Function, 'striped'>, string> = {
  ring: 'ringAttention',
  tree: 'treeAttention',
  allGather: 'allGatherAttention',
  ulysses: 'ulyssesAttention',
  parallel: 'parallelAttention',
};
const everyName = Object.keys(names) as (keyof typeof names)[];

function inSharedMemory(tensor: Tensor): Tensor {
  const data = new Float32Array(new SharedArrayBuffer(4 * tensor.size));
  data.set(tensor.toFloat32());
  return Tensor.from(data, tensor.shape);
}

/** Calls on all ranks at once. */
function callAll(
  ranks: readonly Rank[],
  name: keyof typeof names,
  whole: Whole,
  { shared = false, sharding = 'contiguous' as Sharding, mask = 'causal' } = {},
): Promise<Answer[]> {
  return Promise.all(
    ranks.map((rank, n) => {
      const own = (tensor: Tensor): object => {
        const part = shard(tensor, { rank: n, size: ranks.length }, { sharding });
        const dense = Tensor.from(part.toFloat32(), part.shape);
        const { data, shape } = shared ? inSharedMemory(dense) : dense;
        return { data, shape };
      };
      const query = { data: whole.query.toFloat32(), shape: whole.query.shape };
      const tensors = [name === 'tree' ? query : own(whole.query), own(whole.key), own(whole.value)];
      return rank.ask({ step: 'call', name: names[name], tensors, options: { mask, sharding } });
    }),
  );
}

/** Plain tensors of a rank's shards. */
function shardsOf({ query, key, value }: Whole, rank: number, size: number): { data: object; shape: object }[] {
  return [query, key, value].map((tensor) => {
    const part = shard(tensor, { rank, size });
    return { data: part.toFloat32(), shape: part.shape };
  });
}

function together(name: keyof typeof names, answers: Answer[], sharding: Sharding): Tensor {
  const parts = answers.map(({ result }) => {
    const { data, shape } = result as { data: Float32Array; shape: number[] };
    return Tensor.from(data, shape);
  });
  return name === 'tree' ? parts[0]! : unshard(parts, { sharding });
}

async function withRanks(size: number, run: (ranks: Rank[]) => Promise<void>): Promise<void> {
  const ranks = Array.from({ length: size }, () => new Rank());
  try {
    await run(ranks);
  } finally {
    await Promise.all(ranks.map(({ worker }) => worker.terminate()));
  }
}

async function joined(ranks: readonly Rank[], timeout = 10_000): Promise<void> {
  const seats = workerSeats(ranks.length, { timeout });
  await Promise.all(ranks.map((rank, n) => rank.join(seats[n]!)));
}

const lost = { code: 'ERR_GROUP_FAILED', argument: 'group' };

test('the bits of a group in one thread, from memory that is shared and that is not', async (t) => {
  const whole = wholeOf(smallCase);
  await withRanks(3, async (ranks) => {
    await joined(ranks);
    for (const name of everyName) {
      for (const sharding of ['contiguous', 'zigzag', 'striped'] as const) {
        const expected = await onGroup(name, 3, sharding, { mask: causal() }, whole);
        for (const shared of [false, true]) {
          const answers = await callAll(ranks, name, whole, { shared, sharding });
          t.deepEqual(together(name, answers, sharding).data, expected.output.data, `${name}, ${sharding}`);
        }
      }
    }
    const counted = (await ranks[0]!.ask({ step: 'traffic' })).result as { receivedBytes: number };
    t.true(counted.receivedBytes > 0);
  });
});

test('one rank, in the thread that made the seat', async (t) => {
  const [seat] = workerSeats(1);
  const group = joinGroup(seat!);
  const whole = wholeOf(smallCase);
  const { output } = await onGroup('ulysses', 1, 'contiguous', {}, whole, [group]);
  const want = attentionSync(whole.query, whole.key, whole.value).output.toFloat32();
  t.true(output.toFloat32().every((x, n) => Math.abs(x - want[n]!) < 1e-6));
});

function engines(
  size: number,
  timeout: number,
  through: (rank: number, peer: number, port: MessagePort) => MessagePort = (_rank, _peer, port) => port,
): Engine[] {
  return workerSeats(size, { timeout }).map(({ rank, ports, signs, start }) => {
    const all = [...ports.slice(0, rank), null, ...ports.slice(rank)].map(
      (port, peer) => port && through(rank, peer, port),
    );
    return new WorkerEngine(rank, timeout, all, new SharedSigns(signs, size, start));
  });
}

/** A port whose messages are heard later, and its end at once. */
function late(port: MessagePort): MessagePort {
  const on = (event: string, hear: (word?: unknown) => void): void => {
    port.on(event as 'message', event === 'message' ? (word) => void setTimeout(hear, 100, word) : hear);
  };
  const rest = { unref: () => port.unref(), close: () => port.close(), postMessage: () => {} };
  return { on, ...rest } as unknown as MessagePort;
}

test('whoever hears of an error first tells the others of its cause', async (t) => {
  const [a, b, c] = engines(3, 5000, (rank, peer, port) => (rank === 1 && peer === 2 ? late(port) : port)) as Engine[];
  const waiting = [a!.receive(2, 'x'), b!.receive(0, 'x')];
  // What an abort was given as its reason need not be something that can go to another thread.
  c!.fail(new Error('stopped', { cause: Symbol('reason') }));
  for (const wait of waiting) {
    const error = (await t.throwsAsync(wait)) as Error & { received: string; cause?: Error };
    t.is(error.received, 'an error of rank 2: stopped');
    t.is(error.cause?.message, 'stopped');
  }
});

test('signs of life of a group that is months old', (t) => {
  for (const days of [0, 24, 25, 49, 51, 400]) {
    const start = now() - days * 24 * 3600e3 - 1234.5;
    const signs = new SharedSigns(SharedSigns.memory(2), 2, start);
    signs.see(1);
    const seen = signs.lastSeen(1);
    const ago = now() - seen;
    t.true(ago >= 0 && ago < 1000, `${days} days: ${ago} ms ago`);
  }
});

test('tensors in shared memory are not copied, and stay until they are released; others are copied when asked for', async (t) => {
  const [a, b] = engines(2, 5000) as [Engine, Engine];
  const shared = new Float32Array(new SharedArrayBuffer(16));
  const own = Float32Array.of(1, 2, 3, 4, 5, 6);
  const view = { dtype: 'float32', strides: [1], offset: 0 } as const;
  const sending = a.send(1, 'x', { note: 'n', tensors: [{ ...view, data: shared, shape: [4] }] });
  const got = await b.receive(0, 'x');
  shared[2] = 7;
  t.is((got.tensors[0]!.data as Float32Array)[2], 7);
  let done = false;
  void sending.then(() => (done = true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  t.false(done);
  got.release();
  await sending;
  // Every other element, and nothing around it.
  const copying = a.send(1, 'x', { note: '', tensors: [{ ...view, data: own, shape: [2], strides: [2], offset: 1 }] });
  done = false;
  void copying.then(() => (done = true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  // Not before it is asked for.
  t.false(done);
  const { tensors } = await b.receive(0, 'x');
  await copying;
  own.fill(0);
  t.deepEqual(tensors[0]!.data, Float32Array.of(2, 4));
  t.is((tensors[0]!.data as Float32Array).buffer.byteLength, 8);
  a.close();
  await rejects(t, () => b.receive(0, 'x'), { ...lost, received: /rank 0 closed/ } as never);
  await rejects(t, () => a.receive(1, 'x'), { code: 'ERR_DISPOSED', argument: 'group' });
});

test('a rank that computes, or waits for one that does, is not lost; one that does not come is', async (t) => {
  const [a, b, c] = engines(3, 40) as [Engine, Engine, Engine];
  const work = c.working(new Promise((resolve) => setTimeout(resolve, 200)));
  const chain = b.receive(2, 'x').then(() => b.send(0, 'x', { note: 'on', tensors: [] }));
  const last = a.receive(1, 'x');
  await work;
  await c.send(1, 'x', { note: '', tensors: [] });
  await chain;
  t.is((await last).note, 'on');
  await rejects(t, () => a.receive(1, 'y'), { ...lost, expected: /rank 1 within 40 ms/ } as never);
  await rejects(t, () => c.receive(0, 'y'), lost as never);
});

/** The others' ends where rank 1 ends or stops at its n-th message; undefined where it does not come to that. */
async function failsAt(
  t: ExecutionContext,
  name: keyof typeof names,
  at: number,
  how: 'exit' | 'stop',
): Promise<boolean> {
  const whole = wholeOf(smallCase);
  let reached = true;
  await withRanks(3, async (ranks) => {
    const seats = workerSeats(3, { timeout: how === 'stop' ? 250 : 10_000 });
    await Promise.all(ranks.map((rank, n) => rank.join(seats[n]!, n === 1 ? { at, how } : {})));
    const start = performance.now();
    const answers = await callAll(ranks, name, whole);
    const own = answers[1]!.result as { sent: number } | undefined;
    reached = own === undefined || own.sent >= at;
    for (const n of [0, 2]) {
      const { failed } = answers[n]!;
      // The last message of a rank may be one that another does not wait for any more.
      if (failed) t.like(failed, lost, `${name}, message ${at}`);
      if (failed && how === 'exit') t.regex(failed.received, /thread of rank 1 has ended|rank 2|rank 0/);
      if (!reached) t.is(failed, undefined);
    }
    if (how === 'exit') t.true(performance.now() - start < 5000, 'an end is heard of at once');
    // The others can form a new group, with a new thread in the place of the old one.
    if (how === 'exit' && reached) {
      ranks[1] = new Rank();
      await joined(ranks);
      const again = await callAll(ranks, name, whole);
      for (const { failed } of again) t.is(failed, undefined);
    }
  });
  return reached;
}

for (const how of ['exit', 'stop'] as const) {
  test(`in every phase of every schedule a thread may ${how}: no rank hangs, and a new group can be formed`, async (t) => {
    for (const name of everyName) {
      let at = 1;
      while (await failsAt(t, name, at, how)) at += 1;
      t.true(at > 3, `${name}: ${at}`);
    }
  });
}

test('an error of one rank is its own, and the cause for the others', async (t) => {
  const whole = wholeOf(smallCase);
  await withRanks(2, async (ranks) => {
    await joined(ranks);
    const waiting = ranks[0]!.ask({ step: 'barrier' });
    await ranks[1]!.ask({ step: 'close' });
    const { failed } = await waiting;
    t.like(failed, lost);
    t.regex(failed!.received, /rank 1 closed its group/);
    await joined(ranks);
    const other = { ...whole, value: Tensor.from(new Float32Array(2 * 61 * 7), [1, 2, 61, 7]) };
    const answers = await Promise.all(
      ranks.map((rank, n) => {
        const tensors = shardsOf(n === 1 ? other : whole, n, 2);
        return rank.ask({ step: 'call', name: 'ringAttention', tensors });
      }),
    );
    for (const answer of answers) t.like(answer.failed, { code: 'ERR_SHAPE_MISMATCH', argument: 'dims of rank 1' });
    // The group stays.
    for (const answer of await callAll(ranks, 'ring', whole)) t.is(answer.failed, undefined);
    // A read outside of the table, found as rank 1 computes.
    const ends = await Promise.all(
      ranks.map((rank, n) => {
        const query = { data: whole.query.toFloat32(), shape: whole.query.shape };
        const tensors = [query, ...shardsOf(whole, n, 2).slice(1)];
        return rank.ask({ step: 'call', name: 'treeAttention', tensors, options: n === 1 ? { wild: true } : {} });
      }),
    );
    t.like(ends[1]!.failed, { code: 'ERR_OUT_OF_RANGE', argument: 'options.score' });
    t.like(ends[0]!.failed, { ...lost, cause: { code: 'ERR_OUT_OF_RANGE', argument: 'options.score' } });
  });
});

test('a thread whose group waits for nobody can end', async (t) => {
  const code = `
    const { parentPort, workerData } = require('node:worker_threads');
    require(${JSON.stringify(join(__dirname, '..', 'dist', 'index.js'))}).joinGroup(workerData);
    parentPort.postMessage('joined');
  `;
  const [seat] = workerSeats(2);
  const worker = new Worker(code, { eval: true, workerData: seat, transferList: seat!.ports as [], execArgv: [] });
  t.is(await new Promise((resolve) => worker.once('exit', resolve)), 0);
});

test('arguments of seats', (t) => {
  refuses(t, () => workerSeats(0), { code: 'ERR_OUT_OF_RANGE', argument: 'size' });
  refuses(t, () => workerSeats(2, { timeout: 0 }), { code: 'ERR_OUT_OF_RANGE', argument: 'options.timeout' });
  refuses(t, () => joinGroup({} as never), { code: 'ERR_INVALID_ARG_TYPE', argument: 'seat' });
  const [seat] = workerSeats(2);
  joinGroup(seat!).close();
  refuses(t, () => joinGroup(seat!), { code: 'ERR_INVALID_ARG_VALUE', argument: 'seat' });
});
