// CUDA: the addon's own kernels and launches, on the interpreter of test/ptx. Where that is not there, or the build has no
// kernels, tests are skipped and say why; with CUDA_REQUIRED set they fail.

import test from 'ava';
import { inProcess } from './helpers/in-process.js';
import { interpreted, noDriver, whyNoInterpreter } from './helpers/interpreter.js';
import type { Counters } from './helpers/interpreter.js';
import { needing } from './helpers/needing.js';

/** A test that needs the interpreter. */
const onDevice = needing(whyNoInterpreter(), 'CUDA_REQUIRED');

/** Halves: every element 1, bits alike in no other type. */
const ones = `
  const ones = (...shape) => Tensor.from(new Uint16Array(shape.reduce((a, b) => a * b)).fill(0x3c00), shape, { dtype: 'float16' });
`;

/** Kernels that drawn calls have run. */
const taken = new Set<string>();

for (const [seed, quantum] of [
  [0, 64],
  [1, 7],
  [2, 1000],
] as const) {
  onDevice(`cuda: drawn calls against the reference, schedule ${seed}`, (t) => {
    const script = `return require('./test/cuda/cases.ts').failuresOf(${1000 * (seed + 1)}, 150)`;
    const { result, report } = interpreted(script, { PTX_SEED: `${seed}`, PTX_QUANTUM: `${quantum}` });
    t.deepEqual(result, []);
    t.deepEqual(report.findings, []);
    for (const kernel of Object.keys(report.kernels)) taken.add(kernel);
  });
}

onDevice('cuda: drawn calls take every kernel', (t) => {
  t.is(taken.size, 21, [...taken].join(' '));
});

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
    }).concat([0, 1, 2].map((b) => {
      // In a padded batch, and one after the other.
      const lengths = [1, 77, 150], ends = [0, 1, 78, 228];
      const rows = (tensor) => tensor.narrow(0, b, 1).narrow(2, 0, lengths[b]);
      const packed = (tensor) => Tensor.from(Uint16Array.from({ length: 228 * 2 * 40 }, (_, at) => {
        const row = Math.floor(at / 80), s = ends.findIndex((end) => end > row) - 1;
        return tensor.data[((s * 2 + Math.floor(at / 40) % 2) * 150 + row - ends[s]) * 40 + at % 40];
      }), [228, 2, 40], { dtype: 'float16' });
      const alone = attentionSync(rows(q), rows(k), rows(v), options);
      const padded = attentionSync(q, k, v, { ...options, lengthsQ: lengths, lengthsKv: lengths });
      const ragged = attentionSync(packed(q), packed(k), packed(v), { ...options, cuSeqlensQ: ends, cuSeqlensKv: ends });
      return [
        [alone.output, rows(padded.output)],
        [alone.lse, padded.lse.narrow(0, b, 1).narrow(2, 0, lengths[b])],
        [alone.output, ragged.output.narrow(0, ends[b], lengths[b]).transpose(0, 1)],
        [alone.lse, ragged.lse.narrow(1, ends[b], lengths[b])],
      ].every(([x, y]) => bits(x) === bits(y));
    }));
  `);
  t.deepEqual(result, Array(6).fill(true));
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
    const sigmoid = fused.explain(q, q, q, { normalizer: 'sigmoid' });
    const why = ({ notTaken }) => notTaken.find(({ path }) => path === 'cuda').reason;
    return { causal, dense, device: auto.device, why: why(auto), sigmoid: why(sigmoid), text: String(causal) };
  `);
  const { causal, dense, device, why, sigmoid, text } = result as Record<string, string> &
    Record<'causal' | 'dense', { device: string; kernel: string; flops: number; tiles: Record<string, number> }>;
  t.is(causal!.device, 'cuda');
  t.is(causal!.kernel, 'forward_f16_64');
  t.is(causal!.flops, 2 * 2 * ((300 * 301) / 2) * 128);
  t.is(dense!.flops, 2 * 2 * 300 * 300 * 128);
  t.deepEqual(dense!.tiles, { full: 2 * 10 * 5, partial: 0, skipped: 0, promoted: 0 });
  t.true(causal!.tiles['skipped']! > 0 && causal!.tiles['full']! > 0 && causal!.tiles['partial']! > 0);
  t.is(device, 'cpu');
  t.regex(why!, /never chosen unasked/);
  t.regex(sigmoid!, /another one than softmax \(options\.normalizer\)/);
  t.regex(text!, /^forward_f16_64 on cuda\n/);
});

onDevice('cuda: what the kernels do not take is refused by name, whoever chose the device', (t) => {
  const { result } = interpreted(
    `${ones}
    const q = ones(1, 2, 16, 64);
    const wide = ones(1, 2, 16, 257);
    const float = Tensor.from(new Float32Array(2 * 16 * 129), [1, 2, 16, 129]);
    const calls = [
      [float, float, float, {}],
      [wide, wide, q, {}],
      [q, q, wide, {}],
      ...[{ outputDtype: 'float32' }, { score: fused.alibi([1, 2]) }, { partial: true }, { normalizer: 'sigmoid' },
        { statistics: { mass: [[0, 4]] } }].map((options) => [q, q, q, options]),
    ];
    return calls.map((call) => {
      try { attentionSync(...call); return 'computed'; } catch ({ code, argument }) { return code + ' ' + argument; }
    });
  `,
    { FUSED_ATTENTION_DEVICE: 'cuda' },
  );
  t.deepEqual(
    result,
    'query query value outputDtype score partial normalizer statistics'
      .split(' ')
      .map((name, index) => `ERR_UNSUPPORTED ${index < 3 ? name : `options.${name}`}`),
  );
});

onDevice('cuda: entropies where keys, or all of them, lie immeasurably far below', (t) => {
  const { result } = interpreted(`
    const { Random } = require('./test/reference/random.ts');
    const random = new Random(4);
    const drawn = (...shape) => Tensor.from(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.normal()), shape);
    const [q, k, v] = [drawn(1, 2, 70, 16), drawn(1, 2, 200, 16), drawn(1, 2, 200, 16)];
    const below = (keys) => Tensor.from(Float32Array.from({ length: 200 }, (_, key) => (key < keys ? -1e38 : 0)), [1, 1, 1, 200]);
    return [100, 150, 200].flatMap((keys) => [undefined, [0, 3]].map((sinks) => {
      const options = { bias: below(keys), sinks, entropy: true, lse: true };
      const [here, there] = ['cpu', 'cuda'].map((device) => attentionSync(q, k, v, { ...options, device }));
      return ['output', 'lse', 'entropy'].map((name) => {
        const expected = here[name].toFloat32();
        return there[name].toFloat32().every((value, n) => Math.abs(value - expected[n]) <= 1e-4 * Math.max(1, Math.abs(expected[n])));
      });
    }));
  `);
  t.deepEqual(
    result,
    Array.from({ length: 6 }, () => [true, true, true]),
  );
});

onDevice('cuda: masks of every kind show the pairs that they show on the CPU', (t) => {
  const { result, report } = interpreted(`
    const { Random } = require('./test/reference/random.ts');
    const random = new Random(3);
    const [batch, heads, queries, keys, dim] = [2, 2, 150, 200, 16];
    const drawn = (rows) => Tensor.from(Float32Array.from({ length: batch * heads * rows * dim }, () => random.normal()),
      [batch, heads, rows, dim]);
    const [q, k, v] = [drawn(queries), drawn(keys), drawn(keys)];
    const grid = Tensor.from(Uint8Array.from({ length: queries * keys }, () => Number(random.chance(0.3))),
      [1, 1, queries, keys], { dtype: 'bool' });
    const blocks = fused.blockSparse([[[0, 3], [1], [0, 2], [3]], [[0], [0, 1], [2], [1, 2]]], { blockSize: 50 });
    const masks = {
      gaps: fused.mask('(i, j) => i < 90 ? j < 4 : j >= 170'),
      ranges: fused.dilated(10, 3),
      parity: fused.mask('(i, j) => (i + j) % 2 === 0'),
      heads: fused.mask('(i, j, { h, b }) => j <= i + 40 * h - 20 * b'),
      table: fused.mask('(i, j, { ids }) => ids(i) === ids(j)', { ids: Int32Array.from({ length: keys }, (_, n) => n * 7 % 5) }),
      blocks,
      nobody: fused.mask('(i, j) => i < 0'),
      both: fused.and(fused.causal(), grid),
      either: fused.or(fused.slidingWindow(3, 3), grid),
    };
    const distance = (a, b) => {
      const [x, y] = [a.toFloat32(), b.toFloat32()];
      return x.reduce((most, value, n) => (value === y[n] ? most : Math.max(most, Math.abs(value - y[n]) || Infinity)), 0);
    };
    return Object.fromEntries(Object.entries(masks).map(([name, mask]) => {
      const [here, there] = ['cpu', 'cuda'].map((device) => attentionSync(q, k, v, { mask, device, lse: true }));
      const counted = fused.explain(q, k, v, { mask, device: 'cuda' });
      return [name, [distance(here.output, there.output) < 1e-5, distance(here.lse, there.lse) < 1e-5,
        Object.values(counted.tiles).reduce((a, b) => a + b)]];
    }));
  `);
  const tiles = 2 * 2 * 10 * 4;
  for (const [name, found] of Object.entries(result as Record<string, unknown>)) {
    t.deepEqual(found, [true, true, tiles], name);
  }
  t.deepEqual(report.findings, []);
});

onDevice('cuda: keys that nobody sees are not read, whatever hides them', (t) => {
  const { result, report } = interpreted(`${ones}
    const q = ones(1, 1, 70, 64), poisoned = ones(1, 1, 300, 64);
    const seen = Uint8Array.from({ length: 300 }, (_, key) => Number(key % 7 < 3));
    seen.forEach((shown, key) => { if (!shown) poisoned.data.fill(0x7e00, key * 64, key * 64 + 64); });
    const finite = (options) => {
      const { output, lse } = attentionSync(q, poisoned, poisoned, { device: 'cuda', lse: true, ...options });
      return output.toFloat32().every((x) => Math.abs(x - 1) < 2 ** -10) && lse.toFloat32().every(Number.isFinite);
    };
    return [
      finite({ mask: Tensor.from(seen, [1, 300], { dtype: 'bool' }) }),
      finite({ mask: fused.mask('(i, j) => j % 7 < 3') }),
      finite({ mask: fused.blockSparse([[...seen.keys()].filter((key) => seen[key])], { blockSize: [300, 1] }) }),
    ];
  `);
  t.deepEqual(result, [true, true, true]);
  t.deepEqual(report.findings, []);
});

onDevice('cuda: keys after the last one that a block of queries sees are not read', (t) => {
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
    return [given, ...[undefined, 'auto'].map((device) => cache.attendSync(tensor, { device }).output.size)];
  `,
    { FUSED_ATTENTION_DEVICE: 'cuda' },
  );
  t.deepEqual(result, [['ERR_UNSUPPORTED', 'options.device'], 1024, 1024]);
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
