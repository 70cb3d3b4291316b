// Promises: off the event loop, equal to the synchronous result, settled once, and flat in memory.

import test from 'ava';
import { attention, attentionSync, mergePartials, Tensor } from '../lib/index.js';
import { rejects } from './helpers/errors.js';
import { child, native, places, raggedCall, random, until, untilParked, whileParking } from './helpers/in-flight.js';

const shape = [2, 3, 40, 16];
const [q, k, v] = [random(shape, 1), random(shape, 2), random(shape, 3)];

test.serial('a promise brings the bits of the synchronous call', async (t) => {
  const options = { lse: true, entropy: true, rowMax: true } as const;
  const now = attentionSync(q, k, v, options);
  const later = await attention(q, k, v, options);
  for (const name of ['output', 'lse', 'entropy', 'rowMax'] as const) t.deepEqual(later[name].data, now[name].data);
});

test.serial('the event loop turns while a call is under way', async (t) => {
  await whileParking('running', async () => {
    let settled = false;
    const call = attention(q, k, v).then(() => (settled = true));
    await untilParked(1);
    const timer = await new Promise((resolve) => setTimeout(() => resolve('fired'), 1));
    t.is(timer, 'fired');
    t.false(settled);
    native.park(null);
    await call;
    t.true(settled);
  });
});

test.serial('more calls than threads all settle, each with its own result', async (t) => {
  const calls = Array.from({ length: 8 * places }, (_, i) => {
    const own = random(shape, 100 + i);
    return { own, promise: attention(own, k, v) };
  });
  for (const { own, promise } of calls) {
    t.deepEqual((await promise).output.data, attentionSync(own, k, v).output.data);
  }
});

test.serial('calls wait in the queue while all places are taken', async (t) => {
  await whileParking('queued', async () => {
    const calls = Array.from({ length: places + 3 }, () => attention(q, k, v));
    await untilParked(places);
    native.park(null);
    t.is((await Promise.all(calls)).length, places + 3);
  });
});

test.serial('a synchronous call runs although all places are taken', async (t) => {
  await whileParking('running', async () => {
    const calls = Array.from({ length: places + 1 }, () => attention(q, k, v));
    await untilParked(places);
    t.deepEqual(attentionSync(q, k, v).output.shape, shape);
    native.park(null);
    await Promise.all(calls);
  });
});

test.serial('bad arguments reject, they never throw', async (t) => {
  await rejects(t, () => attention(q, random([2, 3, 40, 8]), v), { code: 'ERR_SHAPE_MISMATCH', argument: 'key' });
  await rejects(t, () => attention(null as never, k, v), { code: 'ERR_INVALID_ARG_TYPE', argument: 'query' });
  await rejects(t, () => mergePartials(null as never), { code: 'ERR_INVALID_ARG_TYPE', argument: 'parts' });
});

test.serial('what only the addon sees comes back coded, at once or when the call runs', async (t) => {
  const bad = raggedCall([0, 7, 5, 10]);
  t.throws(() => native.runSync(...bad), { code: 'ERR_OUT_OF_RANGE' });
  const error = await new Promise<NodeJS.ErrnoException | null>((settled) => native.run(settled, ...bad));
  t.is(error?.code, 'ERR_OUT_OF_RANGE');
  t.is(await new Promise((settled) => native.run(settled, ...raggedCall([0, 5, 7, 10]))), null);
});

test.serial('partials merge in the background as at once', async (t) => {
  const parts = await Promise.all(
    [0, 20].map((start) => attention(q, k.narrow(2, start, 20), v.narrow(2, start, 20), { partial: true })),
  );
  const merged = await mergePartials(parts);
  const whole = attentionSync(q, k, v).output;
  merged.output.toFloat32().forEach((value, i) => {
    t.true(Math.abs(value - whole.toFloat32()[i]!) < 1e-5);
  });
});

test.serial('shared memory is used in place', async (t) => {
  const shared = new Float32Array(new SharedArrayBuffer(4 * q.toFloat32().length));
  shared.set(q.toFloat32());
  const out = new Float32Array(new SharedArrayBuffer(shared.byteLength));
  const output = Tensor.from(out, shape);
  const result = await attention(Tensor.from(shared, shape), k, v, { out: { output } });
  t.is(result.output, output);
  t.deepEqual([...out], [...attentionSync(q, k, v).output.toFloat32()]);
});

test.serial('the native functions refuse nonsense', (t) => {
  const numbers = new Float64Array(3);
  const nothing = (): void => t.fail();
  const run = native.run as (...given: unknown[]) => number;
  for (const given of [
    [],
    [nothing],
    [nothing, 1],
    [nothing, numbers],
    [nothing, [1], []],
    [nothing, new Float32Array(40), []],
    [nothing, numbers, [1]],
    [nothing, numbers, [new DataView(new ArrayBuffer(8))]],
    [nothing, numbers, [], {}],
    [nothing, numbers, [], undefined, 1],
    [nothing, numbers, [], undefined, undefined, 1],
    [undefined, ...raggedCall([0, 10])],
  ]) {
    const error = t.throws(() => run(...given)) as NodeJS.ErrnoException;
    t.is(error.code, 'ERR_INVALID_ARG_TYPE');
  }
  t.is((t.throws(() => run(nothing, numbers, [])) as NodeJS.ErrnoException).code, 'ERR_OUT_OF_RANGE');
  t.is((t.throws(() => native.park('somewhere' as never)) as NodeJS.ErrnoException).code, 'ERR_INVALID_ARG_VALUE');
  native.cancel(123456);
  native.cancel(undefined as never);
  const buffers = Object.defineProperty([], '0', {
    get: () => {
      throw new Error('getter');
    },
  });
  const thrown = t.throws(() => native.runSync(numbers, buffers));
  t.is(thrown?.message, 'getter');
});

test.serial('heap and memory stay flat over many calls', async (t) => {
  const { code, stderr, stdout } = await child('flat-memory', ['8000'], ['--expose-gc']);
  t.is(code, 0, stderr);
  const { heapGrowth, residentGrowth, externalGrowth } = JSON.parse(stdout) as Record<string, number>;
  t.true(heapGrowth! < 2 ** 20, stdout);
  t.true(externalGrowth! < 2 ** 20, stdout);
  t.true(residentGrowth! < 24 * 2 ** 20, stdout);
});

test.serial('a pending call keeps the process alive, a settled one does not', async (t) => {
  const { code, stdout, stderr } = await child('endings', ['main', 'drain', 'running']);
  t.is(code, 0, stderr);
  t.regex(stdout, /all settled/);
});

test.after(async () => until(() => native.parked() === 0, 'no call stands parked'));

test("calls that a user's getters make in between leave a call alone", async (t) => {
  const waves = (extents: number[], step: number): Tensor => {
    const count = extents.reduce((a, b) => a * b);
    return Tensor.from(
      Float32Array.from({ length: count }, (_, i) => Math.sin(i * step)),
      extents,
    );
  };
  const [query, key, value] = [waves([1, 2, 5, 16], 0.1), waves([1, 2, 7, 16], 0.2), waves([1, 2, 7, 16], 0.3)];
  const other = waves([1, 1, 3, 8], 0.4);
  const expected = attentionSync(query, key, value).output.data;
  let asked = 0;
  Object.defineProperty(query.data.buffer, 'resizable', {
    get() {
      asked += 1;
      attentionSync(other, other, other);
      return false;
    },
  });
  t.deepEqual((await attention(query, key, value)).output.data, expected);
  t.true(asked > 0);
});
