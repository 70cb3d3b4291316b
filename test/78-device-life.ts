// Calls on a device and the ends of environments, processes and devices. On the interpreter of test/ptx, as 72-cuda.ts.

import test from 'ava';
import { child, stages } from './helpers/in-flight.js';
import { interpreted, library, whyNoInterpreter } from './helpers/interpreter.js';
import { needing } from './helpers/needing.js';

/** A test that needs the interpreter. */
const onDevice = needing(whyNoInterpreter(), 'CUDA_REQUIRED', test.serial);

const variables = { FUSED_ATTENTION_LIBCUDA: library, PTX_RACES: '0', PTX_ASYNC: '1' };
const ended = (script: string, arguments_: readonly string[]) => child(script, arguments_, [], 60_000, variables);

for (const stage of stages) {
  for (const [ending, expected] of Object.entries({ exit: 7, throw: 1, 'exit-handler': 7, drain: 0 })) {
    onDevice(`a process ends by ${ending} with calls on a device ${stage}`, async (t) => {
      const { code, signal, stdout, stderr } = await ended('endings', ['main', ending, stage, 'cuda']);
      t.is(signal, null, stderr);
      t.is(code, expected, stderr);
      if (ending === 'drain') t.regex(stdout, /all settled/);
    });
  }
  for (const [ending, expected] of [
    ['stay', { code: 1 }],
    ['exit', { code: 7 }],
    ['throw', { code: 1, error: 'on purpose' }],
    ['exit-handler', { code: 7 }],
    ['drain', { code: 0 }],
  ] as const) {
    onDevice(`a worker ends by ${ending} with calls on a device ${stage}`, async (t) => {
      const { code, signal, stdout, stderr } = await ended('endings', ['worker', ending, stage, 'cuda']);
      t.is(signal, null, stderr);
      t.is(code, 0, stderr);
      t.deepEqual(JSON.parse(stdout.trim().split('\n').at(-1)!), expected);
    });
  }
}

onDevice('a process, and workers, end while kernels run', async (t) => {
  const left = await ended('device-computing', ['exit']);
  t.is(left.signal, null, left.stderr);
  t.is(left.code, 5, left.stderr);
  const { code, signal, stdout, stderr } = await ended('device-computing', ['terminate']);
  t.is(signal, null, stderr);
  t.is(code, 0, stderr);
  t.is(stdout.trim(), '1 1');
});

onDevice('an abort is heard while pairs of a mask are looked at', (t) => {
  const { result } = interpreted(`
    const native = require('./lib/native.cts').loadNative();
    const q = Tensor.from(new Uint16Array(16384 * 64), [1, 1, 16384, 64], { dtype: 'float16' });
    const options = { device: 'cuda', mask: fused.mask('(i, j) => (i * j) % 3 === 1') };
    let start = performance.now();
    fused.explain(q, q, q, options);
    const all = performance.now() - start;
    const controller = new AbortController();
    native.park('running');
    const call = fused.attention(q, q, q, { ...options, signal: controller.signal }).catch(() => {});
    while (native.parked() === 0) await new Promise((resolve) => setImmediate(resolve));
    native.park(null);
    controller.abort();
    start = performance.now();
    await call;
    return [all, performance.now() - start];
  `) as { result: [number, number] };
  // It looks at all pairs, too.
  const [all, aborted] = result;
  t.true(aborted < all / 3, `${aborted} of ${all} ms`);
});

onDevice('calls on a device leave the pool to others', (t) => {
  const { result } = interpreted(`
    const native = require('./lib/native.cts').loadNative();
    const { threads } = native.info();
    const q = Tensor.from(new Uint16Array(16 * 64).fill(0x3c00), [1, 1, 16, 64], { dtype: 'float16' });
    const until = async (count) => { while (native.parked() !== count) await new Promise((resolve) => setImmediate(resolve)); };
    native.park('running');
    const calls = Array.from({ length: threads + 2 }, () => fused.attention(q, q, q, { device: 'cuda' }));
    await until(threads + 2);
    calls.push(...Array.from({ length: threads + 1 }, () => fused.attention(tensor, tensor, tensor)));
    await until(2 * threads + 2);
    native.park(null);
    return (await Promise.all(calls)).every(({ output }) => Math.abs(output.toFloat32()[9] - 1) < 2 ** -10);
  `);
  t.true(result);
});

onDevice('a device that has failed says so in every call, and the CPU goes on', (t) => {
  const { result } = interpreted(
    `
    const half = Tensor.from(new Uint16Array(512 * 64).fill(0x3c00), [1, 1, 512, 64], { dtype: 'float16' });
    const there = await half.to('cuda');
    const other = await half.to('cuda:1');
    const refusal = async (call) => { try { await call(); return 'computed'; } catch ({ code, argument, received }) { return [code, argument, received]; } };
    const seen = [];
    for (const call of [() => fused.attention(there, there, there), () => fused.attention(there, there, there), () => attentionSync(half, half, half, { device: 'cuda' }),
      () => half.to('cuda'), () => there.to('cpu')]) seen.push(await refusal(call));
    there.dispose();
    const cpu = (await fused.attention(tensor, tensor, tensor)).output.toFloat32()[3];
    return [seen, cpu, (await other.to('cpu')).data[100], devices().length];
  `,
    { PTX_SECONDS: '0', PTX_DEVICES: '2', PTX_ASYNC: '1' },
  );
  const [seen, cpu, elsewhere, count] = result as [[string, string, string][], number, number, number];
  for (const [code, , received] of seen) {
    t.is(code, 'ERR_INTERNAL');
    t.regex(received, /CUDA_ERROR_LAUNCH_TIMEOUT .*; nothing more can be done with the device in this process/);
  }
  t.true(Math.abs(cpu - 1) < 1e-6);
  t.deepEqual([elsewhere, count], [0x3c00, 3]);
});
