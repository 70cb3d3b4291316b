// Options: what each one means for the result, where the meaning can be seen without a reference, and what is refused.

import test from 'ava';
import { attention, attentionSync, causal, slidingWindow, Tensor } from '../lib/index.js';
import type { AttentionBaseOptions, AttentionOptions, TensorInput } from '../lib/index.js';
import { refuses } from './helpers/errors.js';
import { filled } from './helpers/tensors.js';

const B = 2;
const Hq = 4;
const Hkv = 2;
const Nq = 3;
const Nkv = 5;
const D = 8;
const Dv = 6;
const q = filled([B, Hq, Nq, D]);
const k = filled([B, Hkv, Nkv, D]);
const v = filled([B, Hkv, Nkv, Dv]);

const run = (options?: AttentionOptions): Float32Array => attentionSync(q, k, v, options).output.toFloat32();
const same = (a: Float32Array, b: Float32Array): boolean => Buffer.compare(bytes(a), bytes(b)) === 0;
const bytes = (a: Float32Array): Buffer => Buffer.from(a.buffer, a.byteOffset, a.byteLength);
const rawOptions = (options: unknown) => (): unknown => attentionSync(q, k, v, options as never);

test('results: shapes, types and which there are', async (t) => {
  const plain = await attention(q, k, v);
  t.deepEqual(Object.keys(plain), ['output']);
  t.deepEqual(plain.output.shape, [B, Hq, Nq, Dv]);
  t.is(plain.output.dtype, 'float32');
  const full = await attention(q, k, v, { lse: true, entropy: true, rowMax: true });
  t.deepEqual(Object.keys(full), ['output', 'lse', 'entropy', 'rowMax']);
  for (const tensor of [full.lse, full.entropy, full.rowMax]) {
    t.deepEqual(tensor.shape, [B, Hq, Nq]);
    t.is(tensor.dtype, 'float32');
  }
  t.true(same(plain.output.toFloat32(), full.output.toFloat32()));
});

test('undefined is the same as left out', (t) => {
  const names = [
    'scale',
    'mask',
    'bias',
    'softcap',
    'sinks',
    'align',
    'layout',
    'outputDtype',
    'lse',
    'entropy',
    'rowMax',
  ];
  names.push('partial', 'threads', 'out', 'cuSeqlensQ', 'cuSeqlensKv', 'lengthsQ', 'lengthsKv', 'device', 'signal');
  names.push('normalizer');
  const options = Object.fromEntries(names.map((name) => [name, undefined]));
  t.true(same(run(options as AttentionOptions), run()));
  t.true(same(run({ normalizer: 'softmax', device: 'cpu', align: 'bottom-right', layout: 'bhsd' }), run()));
});

test('scale defaults to 1/sqrt(Dqk)', (t) => {
  t.true(same(run(), run({ scale: 1 / Math.sqrt(D) })));
  t.false(same(run(), run({ scale: 1 })));
});

test('layout: the same numbers in another order of axes', (t) => {
  const swap = (tensor: Tensor): Tensor => tensor.transpose(1, 2);
  const { output, lse } = attentionSync(swap(q), swap(k), swap(v), { layout: 'bshd', lse: true });
  t.deepEqual(output.shape, [B, Nq, Hq, Dv]);
  t.deepEqual(output.strides, [Nq * Hq * Dv, Hq * Dv, Dv, 1]);
  t.deepEqual(lse.shape, [B, Hq, Nq]);
  t.true(same(swap(output).toFloat32(), run()));
});

test('layout: [B, S, H*D] goes in by reshape and comes out through out', (t) => {
  const packed = filled([B, Nq, Hq * D]);
  const data = new Float32Array(B * Nq * Hq * D);
  const out = Tensor.from(data, [B, Nq, Hq * D]);
  const heads = packed.reshape([B, Nq, Hq, D]);
  const { output } = attentionSync(heads, heads, heads, { layout: 'bshd', out: out.reshape([B, Nq, Hq, D]) });
  t.is(output.data, data);
  t.true(same(out.toFloat32(), attentionSync(heads, heads, heads, { layout: 'bshd' }).output.toFloat32()));
  t.true(data.some((value) => value !== 0));
});

test('tensors of other libraries go in as they are', (t) => {
  const like = (tensor: Tensor): TensorInput => ({ data: tensor.data, dims: tensor.shape, type: 'float32' });
  t.true(same(attentionSync(like(q), like(k), like(v)).output.toFloat32(), run()));
  const shaped = { data: q.data, shape: q.shape };
  t.true(same(attentionSync(shaped, k, v).output.toFloat32(), run()));
  const mask = { data: new Uint8Array(B * Nkv).fill(1), dims: [B, Nkv], type: 'bool', location: 'cpu' };
  t.true(same(run({ mask }), run()));
});

test('outputDtype: defaults to the type of the query, or of out', (t) => {
  const half = filled([B, Hq, Nq, D], 'bfloat16');
  t.is(attentionSync(half, k, v).output.dtype, 'bfloat16');
  t.true(attentionSync(half, k, v).output.data instanceof Uint16Array);
  t.is(attentionSync(half, k, v, { outputDtype: 'float32' }).output.dtype, 'float32');
  t.is(attentionSync(q, k, v, { outputDtype: 'float16' }).output.dtype, 'float16');
  const out = Tensor.from(new Uint16Array(B * Hq * Nq * Dv), [B, Hq, Nq, Dv], { dtype: 'float16' });
  t.is(attentionSync(half, k, v, { out }).output, out);
  const argument = 'options.out.output';
  const clash = rawOptions({ out, outputDtype: 'float32' });
  refuses(t, clash, { code: 'ERR_INVALID_ARG_VALUE', argument, expected: /float32/, received: /float16/ });
});

test('out: results are the tensors given', async (t) => {
  const output = Tensor.from(new Float32Array(B * Hq * Nq * Dv), [B, Hq, Nq, Dv]);
  const lse = Tensor.from(new Float32Array(B * Hq * Nq), [B, Hq, Nq]);
  const result = await attention(q, k, v, { lse: true, entropy: true, out: { output, lse } });
  t.is(result.output, output);
  t.is(result.lse, lse);
  const fresh = attentionSync(q, k, v, { lse: true, entropy: true });
  t.true(same(output.toFloat32(), fresh.output.toFloat32()));
  t.true(same(lse.toFloat32(), fresh.lse.toFloat32()));
  t.true(same(result.entropy.toFloat32(), fresh.entropy.toFloat32()));
  // A tensor by itself stands for the output, one of another library too.
  const data = new Float32Array(B * Hq * Nq * Dv);
  const like = attentionSync(q, k, v, { out: { data, dims: [B, Hq, Nq, Dv], type: 'float32' } }).output;
  t.is(like.data, data);
  t.true(same(data, fresh.output.toFloat32()));
});

test('out: gaps between rows are left alone', (t) => {
  const data = new Float32Array(B * Hq * Nq * 10).fill(7);
  const out = Tensor.from(data, [B, Hq, Nq, Dv], { strides: [Hq * Nq * 10, Nq * 10, 10, 1] });
  attentionSync(q, k, v, { out });
  t.true(same(out.toFloat32(), run()));
  t.is(data.filter((value) => value === 7).length, B * Hq * Nq * (10 - Dv));
});

test('out: every element is written, of rows that see nothing too', (t) => {
  const [rows, features] = [64, 80];
  const tensor = filled([2, 2, rows, features]);
  const ragged = filled([4 * rows, 2, features]);
  const [dense, flat] = [tensor.shape, ragged.shape];
  const cases: [Tensor, readonly number[], Omit<AttentionBaseOptions, 'sinks' | 'outputDtype'>][] = [
    [tensor, dense, {}],
    [tensor, dense, { lengthsQ: [0, 3], lengthsKv: [5, 0] }],
    [tensor, dense, { mask: filled([2, rows], 'bool'), align: 'top-left' }],
    [tensor, dense, { mask: Tensor.from(new Uint8Array(1), [1, 1, 1, 1], { dtype: 'bool' }) }],
    [ragged, flat, { cuSeqlensQ: [0, 0, 9, 4 * rows, 4 * rows], cuSeqlensKv: [0, 7, 7, 8, 4 * rows], mask: causal() }],
  ];
  for (const [input, shape, options] of cases) {
    const statistic = shape.length === 3 ? [2, 4 * rows] : [2, 2, rows];
    const poisoned = (dims: readonly number[]): Tensor =>
      Tensor.from(new Float32Array(dims.reduce((product, size) => product * size, 1)).fill(NaN), dims);
    const out = {
      output: poisoned(shape),
      lse: poisoned(statistic),
      entropy: poisoned(statistic),
      rowMax: poisoned(statistic),
    };
    attentionSync(input, input, input, { ...options, lse: true, entropy: true, rowMax: true, out });
    for (const [name, { data }] of Object.entries(out)) t.false((data as Float32Array).some(Number.isNaN), name);
    const parts = { o: poisoned([...statistic, features]), m: poisoned(statistic), l: poisoned(statistic) };
    attentionSync(input, input, input, { ...options, partial: true, out: parts });
    for (const [name, { data }] of Object.entries(parts)) t.false((data as Float32Array).some(Number.isNaN), name);
  }
  const none = attentionSync(tensor, tensor.narrow(2, 0, 0), tensor.narrow(2, 0, 0), { lse: true });
  t.true(none.output.toFloat32().every((value) => value === 0));
  t.true(none.lse.toFloat32().every((value) => value === -Infinity));
});

test('out: refuses what the result cannot go to', (t) => {
  const shape = [B, Hq, Nq, Dv];
  const count = B * Hq * Nq * Dv;
  const argument = 'options.out.output';
  const out = (tensor: unknown, more?: object) => rawOptions({ out: tensor, ...more });
  refuses(t, out(filled([B, Hq, Nq, Dv + 1])), { code: 'ERR_SHAPE_MISMATCH', argument });
  refuses(t, out(filled(shape, 'bool')), { code: 'ERR_INVALID_ARG_VALUE', argument });
  refuses(t, out({ outpt: filled(shape) }), {
    code: 'ERR_UNKNOWN_OPTION',
    argument: 'options.out.outpt',
    expected: /'output'/,
  });
  refuses(t, out(7), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.out' });
  refuses(t, out({ output: 7 }), { code: 'ERR_INVALID_ARG_TYPE', argument });
  refuses(t, out({ lse: filled([B, Hq, Nq]) }), { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.out.lse' });
  const transposed = filled([B, Nq, Hq]).transpose(1, 2);
  const lse = { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.out.lse' } as const;
  refuses(t, out({ lse: transposed }, { lse: true }), { ...lse, expected: /contiguous/ });
  const repeated = Tensor.from(new Float32Array(count), shape, { strides: [0, Nq * Dv, Dv, 1] });
  refuses(t, out(repeated), { code: 'ERR_ALIASING', argument });
  const overlapping = Tensor.from(new Float32Array(count), shape, { strides: [Hq * Nq * Dv, Nq * Dv, Dv - 1, 1] });
  refuses(t, out(overlapping), { code: 'ERR_ALIASING', argument });
  const spread = Tensor.from(new Float32Array(2 * count), shape, {
    strides: [2 * Hq * Nq * Dv, 2 * Nq * Dv, 2 * Dv, 2],
  });
  refuses(t, out(spread), { code: 'ERR_INVALID_ARG_VALUE', argument, expected: /contiguous/ });
});

test('out: refuses memory of another argument', (t) => {
  const memory = new ArrayBuffer(4 * 4096);
  const at = (start: number, shape: number[]): Tensor => {
    const count = shape.reduce((product, size) => product * size, 1);
    return Tensor.from(new Float32Array(memory, 4 * start, count), shape);
  };
  const query = at(0, [B, Hq, Nq, D]);
  const overlapping = at(B * Hq * Nq * D - 1, [B, Hq, Nq, Dv]);
  const refusal = { code: 'ERR_ALIASING', argument: 'options.out.output', expected: /query/ } as const;
  refuses(t, () => attentionSync(query, k, v, { out: overlapping }), refusal);
  t.notThrows(() => attentionSync(query, k, v, { out: at(B * Hq * Nq * D, [B, Hq, Nq, Dv]) }));
  const both = { output: at(0, [B, Hq, Nq, Dv]), lse: at(B * Hq * Nq * Dv - 1, [B, Hq, Nq]) };
  const result = rawOptions({ lse: true, out: both });
  refuses(t, result, { code: 'ERR_ALIASING', argument: 'options.out.output', expected: /options\.out\.lse/ });
});

test('inputs may share memory: views of one array, K as V', async (t) => {
  const fused = filled([B, Nq, 3, Hq, D]);
  const part = (index: number): Tensor => fused.narrow(2, index, 1).reshape([B, Nq, Hq, D]);
  const apart = (index: number): Tensor => Tensor.from(part(index).toFloat32(), [B, Nq, Hq, D]);
  const options = { layout: 'bshd', mask: causal() } as const;
  const together = await attention(part(0), part(1), part(1), options);
  const separate = await attention(apart(0), apart(1), apart(1), options);
  t.true(same(together.output.toFloat32(), separate.output.toFloat32()));
});

test('lengths: any array of integers; ragged equals padded', (t) => {
  const lengths = [2, 5];
  const padded = run({ lengthsKv: lengths });
  t.true(same(padded, run({ lengthsKv: Int32Array.from(lengths) })));
  t.true(same(padded, run({ lengthsKv: BigInt64Array.from(lengths, BigInt) })));
  t.false(same(padded, run()));
  // Sequence b of a ragged batch of the same rows.
  const rows = (tensor: Tensor, b: number, count: number): Float32Array =>
    tensor.narrow(0, b, 1).narrow(2, 0, count).transpose(1, 2).toFloat32();
  const join = (tensor: Tensor, counts: number[]): Tensor => {
    const parts = counts.flatMap((count, b) => [...rows(tensor, b, count)]);
    const [, heads, , dim] = tensor.shape as [number, number, number, number];
    return Tensor.from(Float32Array.from(parts), [parts.length / heads / dim, heads, dim]);
  };
  const ragged = attentionSync(join(q, [Nq, Nq]), join(k, lengths), join(v, lengths), {
    cuSeqlensQ: [0, Nq, 2 * Nq],
    cuSeqlensKv: BigInt64Array.of(0n, 2n, 7n),
    lse: true,
  });
  t.deepEqual(ragged.output.shape, [2 * Nq, Hq, Dv]);
  t.deepEqual(ragged.lse.shape, [Hq, 2 * Nq]);
  const expected = Tensor.from(padded, [B, Hq, Nq, Dv]).transpose(1, 2).toFloat32();
  t.true(same(ragged.output.toFloat32(), expected));
});

test('lengths: snapshotted when given', async (t) => {
  const lengths = [2, 5];
  const promise = attention(q, k, v, { lengthsKv: lengths });
  lengths[0] = 5;
  t.true(same((await promise).output.toFloat32(), run({ lengthsKv: [2, 5] })));
});

test('lengths: refused', (t) => {
  const ragged = (q3: Tensor, kv3: Tensor, options: unknown) => () => attentionSync(q3, kv3, kv3, options as never);
  const q3 = filled([6, Hq, D]);
  const kv3 = filled([9, Hkv, D]);
  const range = 'ERR_OUT_OF_RANGE';
  const shape = 'ERR_SHAPE_MISMATCH';
  refuses(t, rawOptions({ lengthsKv: [1] }), { code: shape, argument: 'options.lengthsKv' });
  refuses(t, rawOptions({ lengthsKv: [1, Nkv + 1] }), { code: range, argument: 'options.lengthsKv[1]' });
  refuses(t, rawOptions({ lengthsQ: [-1, 1] }), { code: range, argument: 'options.lengthsQ[0]' });
  refuses(t, rawOptions({ lengthsQ: [1.5, 1] }), { code: range, argument: 'options.lengthsQ[0]' });
  refuses(t, rawOptions({ lengthsQ: [NaN, 1] }), { code: range, argument: 'options.lengthsQ[0]' });
  refuses(t, rawOptions({ lengthsQ: ['1', 1] }), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.lengthsQ[0]' });
  refuses(t, rawOptions({ lengthsQ: new Array(2) }), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.lengthsQ[0]' });
  refuses(t, rawOptions({ lengthsQ: new Float32Array(2) }), {
    code: 'ERR_INVALID_ARG_TYPE',
    argument: 'options.lengthsQ',
  });
  const huge = BigInt64Array.of(2n ** 62n, -(2n ** 62n));
  refuses(t, rawOptions({ lengthsKv: huge }), {
    code: range,
    argument: 'options.lengthsKv[0]',
    received: /4611686018427388000/,
  });
  refuses(t, rawOptions({ cuSeqlensQ: [0, 1] }), { code: shape, argument: 'query', expected: /rank 3/ });
  const good = { cuSeqlensQ: [0, 2, 6], cuSeqlensKv: [0, 9, 9] };
  t.notThrows(ragged(q3, kv3, good));
  refuses(t, ragged(q3, kv3, {}), { code: shape, argument: 'query', expected: /cuSeqlens/ });
  refuses(t, ragged(q3, kv3, { cuSeqlensQ: [0, 6] }), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: 'options.cuSeqlensKv',
  });
  refuses(t, ragged(q3, kv3, { ...good, lengthsQ: [1] }), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: 'options.lengthsQ',
  });
  refuses(t, ragged(q3, kv3, { ...good, cuSeqlensQ: [] }), { code: shape, argument: 'options.cuSeqlensQ' });
  refuses(t, ragged(q3, kv3, { ...good, cuSeqlensQ: [1, 2, 6] }), { code: range, argument: 'options.cuSeqlensQ[0]' });
  refuses(t, ragged(q3, kv3, { ...good, cuSeqlensQ: [0, 4, 3] }), { code: range, argument: 'options.cuSeqlensQ[2]' });
  refuses(t, ragged(q3, kv3, { ...good, cuSeqlensQ: [0, 4, 5] }), { code: shape, argument: 'options.cuSeqlensQ' });
  refuses(t, ragged(q3, kv3, { ...good, cuSeqlensQ: [0, 6] }), { code: shape, argument: 'options.cuSeqlensKv' });
});

test('sinks: numbers, an array or a tensor of any float type', (t) => {
  const sinks = [0.5, -1, 2, 0];
  const expected = run({ sinks });
  t.false(same(expected, run()));
  t.true(same(expected, run({ sinks: Float32Array.from(sinks) })));
  t.true(same(expected, run({ sinks: Tensor.from(Float32Array.from([...sinks, 9]), [4]) })));
  const half = Tensor.from(Uint16Array.of(0x3f00, 0xbf80, 0x4000, 0), [4], { dtype: 'bfloat16' });
  t.true(same(expected, run({ sinks: half })));
  t.true(same(run(), run({ sinks: new Array(4).fill(-Infinity) })));
  refuses(t, rawOptions({ sinks: [1, 2] }), { code: 'ERR_SHAPE_MISMATCH', argument: 'options.sinks' });
  refuses(t, rawOptions({ sinks: filled([4, 1]) }), { code: 'ERR_SHAPE_MISMATCH', argument: 'options.sinks' });
  refuses(t, rawOptions({ sinks: filled([4], 'bool') }), { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.sinks' });
  refuses(t, rawOptions({ sinks: [1, 2, 3, '4'] }), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.sinks[3]' });
  refuses(t, rawOptions({ sinks: 'none' }), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.sinks' });
});

test('bias: broadcasts like NumPy, in any float type', (t) => {
  const full = filled([B, Hq, Nq, Nkv]);
  const expected = run({ bias: full });
  t.false(same(expected, run()));
  // One row of biases, spelt in every way.
  const row = filled([Nkv]);
  const spelt = run({ bias: row });
  for (const shape of [
    [1, Nkv],
    [1, 1, Nkv],
    [1, 1, 1, Nkv],
  ])
    t.true(same(spelt, run({ bias: row.reshape(shape) })));
  const repeated = Tensor.from(row.data, [B, Hq, Nq, Nkv], { strides: [0, 0, 0, 1] });
  t.true(same(spelt, run({ bias: repeated })));
  // Adding one number to all scores changes nothing but rounding; a scalar is of rank 0.
  const shifted = run({ bias: Tensor.from(Float32Array.of(0), []) });
  t.true(same(shifted, run()));
  t.notThrows(() => run({ bias: filled([Hq, 1, 1], 'float16') }));
  refuses(t, rawOptions({ bias: filled([B, Hq, Nkv, Nq]) }), { code: 'ERR_SHAPE_MISMATCH', argument: 'options.bias' });
  refuses(t, rawOptions({ bias: filled([1, B, Hq, Nq, Nkv]) }), {
    code: 'ERR_SHAPE_MISMATCH',
    argument: 'options.bias',
  });
  refuses(t, rawOptions({ bias: filled([Nkv], 'bool') }), { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.bias' });
  refuses(t, rawOptions({ bias: 1 }), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.bias' });
});

test('align moves rules when there are more keys than queries', (t) => {
  const mask = causal();
  const right = run({ mask });
  t.true(same(right, run({ mask, align: 'bottom-right' })));
  const left = run({ mask, align: 'top-left' });
  t.false(same(right, left));
  // Top-left: the first query sees the first key only, so its output is that value.
  const first = v.toFloat32();
  t.true(left.subarray(0, Dv).every((value, d) => Math.abs(value - first[d]!) < 1e-6));
  t.true(same(right, run({ mask: slidingWindow(null, Nkv - Nq), align: 'top-left' })));
});

test('threads do not change the bits', (t) => {
  for (const threads of [1, 2, 3, 1e9]) t.true(same(run({ threads }), run()));
});

test('numbers and choices: refused', (t) => {
  const range = 'ERR_OUT_OF_RANGE';
  for (const scale of [NaN, Infinity, 1e39])
    refuses(t, rawOptions({ scale }), { code: range, argument: 'options.scale' });
  t.notThrows(rawOptions({ scale: 0 }));
  t.notThrows(rawOptions({ scale: -1 }));
  for (const softcap of [0, -1, NaN, Infinity, 1e39, 1e-46]) {
    refuses(t, rawOptions({ softcap }), { code: range, argument: 'options.softcap' });
  }
  for (const threads of [0, -1, 1.5, NaN])
    refuses(t, rawOptions({ threads }), { code: range, argument: 'options.threads' });
  for (const name of ['scale', 'softcap', 'threads']) {
    for (const value of ['1', null, 1n, {}]) {
      refuses(t, rawOptions({ [name]: value }), { code: 'ERR_INVALID_ARG_TYPE', argument: `options.${name}` });
    }
  }
  for (const name of ['lse', 'entropy', 'rowMax', 'partial']) {
    refuses(t, rawOptions({ [name]: 1 }), { code: 'ERR_INVALID_ARG_TYPE', argument: `options.${name}` });
  }
  for (const name of ['align', 'layout', 'outputDtype', 'device']) {
    refuses(t, rawOptions({ [name]: 'bhds' }), { code: 'ERR_INVALID_ARG_VALUE', argument: `options.${name}` });
    refuses(t, rawOptions({ [name]: 3 }), { code: 'ERR_INVALID_ARG_TYPE', argument: `options.${name}` });
  }
  refuses(t, rawOptions({ outputDtype: 'bool' }), { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.outputDtype' });
});

test('devices and normalizers that are not there', (t) => {
  t.true(same(run({ device: 'auto' }), run({ device: 'cpu' })));
  for (const device of ['cuda', 'metal']) {
    refuses(t, rawOptions({ device }), { code: 'ERR_NO_DEVICE', argument: 'options.device', expected: /cpu/ });
  }
  refuses(t, rawOptions({ normalizer: 'entmax' }), { code: 'ERR_INVALID_ARG_VALUE', argument: 'options.normalizer' });
});

test('unknown options are named, with the nearest known one', (t) => {
  const guess: [string, string][] = [
    ['laout', 'layout'],
    ['Scale', 'scale'],
    ['masks', 'mask'],
    ['cu_seqlens_q', 'cuSeqlensQ'],
    ['soft_cap', 'softcap'],
  ];
  for (const [name, nearest] of guess) {
    const expected = RegExp(`did you mean '${nearest}'`);
    refuses(t, rawOptions({ [name]: undefined }), {
      code: 'ERR_UNKNOWN_OPTION',
      argument: `options.${name}`,
      expected,
    });
  }
  const far = {
    code: 'ERR_UNKNOWN_OPTION',
    argument: 'options.dropoutProbability',
    expected: /one of .*'lse'/,
  } as const;
  refuses(t, rawOptions({ dropoutProbability: 0 }), far);
  // Inherited options count: an object made from defaults must not lose them in silence.
  t.true(same(run(Object.create({ scale: 1 }) as AttentionOptions), run({ scale: 1 })));
  refuses(t, rawOptions(Object.create({ laout: 1 })), { code: 'ERR_UNKNOWN_OPTION', argument: 'options.laout' });
  for (const options of [null, 7, 'causal', [], () => 0, causal(), q, new Map()]) {
    refuses(t, rawOptions(options), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options' });
  }
});
