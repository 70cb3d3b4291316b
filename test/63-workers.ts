// Several environments in one process: one pool, one table of memory in use, and each worker's end its own affair.

import { Worker } from 'node:worker_threads';
import { join } from 'node:path';

import test from 'ava';
import { attention, attentionSync, Tensor } from '../lib/index.js';
import { refuses } from './helpers/errors.js';
import { child, native, over, random, size, stages, until, untilParked, whileParking } from './helpers/in-flight.js';

const script = join(__dirname, 'lifecycle', 'worker.cjs');
const shape = [1, 4, 48, 16];
const [q, k, v] = [random(shape, 1), random(shape, 2), random(shape, 3)];

function shared(tensor: Tensor): Tensor {
  const data = new Float32Array(new SharedArrayBuffer(4 * size(tensor.shape)));
  data.set(tensor.toFloat32());
  return Tensor.from(data, tensor.shape);
}

function start(task: object): { done: Promise<{ failed?: string; output?: Float32Array }>; worker: Worker } {
  const worker = new Worker(script, { workerData: task });
  const done = new Promise<{ failed?: string }>((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
  return { done, worker };
}

test.serial('workers compute side by side, with the bits of the main thread', async (t) => {
  const inputs = [q, k, v].map((tensor) => shared(tensor).data);
  const expected = attentionSync(q, k, v).output.data;
  const workers = Array.from({ length: 6 }, () => start({ inputs, shape, calls: 40 }));
  const here = Promise.all(Array.from({ length: 40 }, () => attention(q, k, v)));
  for (const { done } of workers) {
    const { failed, output } = await done;
    t.is(failed, undefined);
    t.deepEqual(output, expected as Float32Array);
  }
  for (const { output } of await here) t.deepEqual(output.data, expected);
  await Promise.all(workers.map(({ worker }) => worker.terminate()));
});

test.serial('memory in use by one thread is in use for all', async (t) => {
  const output = over(new SharedArrayBuffer(4 * size(shape)), shape);
  const inputs = [q, k, v].map((tensor) => shared(tensor).data);
  await whileParking('running', async () => {
    const { done, worker } = start({ inputs, shape, calls: 1, out: output.data });
    await untilParked(1);
    refuses(t, () => attentionSync(q, k, v, { out: { output } }), {
      code: 'ERR_BUFFER_IN_USE',
      argument: 'options.out.output',
    });
    refuses(t, () => attentionSync(output, k, v), { code: 'ERR_BUFFER_IN_USE', argument: 'query' });
    // A worker that is ended lets go of it.
    await worker.terminate();
    done.catch(() => {});
    t.is(native.parked(), 0);
    t.notThrows(() => attentionSync(q, k, v, { out: { output } }));
  });
});

for (const stage of stages) {
  for (const [ending, expected] of [
    ['stay', { code: 1 }],
    ['exit', { code: 7 }],
    ['throw', { code: 1, error: 'on purpose' }],
    ['reject', { code: 1, error: 'on purpose' }],
    ['exit-handler', { code: 7 }],
    ['drain', { code: 0 }],
  ] as const) {
    const how = ending === 'stay' ? 'is terminated' : `ends by ${ending}`;
    test.serial(`a worker ${how} with calls ${stage} and waiting`, async (t) => {
      const { code, signal, stdout, stderr } = await child('endings', ['worker', ending, stage]);
      t.is(signal, null, stderr);
      t.is(code, 0, stderr);
      t.deepEqual(JSON.parse(stdout.trim().split('\n').at(-1)!), expected);
    });
  }
}

test.serial('twenty workers come and go with calls in flight', async (t) => {
  const inputs = [q, k, v].map((tensor) => shared(tensor).data);
  await whileParking('running', async () => {
    const workers = Array.from({ length: 20 }, () => start({ inputs, shape, calls: 3 }));
    for (const { done } of workers) done.catch(() => {});
    await until(() => native.parked() === native.info().threads, 'the pool is full');
    await Promise.all(workers.map(({ worker }) => worker.terminate()));
    t.is(native.parked(), 0);
  });
  t.deepEqual((await attention(q, k, v)).output.data, attentionSync(q, k, v).output.data);
});

test.serial('workers are terminated while their calls compute', async (t) => {
  const { code, signal, stdout, stderr } = await child('terminate-while-computing');
  t.is(signal, null, stderr);
  t.is(code, 0, stderr);
  t.is(stdout, 'ok\n');
});

test.serial('a worker is terminated while a mask of its is looked at', async (t) => {
  const { code, signal, stdout, stderr } = await child('terminate-while-planning');
  t.is(signal, null, stderr);
  t.is(code, 0, stderr);
  t.true(Number(stdout) < 5000, stdout);
});

test.serial('the library stays loaded when the only worker that used it ends', async (t) => {
  if (process.platform !== 'linux') {
    t.pass('reads /proc');
    return;
  }
  const { code, stdout, stderr } = await child('only-in-worker');
  t.is(code, 0, stderr);
  t.is(stdout, 'before false, after true\n');
});

test.after(async () => until(() => native.parked() === 0, 'no call stands parked'));
