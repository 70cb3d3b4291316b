// CUDA: the addon's own kernels and launches, on the interpreter of test/ptx. Where that is not there, or the build has no
// kernels, tests are skipped and say why; with CUDA_REQUIRED set they fail.

import test from 'ava';
import type { ExecutionContext } from 'ava';
import { inProcess } from './helpers/in-process.js';
import { interpreted, noDriver, whyNoInterpreter } from './helpers/interpreter.js';
import type { Counters } from './helpers/interpreter.js';

const missing = whyNoInterpreter();

/** A test that needs the interpreter. */
function onDevice(title: string, body: (t: ExecutionContext) => void): void {
  if (missing === null) return test(title, body);
  if (process.env['CUDA_REQUIRED']) return test(title, (t) => t.fail(missing));
  test.skip(`${title}: ${missing}`, body);
}

/** Halves: every element 1, bits alike in no other type. */
const ones = `
  const ones = (...shape) => Tensor.from(new Uint16Array(shape.reduce((a, b) => a * b)).fill(0x3c00), shape, { dtype: 'float16' });
`;

for (const [seed, quantum] of [
  [0, 64],
  [1, 7],
  [2, 1000],
] as const) {
  onDevice(`cuda: drawn calls against the reference, schedule ${seed}`, (t) => {
    const script = `return require('./test/cuda/cases.ts').failuresOf(${1000 * (seed + 1)}, 60)`;
    const { result, report } = interpreted(script, { PTX_SEED: `${seed}`, PTX_QUANTUM: `${quantum}` });
    t.deepEqual(result, []);
    t.deepEqual(report.findings, []);
    t.true(Object.keys(report.kernels).length === 4, Object.keys(report.kernels).join(' '));
  });
}

const n = 2048;

/** What a call of one head costs on the device. */
function countersOf(dim: number, dtype: 'float16' | 'bfloat16', causal: boolean): { name: string; counters: Counters } {
  const script = `
    const { Random } = require('./test/reference/random.ts');
    const { encode16 } = require('./test/reference/half.ts');
    const random = new Random(5);
    const drawn = () => Tensor.from(Uint16Array.from({ length: ${n * dim} }, () => encode16('${dtype}', random.normal())),
      [1, 1, ${n}, ${dim}], { dtype: '${dtype}' });
    attentionSync(drawn(), drawn(), drawn(), { device: 'cuda', lse: true${causal ? ', mask: fused.causal()' : ''} });
  `;
  const { report } = interpreted(`${script} return true`);
  const [[name, counters]] = Object.entries(report.kernels) as [[string, Counters]];
  return { name, counters };
}

// The last numbers are FlashAttention-2's: of mma in the causal case, and of sectors read.
for (const [dim, dtype, causal, instructions, mma, sectors] of [
  [64, 'float16', false, 4.7, (4 * n * n * 64) / 4096, 270_336],
  [64, 'float16', true, 5.0, 139_264, 147_456],
  [128, 'bfloat16', false, 3.6, (4 * n * n * 128) / 4096, 540_672],
] as const) {
  onDevice(`cuda: what ${dim} components of ${dtype}${causal ? ', half of them seen,' : ''} cost`, (t) => {
    const { name, counters } = countersOf(dim, dtype, causal);
    const each = counters.warpInstructions / counters.byClass['mma']!;
    const { sharedLoads, sharedStores, globalLoads } = counters;
    t.log(`${name}: ${each.toFixed(3)} warp instructions per mma, ${counters.byClass['mma']} mma`);
    t.log(JSON.stringify(counters));
    t.true(each <= instructions, `${each}`);
    t.true(causal ? counters.byClass['mma']! <= mma : counters.byClass['mma'] === mma);
    t.is(sharedLoads.wavefronts, sharedLoads.minimum);
    t.is(sharedStores.wavefronts, sharedStores.minimum);
    t.true(globalLoads.sectors <= sectors, `${globalLoads.sectors} sectors`);
  });
}

onDevice("cuda: a sequence's bits are its own, whatever the batch", (t) => {
  const { result } = interpreted(`
    const { Random } = require('./test/reference/random.ts');
    const { encode16 } = require('./test/reference/half.ts');
    const random = new Random(9);
    const drawn = () => Tensor.from(Uint16Array.from({ length: 3 * 2 * 150 * 40 }, () => encode16('float16', random.normal())),
      [3, 2, 150, 40], { dtype: 'float16' });
    const [q, k, v] = [drawn(), drawn(), drawn()];
    const options = { device: 'cuda', mask: fused.causal(), lse: true };
    const all = attentionSync(q, k, v, options);
    const bits = (tensor) => Buffer.from(Float32Array.from(tensor.toFloat32()).buffer).toString('hex');
    return [0, 1, 2].map((b) => {
      const one = (tensor) => tensor.narrow(0, b, 1);
      const alone = attentionSync(one(q), one(k), one(v), options);
      return bits(alone.output) === bits(one(all.output)) && bits(alone.lse) === bits(one(all.lse));
    });
  `);
  t.deepEqual(result, [true, true, true]);
});

onDevice('cuda: devices, by name and size', (t) => {
  const { result } = interpreted('return devices()', { PTX_DEVICES: '2', PTX_DEVICE_MEMORY: '64M' });
  const [cpu, ...gpus] = result as { device: string; isa: string; threads: number; memory: number }[];
  t.is(cpu!.device, 'cpu');
  t.deepEqual(
    gpus.map(({ device, isa, memory, threads }) => [device, isa, memory, threads]),
    ['cuda', 'cuda:1'].map((name) => [name, 'sm_80', 64 * 2 ** 20, 108 * 2048]),
  );
});

onDevice('cuda: explain says what runs, and why not where it does not', (t) => {
  const { result } = interpreted(`${ones}
    const q = ones(1, 2, 300, 64);
    const causal = fused.explain(q, q, q, { device: 'cuda', mask: fused.causal() });
    const dense = fused.explain(q, q, q, { device: 'cuda' });
    const auto = fused.explain(q, q, q);
    const softcap = fused.explain(q, q, q, { softcap: 5 });
    const why = ({ notTaken }) => notTaken.find(({ path }) => path === 'cuda').reason;
    return { causal, dense, device: auto.device, why: why(auto), softcap: why(softcap), text: String(causal) };
  `);
  const { causal, dense, device, why, softcap, text } = result as Record<string, string> &
    Record<'causal' | 'dense', { device: string; kernel: string; flops: number; tiles: Record<string, number> }>;
  t.is(causal!.device, 'cuda');
  t.is(causal!.kernel, 'forward_f16_64');
  t.is(causal!.flops, 2 * 2 * ((300 * 301) / 2) * 128);
  t.is(dense!.flops, 2 * 2 * 300 * 300 * 128);
  t.deepEqual(dense!.tiles, { full: 2 * 10 * 5, partial: 0, skipped: 0, promoted: 0 });
  t.true(causal!.tiles['skipped']! > 0 && causal!.tiles['full']! > 0 && causal!.tiles['partial']! > 0);
  t.is(device, 'cpu');
  t.regex(why!, /never chosen unasked/);
  t.regex(softcap!, /a softcap \(options\.softcap\)/);
  t.regex(text!, /^forward_f16_64 on cuda\n/);
});

onDevice('cuda: what the kernels do not take is refused by name, whoever chose the device', (t) => {
  const { result } = interpreted(
    `${ones}
    const q = ones(1, 2, 16, 64);
    const wide = ones(1, 2, 16, 129);
    const mask = Tensor.from(new Uint8Array(16).fill(1), [1, 16], { dtype: 'bool' });
    const calls = [
      [tensor, tensor, tensor, {}],
      [wide, wide, q, {}],
      [q, q, wide, {}],
      ...[{ outputDtype: 'float32' }, { softcap: 5 }, { sinks: [1, 2] }, { entropy: true }, { rowMax: true }, { mask },
        { score: fused.alibi([1, 2]) }, { mask: fused.mask('(i, j) => (i + j) % 2 === 0') },
        { mask: fused.mask('(i, j, { h }) => j <= i + h') },
        { mask: fused.mask('(i, j) => i < 8 ? j < 4 : j >= 8') }, { lengthsKv: [4] }, { partial: true },
        { normalizer: 'sigmoid' }].map((options) => [q, q, q, options]),
    ];
    return calls.map((call) => {
      try { attentionSync(...call); return 'computed'; } catch ({ code, argument, received }) { return [code, argument, received]; }
    });
  `,
    { FUSED_ATTENTION_DEVICE: 'cuda' },
  );
  const refusals = result as [string, string, string][];
  t.deepEqual(
    refusals.map(([code, argument]) => `${code} ${argument}`),
    'query query value outputDtype softcap sinks entropy rowMax mask score mask mask mask lengthsQ partial normalizer'
      .split(' ')
      .map((name, index) => `ERR_UNSUPPORTED ${index < 3 ? name : `options.${name}`}`),
  );
  t.regex(refusals[10]![2], /one range of keys/);
  t.regex(refusals[12]![2], /keys unseen between/);
});

onDevice('cuda: keys that nobody sees and rows between are not read', (t) => {
  const { result, report } = interpreted(`${ones}
    const poisoned = ones(1, 1, 100, 64);
    poisoned.data.fill(0x7e00, 70 * 64);
    const { output, lse } = attentionSync(ones(1, 1, 70, 64), poisoned, poisoned,
      { device: 'cuda', mask: fused.causal(), align: 'top-left', lse: true });
    return [output.toFloat32().every((x) => Math.abs(x - 1) < 2 ** -10), lse.toFloat32().every(Number.isFinite)];
  `);
  t.deepEqual(result, [true, true]);
  t.deepEqual(report.findings, []);
});

onDevice('cuda: a NaN or an infinite score spoils its row alone', (t) => {
  const { result } = interpreted(`${ones}
    const q = ones(1, 1, 40, 64);
    q.data[7 * 64] = 0x7e00;
    q.data[9 * 64] = 0x7c00;
    const { output, lse } = attentionSync(q, ones(1, 1, 40, 64), ones(1, 1, 40, 64), { device: 'cuda', lse: true });
    const spoiled = [...lse.toFloat32()].flatMap((x, row) => (Number.isFinite(x) ? [] : [row]));
    const rows = [...output.toFloat32()].flatMap((x, at) => (Number.isNaN(x) ? [Math.floor(at / 64)] : []));
    return [spoiled, [...new Set(rows)]];
  `);
  t.deepEqual(result, [
    [7, 9],
    [7, 9],
  ]);
});

onDevice('cuda: results of calls in flight together, and of one that is aborted', (t) => {
  const { result } = interpreted(`${ones}
    const q = ones(1, 4, 100, 64);
    const calls = Array.from({ length: 6 }, () => fused.attention(q, q, q, { device: 'cuda' }));
    const controller = new AbortController();
    const aborted = fused.attention(q, q, q, { device: 'cuda', signal: controller.signal }).catch(({ name }) => name);
    controller.abort();
    const outputs = await Promise.all(calls);
    return [outputs.every(({ output }) => output.toFloat32().every((x) => Math.abs(x - 1) < 2 ** -10)), await aborted];
  `);
  t.deepEqual(result, [true, 'AbortError']);
});

onDevice('cuda: a device without room for a call computes the next one', (t) => {
  const { result } = interpreted(
    `${ones}
    const large = ones(1, 8, 4096, 64), small = ones(1, 1, 64, 64);
    let code;
    try { attentionSync(large, large, large, { device: 'cuda' }); } catch (error) { code = [error.code, error.message]; }
    return [...code, attentionSync(small, small, small, { device: 'cuda' }).output.toFloat32()[5]];
  `,
    { PTX_DEVICE_MEMORY: '8M' },
  );
  const [code, message, value] = result as [string, string, number];
  t.is(code, 'ERR_OUT_OF_MEMORY');
  t.regex(message, /CUDA_ERROR_OUT_OF_MEMORY \(out of memory\) while asking for \d+ bytes/);
  t.true(Math.abs(value - 1) < 2 ** -10);
});

onDevice('cuda: a device that is too old, or none', (t) => {
  const script = `${ones} const q = ones(1, 1, 4, 8); return attentionSync(q, q, q, { device: 'cuda' })`;
  const old = interpreted(script, { PTX_DEVICE_CAPABILITY: '7.5' }).result as string[];
  t.deepEqual(old.slice(0, 2), ['ERR_UNSUPPORTED', 'options.device']);
  t.regex(old[3]!, /compute capability 7\.5/);
  const none = interpreted(script, { PTX_DEVICES: '0' }).result as string[];
  t.deepEqual(none.slice(0, 2), ['ERR_NO_DEVICE', 'options.device']);
  t.regex(none[3]!, /CUDA_ERROR_NO_DEVICE/);
});

onDevice('cuda: a cache stays on the CPU, and says so', (t) => {
  const { result } = interpreted(
    `
    const cache = new fused.KvCache({ heads: 1, dim: 16 });
    cache.append(tensor, tensor);
    const given = (() => { try { cache.attendSync(tensor, { device: 'cuda' }); } catch ({ code, argument }) { return [code, argument]; } })();
    return [given, cache.attendSync(tensor).output.size];
  `,
    { FUSED_ATTENTION_DEVICE: 'cuda' },
  );
  t.deepEqual(result, [['ERR_UNSUPPORTED', 'options.device'], 1024]);
});

test('cuda: without a driver calls run on the CPU, and the reason is told', (t) => {
  const result = inProcess(
    noDriver,
    `
    const { notTaken } = fused.explain(tensor, tensor, tensor);
    const code = (() => { try { attentionSync(tensor, tensor, tensor, { device: 'cuda' }); } catch ({ code }) { return code; } })();
    return [devices().length, notTaken.find(({ path }) => path === 'cuda').reason, code];
  `,
  );
  const [count, reason, code] = result as [number, string, string];
  t.is(count, 1);
  t.regex(reason, /named by FUSED_ATTENTION_LIBCUDA|this build has no CUDA kernels/);
  t.is(code, 'ERR_NO_DEVICE');
});
