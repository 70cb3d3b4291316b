// AbortSignal: when it is heard, what the promise rejects with, and that nothing stays behind.

import { getEventListeners } from 'node:events';

import test from 'ava';
import type { ExecutionContext } from 'ava';
import { attention, attentionSync, KvCache, mergePartials, neighborhood, not, Tensor } from '../lib/index.js';
import type { AbortSignalLike } from '../lib/index.js';
import { rejects } from './helpers/errors.js';
import { native, places, random, stages, until, untilParked, whileParking } from './helpers/in-flight.js';

const shape = [2, 3, 40, 16];
const [q, k, v] = [random(shape, 1), random(shape, 2), random(shape, 3)];

async function isAborted(t: ExecutionContext, promise: Promise<unknown>, reason: unknown): Promise<void> {
  const error = (await t.throwsAsync(promise)) as NodeJS.ErrnoException;
  t.is(error.name, 'AbortError');
  t.is(error.code, 'ABORT_ERR');
  t.is(error.cause, reason);
}

test.serial('an aborted signal rejects at once, with its reason', async (t) => {
  const reason = new Error('too late');
  const signal = AbortSignal.abort(reason);
  await isAborted(t, attention(q, k, v, { signal }), reason);
  const part = attentionSync(q, k, v, { partial: true });
  await isAborted(t, mergePartials([part, part], { signal }), reason);
  const plain = AbortSignal.abort();
  await isAborted(t, attention(q, k, v, { signal: plain }), plain.reason);
  t.is(getEventListeners(signal, 'abort').length, 0);
});

for (const stage of stages) {
  test.serial(`a call that is ${stage} stops, and gives everything back`, async (t) => {
    await whileParking(stage, async () => {
      const controller = new AbortController();
      const out = { output: random(shape) };
      const call = attention(q, k, v, { out, signal: controller.signal });
      await untilParked(1);
      t.is(getEventListeners(controller.signal, 'abort').length, 1);
      t.throws(() => attentionSync(q, k, v, { out }), { code: 'ERR_BUFFER_IN_USE' });
      const reason = { any: 'value' };
      controller.abort(reason);
      await isAborted(t, call, reason);
      t.is(getEventListeners(controller.signal, 'abort').length, 0);
      t.is(native.parked(), 0);
      t.notThrows(() => attentionSync(q, k, v, { out }));
    });
  });
}

test.serial('a call stops while its mask is looked at', async (t) => {
  // Which pairs are seen takes many seconds to tell here, before the first score is made.
  const mask = not(neighborhood({ grid: [256, 256], window: 63, dilation: 4 }));
  const x = Tensor.from(new Float32Array(2 * 65536), [1, 1, 65536, 2]);
  const controller = new AbortController();
  const call = attention(x, x, x, { mask, signal: controller.signal });
  await new Promise((resolve) => setTimeout(resolve, 100));
  const start = performance.now();
  controller.abort('enough');
  await isAborted(t, call, 'enough');
  t.true(performance.now() - start < 3000);
});

test.serial('a call that waits in the queue is withdrawn from it', async (t) => {
  await whileParking('running', async () => {
    const running = Array.from({ length: places }, () => attention(q, k, v));
    await untilParked(places);
    const controller = new AbortController();
    const out = { output: random(shape) };
    const waiting = attention(q, k, v, { out, signal: controller.signal });
    controller.abort('changed my mind');
    await isAborted(t, waiting, 'changed my mind'); // while all places are still taken
    t.is(native.parked(), places);
    t.notThrows(() => attentionSync(q, k, v, { out }));
    native.park(null);
    await Promise.all(running);
  });
});

test.serial('a long call stops between tiles', async (t) => {
  const long = [1, 16, 16384, 64];
  const [a, b, c] = [random(long, 4), random(long, 5), random(long, 6)];
  const controller = new AbortController();
  const { error, took } = await whileParking('running', async () => {
    const call = attention(a, b, c, { signal: controller.signal }).catch((reason: unknown) => reason as Error);
    await untilParked(1); // under way, past its planning
    native.park(null);
    const from = performance.now();
    controller.abort();
    return { error: (await call) as Error, took: performance.now() - from };
  });
  t.is(error.name, 'AbortError');
  t.true(took < 500, `${took} ms`); // the whole call takes many seconds; bench/event-loop.ts measures against 20 ms
});

test.serial('listeners go when calls settle by themselves', async (t) => {
  const { signal } = new AbortController();
  await attention(q, k, v, { signal });
  await t.throwsAsync(attention(q, k, random([1, 1, 1, 1]), { signal }));
  await Promise.all(Array.from({ length: 20 }, () => attention(q, k, v, { signal })));
  t.is(getEventListeners(signal, 'abort').length, 0);
});

test.serial('an abort after settling changes nothing', async (t) => {
  const controller = new AbortController();
  const { output } = await attention(q, k, v, { signal: controller.signal });
  controller.abort();
  t.deepEqual(output.data, attentionSync(q, k, v).output.data);
});

test.serial('one signal stops many calls', async (t) => {
  await whileParking('running', async () => {
    const controller = new AbortController();
    const calls = Array.from({ length: places + 5 }, () => attention(q, k, v, { signal: controller.signal }));
    await untilParked(places);
    controller.abort('all');
    for (const call of calls) await isAborted(t, call, 'all');
    t.is(getEventListeners(controller.signal, 'abort').length, 0);
  });
});

test.serial('aborts at any moment end in a result or an AbortError', async (t) => {
  const expected = attentionSync(q, k, v).output.data;
  const counts = { fulfilled: 0, rejected: 0 };
  for (let round = 0; round < 300; round += 1) {
    const controller = new AbortController();
    const call = attention(q, k, v, { signal: controller.signal });
    for (let turn = round % 4; turn > 0; turn -= 1) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(round);
    const [settled] = await Promise.allSettled([call]);
    counts[settled.status] += 1;
    if (settled.status === 'fulfilled') t.deepEqual(settled.value.output.data, expected);
    else t.is((settled.reason as Error).cause, round);
  }
  t.true(counts.rejected > 0);
});

test.serial(
  'a signal that throws before there is a job: an error with a code, and nothing of the call runs',
  async (t) => {
    const silent = { aborted: false, addEventListener() {}, removeEventListener() {} };
    const throws = (): never => {
      throw new Error('no');
    };
    /** Aborted is read when arguments are checked, and again when it is listened to. */
    const unreadable = (from: number): AbortSignalLike => {
      let reads = 0;
      return Object.defineProperty({ ...silent }, 'aborted', { get: () => ((reads += 1) >= from ? throws() : false) });
    };
    const signals: [AbortSignalLike, string][] = [
      [{ ...silent, addEventListener: throws }, 'options.signal'],
      [unreadable(1), 'options.signal.aborted'],
      [unreadable(2), 'options.signal.aborted'],
      [unreadable(3), 'options.signal.aborted'],
    ];
    const cache = new KvCache({ heads: 3, dim: 16, batch: 2 });
    for (const [signal, argument] of signals) {
      const refusal = { code: 'ERR_INVALID_ARG_VALUE', argument } as const;
      await rejects(t, () => cache.attend(q, { k, v, signal }), refusal);
      t.is(cache.length, 0);
      cache.append(k, v); // nor is the cache in use
      cache.truncate(0);
    }
    await rejects(t, () => attention(q, k, v, { signal: unreadable(3) }), {
      code: 'ERR_INVALID_ARG_VALUE',
      argument: 'options.signal.aborted',
    });
  },
);

test.serial('a signal that throws when it is let go of changes nothing', async (t) => {
  const signal: AbortSignalLike = {
    aborted: false,
    addEventListener() {},
    removeEventListener() {
      throw new Error('no');
    },
  };
  const { output } = await attention(q, k, v, { signal });
  t.deepEqual(output.data, attentionSync(q, k, v).output.data);
});

test.serial('a reason that cannot be read: still an AbortError', async (t) => {
  const unreadable = (abort: (listener: () => void) => void, aborted = false): AbortSignalLike => ({
    aborted,
    get reason(): never {
      throw new Error('no');
    },
    addEventListener: (_, listener) => abort(listener),
    removeEventListener() {},
  });
  const isRejected = async (signal: AbortSignalLike): Promise<void> => {
    const error = (await t.throwsAsync(attention(q, k, v, { signal }))) as NodeJS.ErrnoException;
    t.is(error.code, 'ABORT_ERR');
    t.is((error.cause as { argument?: string }).argument, 'options.signal.reason');
  };
  await isRejected(unreadable(() => undefined, true));
  await isRejected(unreadable((listener) => listener()));
  await whileParking('running', () => isRejected(unreadable((listener) => setImmediate(listener))));
});

test.serial('an abort that is heard while the signal is listened to: nothing of the call runs', async (t) => {
  const cache = new KvCache({ heads: 3, dim: 16, batch: 2 });
  const signal: AbortSignalLike = {
    aborted: false,
    reason: 'at once',
    addEventListener: (_, listener) => listener(),
    removeEventListener() {},
  };
  await isAborted(t, cache.attend(q, { k, v, signal }), 'at once');
  t.is(cache.length, 0);
});

test.after(async () => until(() => native.parked() === 0, 'no call stands parked'));
