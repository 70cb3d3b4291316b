// explain and devices: numbers that can be counted by hand, and the environment variables, each read in its own process.

import { cpus } from 'node:os';

import test from 'ava';
import { attentionSync, causal, devices, explain, slidingWindow, Tensor } from '../lib/index.js';
import { inProcess } from './helpers/in-process.js';
import { filled } from './helpers/tensors.js';

const square = (n: number, heads = 2): Tensor => filled([1, heads, n, 16]);

test('devices: this processor', (t) => {
  const [cpu, ...others] = devices();
  t.deepEqual(others, []);
  t.is(cpu!.device, 'cpu');
  t.true(cpu!.isas.includes(cpu!.isa));
  t.is(cpu!.isas.at(-1), 'portable');
  t.true(Number.isInteger(cpu!.threads) && cpu!.threads >= 1 && cpu!.threads <= cpus().length);
  t.not(cpu!.name, '');
});

test('explain: counts of a dense call', (t) => {
  const [n, heads] = [512, 2];
  const tensor = square(n, heads);
  const account = explain(tensor, tensor, tensor, { threads: 1 });
  t.is(account.device, 'cpu');
  t.true(account.kernel.includes(devices()[0]!.isa));
  t.is(account.flops, 2 * heads * n * n * (16 + 16));
  t.is(account.bytes, 4 * 4 * heads * n * 16);
  t.is(account.tiles.partial, 0);
  t.is(account.tiles.skipped, 0);
  t.is(account.tiles.full, heads * Math.ceil(n / account.tile.queries) * Math.ceil(n / account.tile.keys));
  t.is(account.threads, 1);
  t.true(account.tasks >= 1 && account.chunk >= account.tile.keys && account.workspaceBytes > 0);
});

test('explain: a rule is counted by the key', (t) => {
  const n = 512;
  const tensor = square(n);
  const half = explain(tensor, tensor, tensor, { mask: causal() });
  t.is(half.flops, 2 * 2 * ((n * (n + 1)) / 2) * 32);
  const band = explain(tensor, tensor, tensor, { mask: [causal(), slidingWindow(15, 0)] });
  t.is(band.flops, 2 * 2 * (16 * n - 120) * 32);
  const all = half.tiles.full + half.tiles.partial + half.tiles.skipped;
  t.is(band.tiles.full + band.tiles.partial + band.tiles.skipped, all);
  t.true(band.tiles.skipped > half.tiles.skipped && half.tiles.skipped > 0);
});

test('explain: lengths count, and so do the other options', (t) => {
  const tensor = square(64);
  const padded = explain(tensor, tensor, tensor, { lengthsKv: [10], lse: true });
  t.is(padded.flops, 2 * 2 * 64 * 10 * 32);
  const rows = filled([64, 2, 16]);
  const ragged = explain(rows, rows, rows, { cuSeqlensQ: [0, 4, 64], cuSeqlensKv: [0, 60, 64], partial: true });
  t.is(ragged.flops, 2 * 2 * (4 * 60 + 60 * 4) * 32);
  const mask = filled([1, 64], 'bool');
  t.notThrows(() => explain(tensor, tensor, tensor, { mask, bias: filled([64, 64]), sinks: [1, 2], softcap: 3 }));
});

test('explain: nothing is written', (t) => {
  const out = filled([1, 2, 64, 16]);
  const before = out.toFloat32();
  const tensor = square(64);
  explain(tensor, tensor, tensor, { out });
  t.deepEqual(out.toFloat32(), before);
});

test('explain: reads well', (t) => {
  const tensor = square(128);
  const text = String(explain(tensor, tensor, tensor, { mask: causal() }));
  t.regex(text, /^fused-\S+ on cpu\n {2}tiles {5,}\d+ queries x \d+ keys: \d+ full, \d+ partial, \d+ skipped\n/);
  t.regex(text, /schedule .*task.* on .*thread.*chunks of \d+ keys\n/);
  t.regex(text, /work .*MFLOP.*KiB in and out\n/);
  t.regex(text, /workspace .* a thread/);
});

const run =
  'return [...attentionSync(tensor, tensor, tensor).output.toFloat32()].every((value) => Math.abs(value - 1) < 1e-6)';

test('environment: FUSED_ATTENTION_ISA forces what the processor can run', (t) => {
  for (const isa of devices()[0]!.isas) {
    t.is(inProcess({ FUSED_ATTENTION_ISA: isa }, 'return devices()[0].isa'), isa);
    t.is(inProcess({ FUSED_ATTENTION_ISA: isa }, run), true);
  }
  const unknown = inProcess({ FUSED_ATTENTION_ISA: 'avx3' }, run) as string[];
  t.deepEqual(unknown.slice(0, 2), ['ERR_INVALID_ARG_VALUE', 'FUSED_ATTENTION_ISA']);
  const foreign = process.arch === 'x64' ? 'neon' : 'avx2';
  const other = inProcess({ FUSED_ATTENTION_ISA: foreign }, run) as string[];
  t.deepEqual(other.slice(0, 2), ['ERR_INVALID_ARG_VALUE', 'FUSED_ATTENTION_ISA']);
  t.regex(other[2]!, /'portable'/);
});

test('environment: FUSED_ATTENTION_THREADS caps, FUSED_ATTENTION_DEVICE chooses', (t) => {
  t.is(inProcess({ FUSED_ATTENTION_THREADS: '1' }, 'return devices()[0].threads'), 1);
  t.is(inProcess({ FUSED_ATTENTION_THREADS: '7' }, 'return devices()[0].threads'), 7);
  for (const [value, code] of [
    ['two', 'ERR_INVALID_ARG_VALUE'],
    ['-1', 'ERR_INVALID_ARG_VALUE'],
    ['0', 'ERR_OUT_OF_RANGE'],
  ] as const) {
    const error = inProcess({ FUSED_ATTENTION_THREADS: value }, run) as string[];
    t.deepEqual(error.slice(0, 2), [code, 'FUSED_ATTENTION_THREADS']);
  }
  t.is(inProcess({ FUSED_ATTENTION_DEVICE: 'cpu', FUSED_ATTENTION_THREADS: '' }, run), true);
  const absent = inProcess({ FUSED_ATTENTION_DEVICE: 'cuda' }, run) as string[];
  t.deepEqual(absent.slice(0, 2), ['ERR_NO_DEVICE', 'FUSED_ATTENTION_DEVICE']);
  const step = `
    const cache = new fused.KvCache({ heads: 1, dim: 16 });
    return [undefined, 'auto', 'cpu'].map((device) => {
      try { return cache.attendSync(tensor, { k: tensor, v: tensor, device }).output.size; } catch ({ code }) { return code; }
    });`;
  t.deepEqual(inProcess({ FUSED_ATTENTION_DEVICE: 'cuda' }, step), ['ERR_NO_DEVICE', 'ERR_NO_DEVICE', 1024]);
  const explicit = "return attentionSync(tensor, tensor, tensor, { device: 'cpu' }).output.size";
  t.is(inProcess({ FUSED_ATTENTION_DEVICE: 'cuda' }, explicit), 1024);
  const unknown = inProcess({ FUSED_ATTENTION_DEVICE: 'tpu' }, run) as string[];
  t.deepEqual(unknown.slice(0, 2), ['ERR_INVALID_ARG_VALUE', 'FUSED_ATTENTION_DEVICE']);
});

test('what is explained is what runs', (t) => {
  // The same options are accepted, and the result has the size that was announced.
  const tensor = square(40);
  const options = { mask: causal(), lse: true, softcap: 5 } as const;
  const { bytes } = explain(tensor, tensor, tensor, options);
  const { output } = attentionSync(tensor, tensor, tensor, options);
  t.is(bytes, 4 * (3 * tensor.size + output.size));
});
