// Tensors in the memory of a device: copies, views, calls over them, and how they end. On the interpreter of test/ptx, as
// 72-cuda.ts.

import test from 'ava';
import { inProcess } from './helpers/in-process.js';
import { interpreted, noDriver, whyNoInterpreter } from './helpers/interpreter.js';
import { needing } from './helpers/needing.js';

/** A test that needs the interpreter. */
const onDevice = needing(whyNoInterpreter(), 'CUDA_REQUIRED');

/** What scripts have: drawn tensors, bits of a tensor in row-major order, and what a call is refused with. */
const helpers = `
  const { Random } = require('./test/reference/random.ts');
  const { encode16 } = require('./test/reference/half.ts');
  const random = new Random(3);
  const drawn = (shape, dtype = 'float16') => {
    const count = shape.reduce((a, b) => a * b, 1);
    const data = Uint16Array.from({ length: count }, () => encode16(dtype, random.normal()));
    return Tensor.from(data, shape, { dtype });
  };
  const bits = (tensor) => Buffer.from(tensor.toFloat32().buffer).toString('base64');
  const home = async (tensor) => bits(await tensor.to('cpu'));
  const refusal = async (call) => {
    try { await call(); return 'computed'; } catch ({ code, argument, expected, received }) { return [code, argument, expected, received]; }
  };
`;

/** When the interpreter does work. */
function whenDone(flag: string): string {
  return flag === '1' ? 'done late' : 'done at once';
}

function script(body: string): string {
  return `${helpers}${body}`;
}

onDevice('device tensors: there and back, of any dtype, shape and strides', (t) => {
  const { result, report } = interpreted(
    script(`
    const tensors = [
      Tensor.from(Float32Array.from({ length: 24 }, (_, i) => i - 7.5), [2, 3, 4]),
      drawn([5, 3]), drawn([4, 2], 'bfloat16'),
      Tensor.from(Uint8Array.from([1, 0, 1]), [3], { dtype: 'bool' }),
      drawn([2, 3, 4]).transpose(0, 2),
      drawn([2, 30, 4]).narrow(1, 7, 2),
      drawn([2, 30, 4]).narrow(1, 7, 20),
      Tensor.from(Float32Array.of(9, 1, 2), [4, 2], { strides: [0, 1], offset: 1 }),
      drawn([3, 0, 4]), drawn([]),
    ];
    const seen = [];
    for (const tensor of tensors) {
      const there = await tensor.to('cuda');
      const back = await there.to('cpu');
      seen.push([there.device, String(there), there.strides, back.device, back.dtype === tensor.dtype,
        bits(back) === bits(tensor), back.data.length]);
    }
    return seen;
  `),
  );
  const seen = result as [string, string, number[], string, boolean, boolean, number][];
  t.is(seen.length, 10);
  for (const [there, , , back, dtype, same] of seen)
    t.deepEqual([there, back, dtype, same], ['cuda', 'cpu', true, true]);
  t.is(seen[0]![1], 'Tensor(float32 [2, 3, 4] on cuda)');
  t.deepEqual(seen[4]![2], [1, 4, 12], 'strides stay');
  t.deepEqual(seen[5]![2], [8, 4, 1], 'what is mostly gaps does not');
  t.deepEqual(seen[6]![2], [120, 4, 1]);
  t.deepEqual(seen[7]![2], [0, 1]);
  t.is(seen[7]![6], 2);
  t.deepEqual(report.findings, []);
});

onDevice('device tensors: views', (t) => {
  const { result } = interpreted(
    script(`
    const host = drawn([2, 6, 4]);
    const there = await host.to('cuda');
    const pairs = [(x) => x.reshape([12, 4]), (x) => x.transpose(0, 2), (x) => x.transpose([1, 2, 0]), (x) => x.narrow(1, 2, 3),
      (x) => x.narrow(1, 5, 1).narrow(2, 1, 2).transpose(0, 2)];
    const same = [];
    for (const view of pairs) same.push(view(there).device === 'cuda' && await home(view(there)) === bits(view(host)));
    const copy = await refusal(() => there.transpose(0, 1).reshape([48]));
    return [same, copy.slice(0, 2), there.size, there.offset, there.narrow(1, 2, 3).offset];
  `),
  );
  t.deepEqual(result, [[true, true, true, true, true], ['ERR_UNSUPPORTED', 'shape'], 48, 0, 8]);
});

onDevice('device tensors: what only host memory has is refused, and what is disposed', (t) => {
  const { result } = interpreted(
    script(`
    const there = await drawn([1, 1, 4, 8]).to('cuda');
    const host = drawn([1, 1, 4, 8]);
    const refused = [];
    const cache = new fused.KvCache({ heads: 1, dim: 8, dtype: 'float16' });
    const part = await fused.attention(host, host, host, { partial: true });
    const [o, m, l] = await Promise.all([part.o, part.m, part.l].map((tensor) => tensor.to('cuda')));
    for (const call of [() => there.data, () => there.toFloat32(), () => cache.append(there, host),
      () => fused.mergePartials([{ ...part, o, m, l }]),
      () => fused.attention(host, host, host, { bias: there }), () => fused.attention(host, host, host, { mask: there }),
      () => fused.attention(host, host, host, { sinks: there }), () => fused.shard(there, 0, 1)]) refused.push(await refusal(call));
    there.dispose();
    there.dispose();
    const ended = [];
    for (const call of [() => there.device, () => there.to('cpu'), () => there.reshape([32]), () => fused.attention(there, there, there)])
      ended.push((await refusal(call))[0]);
    return [refused, ended, String(there), host.device];
  `),
  );
  const [refused, ended, text, device] = result as [[string, string, string, string][], string[], string, string];
  for (const [code, , expected, received] of refused) {
    t.is(code, 'ERR_UNSUPPORTED');
    t.regex(expected, /to\('cpu'\)/);
    t.is(received, "one on 'cuda'");
  }
  t.deepEqual(ended, ['ERR_DISPOSED', 'ERR_DISPOSED', 'ERR_DISPOSED', 'ERR_DISPOSED']);
  t.is(text, 'Tensor(disposed)');
  t.is(device, 'cpu');
});

for (const PTX_ASYNC of ['0', '1']) {
  onDevice(
    `device tensors: calls run where they are, and give what copies give; work is ${whenDone(PTX_ASYNC)}`,
    (t) => {
      const { result, report } = interpreted(
        script(`
    const failures = [];
    const check = async (name, [q, k, v], options = {}) => {
      const expected = await fused.attention(q, k, v, { ...options, device: 'cuda', lse: true });
      const there = await Promise.all([q, k, v].map((tensor) => tensor.to('cuda')));
      for (const computed of [await fused.attention(...there, { ...options, lse: true }), fused.attentionSync(...there, { ...options, lse: true })]) {
        const { output, lse } = computed;
        if (output.device !== 'cuda' || lse.device !== 'cuda') failures.push(name + ': elsewhere');
        if (await home(output) !== bits(expected.output)) failures.push(name + ': output');
        if (await home(lse) !== bits(expected.lse)) failures.push(name + ': lse');
      }
    };
    const { causal } = fused;
    await check('plain', [drawn([2, 4, 70, 64]), drawn([2, 2, 90, 64]), drawn([2, 2, 90, 64])], { mask: causal() });
    await check('rows that are no pieces', [drawn([2, 2, 33, 20]), drawn([2, 1, 40, 20]), drawn([2, 1, 40, 12])]);
    await check('bshd', [drawn([2, 33, 2, 16], 'bfloat16'), drawn([2, 40, 1, 16], 'bfloat16'), drawn([2, 40, 1, 16], 'bfloat16')], { layout: 'bshd' });
    await check('bshd, no pieces', [drawn([2, 33, 2, 9]), drawn([2, 40, 1, 9]), drawn([2, 40, 1, 5])], { layout: 'bshd' });
    await check('transposed', [drawn([2, 33, 2, 16]).transpose(1, 2), drawn([2, 40, 1, 16]).transpose(1, 2), drawn([2, 40, 1, 16]).transpose(1, 2)]);
    const wide = drawn([1, 2, 40, 48]);
    await check('beside the alignment', [wide.narrow(3, 3, 16), wide.narrow(3, 8, 16), wide.narrow(3, 20, 24)]);
    const row = drawn([200]).data;
    const sliding = (step) => Tensor.from(row, [1, 1, 30, 16], { dtype: 'float16', strides: [0, 0, step, 1] });
    await check('rows that overlap', [sliding(3), sliding(0), sliding(5)]);
    const one = drawn([1, 1, 40, 16]);
    const repeated = Tensor.from(one.data, [3, 2, 40, 16], { dtype: 'float16', strides: [0, 0, 16, 1] });
    await check('shared by all', [drawn([3, 2, 20, 16]), repeated, repeated]);
    await check('nothing', [drawn([2, 2, 0, 16]), drawn([2, 2, 5, 16]), drawn([2, 2, 5, 16])]);
    return failures;
  `),
        { PTX_ASYNC },
      );
      t.deepEqual(result, []);
      t.deepEqual(report.findings, []);
    },
  );
}

onDevice('device tensors: results go where they are wanted', (t) => {
  const { result, report } = interpreted(
    script(`
    const q = await drawn([1, 2, 33, 16]).to('cuda');
    const { output, lse } = await fused.attention(q, q, q, { lse: true });
    const expected = [await home(output), await home(lse)];
    const blank = (shape, dtype) => Tensor.from(dtype === 'float32' ? new Float32Array(shape.reduce((a, b) => a * b)) : new Uint16Array(shape.reduce((a, b) => a * b)), shape, { dtype }).to('cuda');
    const seen = [];
    for (const out of [
      { output: await blank([1, 2, 33, 16], 'float16'), lse: await blank([1, 2, 33], 'float32') },
      { output: (await blank([1, 33, 2, 16], 'float16')).transpose(1, 2) },
      { output: (await blank([1, 2, 35, 19], 'float16')).narrow(2, 1, 33).narrow(3, 2, 16) },
    ]) {
      const made = await fused.attention(q, q, q, { lse: true, out });
      seen.push(made.output === out.output && await home(made.output) === expected[0] && await home(made.lse) === expected[1]);
    }
    const wide = await blank([1, 2, 35, 19], 'float16');
    await fused.attention(q, q, q, { out: wide.narrow(2, 1, 33).narrow(3, 2, 16) });
    const around = (await wide.to('cpu')).toFloat32().filter((_, i) => i % 19 < 2 || i % 19 === 18 || Math.floor(i / 19) % 35 === 0);
    const explained = fused.explain(q, q, q);
    return [seen, around.every((x) => x === 0), explained.device];
  `),
  );
  t.deepEqual(result, [[true, true, true], true, 'cuda']);
  t.deepEqual(report.findings, []);
});

onDevice('device tensors: those of one call have to be together', (t) => {
  const { result } = interpreted(
    script(`
    const h = drawn([1, 1, 16, 16]);
    const [a, b] = [await h.to('cuda'), await h.to('cuda:1')];
    const refused = [];
    for (const [call, options] of [[[a, h, a]], [[h, a, h]], [[a, a, b]], [[a, a, a], { out: h }], [[a, a, a], { out: b }], [[h, h, h], { out: a, device: 'cuda' }],
      [[a, a, a], { device: 'cpu' }], [[a, a, a], { device: 'cuda:1' }], [[a, a, a], { out: a }],
      [[a, a, a], { lse: true, out: { lse: Tensor.from(new Float32Array(20), [20]).narrow(0, 2, 16).reshape([1, 1, 16]) } }],
      [[a, a, a], { lse: true, out: { lse: (await Tensor.from(new Float32Array(20), [20]).to('cuda')).narrow(0, 2, 16).reshape([1, 1, 16]) } }]])
      refused.push((await refusal(() => fused.attention(...call, options))).slice(0, 2).join(' '));
    const taken = [];
    for (const options of [{ device: 'cuda' }, { device: 'cuda:0' }, { device: 'auto' }, {}]) taken.push((await fused.attention(a, a, a, options)).output.device);
    taken.push((await fused.attention(b, b, b)).output.device, (await fused.attention(b, b, b, { device: 'cuda:1' })).output.device);
    return [refused, taken];
  `),
    { PTX_DEVICES: '2' },
  );
  t.deepEqual(result, [
    [
      'ERR_INVALID_ARG_VALUE key',
      'ERR_INVALID_ARG_VALUE key',
      'ERR_INVALID_ARG_VALUE value',
      'ERR_INVALID_ARG_VALUE options.out.output',
      'ERR_INVALID_ARG_VALUE options.out.output',
      'ERR_INVALID_ARG_VALUE options.out.output',
      'ERR_INVALID_ARG_VALUE options.device',
      'ERR_INVALID_ARG_VALUE options.device',
      'ERR_ALIASING options.out.output',
      'ERR_INVALID_ARG_VALUE options.out.lse',
      'ERR_INVALID_ARG_VALUE options.out.lse',
    ],
    ['cuda', 'cuda', 'cuda', 'cuda', 'cuda:1', 'cuda:1'],
  ]);
});

onDevice('device tensors: several devices', (t) => {
  const { result, reports } = interpreted(
    script(`
    const host = drawn([1, 2, 40, 64]);
    const first = await host.to('cuda:0');
    const second = await first.to('cuda:1');
    const again = await second.to('cuda');
    const expected = bits((await fused.attention(host, host, host, { device: 'cuda:1' })).output);
    const same = [await home(first), await home(second), await home(again)].every((text) => text === bits(host));
    const computed = await Promise.all([first, second, again].map(async (x) => home((await fused.attention(x, x, x)).output)));
    return [first.device, second.device, again.device, same, computed.every((text) => text === expected),
      await refusal(() => host.to('cuda:2')), await refusal(() => fused.attention(host, host, host, { device: 'cuda:2' })),
      (await refusal(() => host.to('gpu'))).slice(0, 2), (await refusal(() => host.to('auto'))).slice(0, 2), (await refusal(() => host.to())).slice(0, 2),
      devices().map(({ device }) => device), fused.explain(second, second, second).device];
  `),
    { PTX_DEVICES: '2' },
  );
  const expected = "a device of this machine and build ('cpu', 'cuda' or 'cuda:1')";
  const received = "'cuda:2' (the last CUDA device is 'cuda:1')";
  t.deepEqual(result, [
    'cuda',
    'cuda:1',
    'cuda',
    true,
    true,
    ['ERR_NO_DEVICE', 'device', expected, received],
    ['ERR_NO_DEVICE', 'options.device', expected, received],
    ['ERR_INVALID_ARG_VALUE', 'device'],
    ['ERR_INVALID_ARG_VALUE', 'device'],
    ['ERR_INVALID_ARG_TYPE', 'device'],
    ['cpu', 'cuda', 'cuda:1'],
    'cuda:1',
  ]);
  t.deepEqual(
    reports.map(({ findings, kernels }) => [findings.length, Object.values(kernels).map(({ launches }) => launches)]),
    [
      [0, [2]],
      [0, [2]],
    ],
  );
});

onDevice('device tensors: memory comes back when the last view is disposed, or garbage', (t) => {
  const body = script(`
    require('node:v8').setFlagsFromString('--expose-gc');
    const collect = require('node:vm').runInNewContext('gc');
    const settled = () => new Promise((resolve) => setTimeout(resolve, 1));
    const host = Tensor.from(new Uint16Array(3 << 20), [3 << 20], { dtype: 'float16' });
    const seen = [];
    for (let n = 0; n < 4; n += 1) {
      const there = await host.to('cuda');
      const view = there.narrow(0, 5, 5);
      there.dispose();
      seen.push((await refusal(() => host.to('cuda'))).slice(0, 2));
      const { received } = await host.to('cuda').catch((error) => error);
      seen.push(/asking for 6291456 bytes, where \\d+ of 8388608 are free/.test(received));
      if (n % 2 === 0) view.dispose();
      else if (Symbol.dispose) view[Symbol.dispose]();
      else view.dispose();
    }
    for (let n = 0; n < 4; n += 1) {
      await (async () => { (await host.to('cuda')).narrow(0, 1, 1); })();
      for (let turn = 0; turn < 3; turn += 1) { collect(); await settled(); }
    }
    const small = await drawn([1, 1, 64, 64]).to('cuda');
    seen.push((await fused.attention(small, small, small)).output.device);
    return seen;
  `);
  for (const [PTX_DEVICE_POOLS, PTX_ASYNC] of [
    ['1', '0'],
    ['0', '0'],
    ['1', '1'],
    ['0', '1'],
  ] as const) {
    const { result, report } = interpreted(body, { PTX_DEVICE_MEMORY: '8M', PTX_DEVICE_POOLS, PTX_ASYNC });
    t.deepEqual(result, [...Array.from({ length: 4 }, () => [['ERR_OUT_OF_MEMORY', 'tensor'], true]).flat(), 'cuda']);
    t.deepEqual(report.findings, []);
  }
});

onDevice('device tensors: results that a device has no room for leave none behind', (t) => {
  const { result } = interpreted(
    script(`
    const q = await Tensor.from(new Uint16Array(3 << 19), [1, 8, 3072, 64], { dtype: 'float16' }).to('cuda');
    const seen = [];
    for (let n = 0; n < 3; n += 1) {
      seen.push((await refusal(() => fused.attention(q.narrow(2, 0, 2000), q, q, { out: q.narrow(2, 0, 2000) }))).slice(0, 2));
      seen.push((await refusal(() => fused.attention(q, q, q, { score: fused.alibi([1, 2, 3, 4, 5, 6, 7, 8]) }))).slice(0, 2));
      seen.push((await refusal(() => fused.attention(q, q, q, { lse: true, entropy: true }))).slice(0, 2));
      seen.push((await refusal(() => fused.attention(q, q, q, { statistics: { columns: [] } }))).slice(0, 2));
      // Shrinks after it was looked at, and before it is copied.
      const data = new Float32Array(new ArrayBuffer(1 << 21, { maxByteLength: 1 << 21 }));
      const copy = refusal(() => Tensor.from(data, [1 << 19]).to('cuda'));
      data.buffer.resize(8);
      seen.push((await copy).slice(0, 2));
    }
    return seen;
  `),
    { PTX_DEVICE_MEMORY: '6200K' },
  );
  // There is room for the output, and none for lse.
  const each = [
    ['ERR_ALIASING', 'options.out.output'],
    ['ERR_UNSUPPORTED', 'options.score'],
    ['ERR_OUT_OF_MEMORY', 'lse'],
    ['ERR_INVALID_ARG_VALUE', 'options.statistics.columns'],
    ['ERR_SHAPE_MISMATCH', 'tensor'],
  ];
  t.deepEqual(result, [...each, ...each, ...each]);
});

onDevice('device tensors: calls under way keep what they use', (t) => {
  const { result, report } = interpreted(
    script(`
    const native = require('./lib/native.cts').loadNative();
    const host = drawn([1, 2, 60, 64]);
    const expected = bits((await fused.attention(host, host, host, { device: 'cuda' })).output);
    const q = await host.to('cuda');
    const other = await drawn([1, 2, 60, 64]).to('cuda');
    const out = await host.to('cuda');
    native.park('queued');
    const call = fused.attention(q, q, q, { out });
    const copy = q.to('cpu');
    q.dispose();
    const used = await Promise.all([refusal(() => fused.attention(other, other, other, { out })), refusal(() => out.to('cpu'))]);
    const held = other.to('cpu');
    other.dispose();
    native.park(null);
    await held;
    await call;
    return [await home(out) === expected, bits(await copy) === bits(host), used.map((refused) => refused.slice(0, 2))];
  `),
  );
  t.deepEqual(result, [
    true,
    true,
    [
      ['ERR_BUFFER_IN_USE', 'options.out.output'],
      ['ERR_BUFFER_IN_USE', 'tensor'],
    ],
  ]);
  t.deepEqual(report.findings, []);
});

onDevice('device tensors: host memory in a transfer is protected, shared or copied', (t) => {
  const { result } = interpreted(
    script(`
    const native = require('./lib/native.cts').loadNative();
    await tensor.to('cuda');
    native.park('queued');
    const resizable = new Float32Array(new ArrayBuffer(64, { maxByteLength: 128 })).fill(3);
    const shared = new Float32Array(new SharedArrayBuffer(64)).fill(4);
    const plain = new Float32Array(16).fill(5);
    const moving = [resizable, shared, plain].map((data) => Tensor.from(data, [16]).to('cuda'));
    await null; await null; await null;
    resizable.fill(9);
    let moved = true;
    try { structuredClone(plain.buffer, { transfer: [plain.buffer] }); moved = plain.length === 0; } catch { moved = false; }
    native.park(null);
    const values = [];
    for (const there of moving) values.push((await (await there).to('cpu')).data[7]);
    return [values, moved];
  `),
  );
  t.deepEqual(result, [[3, 4, 5], false]);
});

for (const PTX_ASYNC of ['0', '1']) {
  onDevice(
    `device tensors: copies go through pinned memory that is used again, or do without; work is ${whenDone(PTX_ASYNC)}`,
    (t) => {
      const body = script(`
    const host = [drawn([2, 2, 100, 64]), drawn([2, 2, 100, 20]), drawn([1, 2, 5, 64])];
    const failures = [];
    for (const tensor of host) {
      const { output } = await fused.attention(tensor, tensor, tensor, { device: 'cuda' });
      for (let n = 0; n < 10; n += 1) {
        const again = await fused.attention(tensor, tensor, tensor, { device: 'cuda' });
        if (bits(again.output) !== bits(output)) failures.push(n);
        const there = await tensor.to('cuda');
        if (await home(there) !== bits(tensor)) failures.push('copy');
        there.dispose();
      }
    }
    const large = Tensor.from(new Float32Array(20 << 20).fill(7), [20 << 20]);
    const back = await (await large.to('cuda')).to('cpu');
    return [failures, back.data.every((x) => x === 7)];
  `);
      const { result, calls, report } = interpreted(body, { PTX_ASYNC });
      t.deepEqual(result, [[], true]);
      t.deepEqual(report.findings, []);
      t.true(calls['cuMemHostAlloc']! <= 8, `${calls['cuMemHostAlloc']}`);
      t.is(calls['cuMemAlloc_v2'], undefined, 'memory comes in the order of streams');
      t.true(calls['cuMemAllocAsync']! > 100 && calls['cuMemFreeAsync']! > 100);
      const without = interpreted(body, { PTX_ASYNC, PTX_HOST_MEMORY: '0', PTX_DEVICE_POOLS: '0' });
      t.deepEqual(without.result, [[], true]);
      t.is(without.calls['cuMemAllocAsync'], undefined);
    },
  );
}

test('device tensors: without a driver there is the host alone', (t) => {
  const result = inProcess(
    noDriver,
    script(`
    const copy = await tensor.to('cpu');
    copy.dispose();
    return [copy === tensor, tensor.data.length, (await refusal(() => tensor.to('cuda'))).slice(0, 2), (await refusal(() => tensor.to('cuda:1'))).slice(0, 2)];
  `),
  );
  t.deepEqual(result, [false, 1024, ['ERR_NO_DEVICE', 'device'], ['ERR_NO_DEVICE', 'device']]);
});
