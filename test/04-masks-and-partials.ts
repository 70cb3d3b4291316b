// Masks and partials at the level of the API: equalities between ways to say the same thing.

import test from 'ava';
import {
  attention,
  attentionSync,
  causal,
  Mask,
  mergePartials,
  mergePartialsSync,
  slidingWindow,
  Tensor,
} from '../lib/index.js';
import type { MaskItem, SoftmaxPartial } from '../lib/index.js';
import { Random } from './reference/random.js';
import { refuses, rejects } from './helpers/errors.js';
import { filled } from './helpers/tensors.js';
import { loadNative } from '../lib/native.cjs';

const random = new Random(4);
const normal = (shape: number[]): Tensor =>
  Tensor.from(Float32Array.from(random.normals(shape.reduce((product, size) => product * size, 1))), shape);

const B = 2;
const H = 4;
const Nq = 7;
const Nkv = 11;
const q = normal([B, H, Nq, 16]);
const k = normal([B, 2, Nkv, 16]);
const v = normal([B, 2, Nkv, 12]);

/** A boolean tensor by a rule over its indices. */
const grid = (shape: number[], allowed: (...index: number[]) => boolean): Tensor => {
  const data = new Uint8Array(shape.reduce((product, size) => product * size, 1));
  data.forEach((_, at) => {
    const index: number[] = [];
    for (let axis = shape.length - 1, rest = at; axis >= 0; rest = Math.floor(rest / shape[axis--]!)) {
      index.unshift(rest % shape[axis]!);
    }
    data[at] = allowed(...index) ? 1 + (at % 255) : 0;
  });
  return Tensor.from(data, shape, { dtype: 'bool' });
};

const closeTo = (a: Float32Array, b: Float32Array, bound: number): boolean =>
  a.length === b.length && a.every((value, i) => Object.is(value, b[i]) || Math.abs(value - b[i]!) <= bound);

const masked = (mask: MaskItem | MaskItem[], align?: 'top-left'): Float32Array =>
  attentionSync(q, k, v, { mask, align }).output.toFloat32();

test('rules equal boolean grids of the same rule', (t) => {
  const offset = Nkv - Nq;
  const rules: [MaskItem | MaskItem[], (i: number, j: number) => boolean][] = [
    [causal(), (i, j) => j <= i],
    [slidingWindow(3, 2), (i, j) => j >= i - 3 && j <= i + 2],
    [slidingWindow(0, 0), (i, j) => i === j],
    [slidingWindow(null, 1), (i, j) => j <= i + 1],
    [slidingWindow(2, Infinity), (i, j) => j >= i - 2],
    [[causal(), slidingWindow(2, 5)], (i, j) => j <= i && j >= i - 2],
    [[slidingWindow(null, null)], () => true],
    [[], () => true],
  ];
  for (const [mask, rule] of rules) {
    for (const align of [undefined, 'top-left'] as const) {
      const start = align === 'top-left' ? 0 : offset;
      const allowed = grid([1, 1, Nq, Nkv], (_b, _h, row, column) => rule(row + start, column));
      t.true(closeTo(masked(mask, align), masked(allowed), 1e-6), `${String(mask)} ${align}`);
    }
  }
});

test('grids: axes of size 1 apply to all, strides are free, all items must allow', (t) => {
  const rule = (b: number, h: number, row: number, column: number): boolean => (b + 2 * h + 3 * row + column) % 3 !== 0;
  const full = grid([B, H, Nq, Nkv], rule);
  const [data, shape] = [full.data, [B, H, Nq, Nkv]];
  t.true(closeTo(masked(full), masked(Tensor.from(data, shape, { dtype: 'bool' })), 0));
  const turned = grid([Nkv, Nq, H, B], (column, row, h, b) => rule(b, h, row, column)).transpose([3, 2, 1, 0]);
  t.true(closeTo(masked(full), masked(turned), 0));
  const byHead = grid([1, H, 1, Nkv], (_b, h, _row, column) => (h + column) % 2 === 0);
  const spelt = grid([B, H, Nq, Nkv], (_b, h, _row, column) => (h + column) % 2 === 0);
  t.true(closeTo(masked(byHead), masked(spelt), 0));
  const keys = grid([B, Nkv], (b, column) => column < 4 + 3 * b);
  const both = grid(
    [B, H, Nq, Nkv],
    (b, h, row, column) => rule(b, h, row, column) && column < 4 + 3 * b && column <= row + Nkv - Nq,
  );
  t.true(closeTo(masked([full, causal(), keys]), masked(both), 1e-6));
  // Rank 2 is padding of keys, also where it could be taken for a grid.
  const square = normal([3, 1, 3, 4]);
  const padding = grid([3, 3], (b, column) => column <= b);
  const output = attentionSync(square, square, square, { mask: padding }).output.toFloat32();
  const lengths = attentionSync(square, square, square, { lengthsKv: [1, 2, 3] }).output.toFloat32();
  t.true(closeTo(output, lengths, 1e-6));
});

test('rows that see nothing: 0, −∞ and a sink', (t) => {
  const none = grid([1, 1, Nq, 1], (_b, _h, row) => row !== 2);
  const { output, lse, entropy, rowMax } = attentionSync(q, k, v, {
    mask: none,
    lse: true,
    entropy: true,
    rowMax: true,
  });
  const row = (tensor: Tensor): number[] => [...tensor.narrow(2, 2, 1).toFloat32()];
  t.true(row(output).every((value) => Object.is(value, 0)));
  t.true(row(lse).every((value) => value === -Infinity));
  t.true(row(entropy).every((value) => value === 0));
  t.true(row(rowMax).every((value) => value === -Infinity));
  const sinks = [1, 2, 3, 4];
  t.deepEqual(row(attentionSync(q, k, v, { mask: none, sinks, lse: true }).lse), [...sinks, ...sinks]);
});

test('masks: refused', (t) => {
  const call = (mask: unknown, more?: object) => () => attentionSync(q, k, v, { mask, ...more } as never);
  const shape = 'ERR_SHAPE_MISMATCH';
  const yes = (dims: number[]): Tensor => grid(dims, () => true);
  refuses(t, call(yes([B, H, Nq, Nkv + 1])), { code: shape, argument: 'options.mask' });
  refuses(t, call(yes([H, Nq, Nkv])), { code: shape, argument: 'options.mask' });
  refuses(t, call([causal(), yes([Nq, Nkv])]), { code: shape, argument: 'options.mask[1]', expected: /\[2, 11\]/ });
  refuses(t, call([normal([B, Nkv])]), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: 'options.mask[0]',
    expected: /bool/,
  });
  refuses(t, call([true]), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.mask[0]' });
  refuses(t, call(null), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.mask' });
  refuses(t, call(Object.create(Mask.prototype)), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options.mask' });
  refuses(t, call(new Array(1025).fill(causal())), { code: 'ERR_OUT_OF_RANGE', argument: 'options.mask' });
  const ragged = filled([4, 2, 8]);
  const lengths = { cuSeqlensQ: [0, 4], cuSeqlensKv: [0, 4] };
  for (const [name, value] of [
    ['mask', yes([1, 4])],
    ['bias', filled([4])],
  ] as const) {
    const options = { ...lengths, [name]: value };
    refuses(t, () => attentionSync(ragged, ragged, ragged, options), {
      code: 'ERR_UNSUPPORTED',
      argument: `options.${name}`,
    });
  }
  t.notThrows(() => attentionSync(ragged, ragged, ragged, { ...lengths, mask: causal() }));
});

test('a mask prints as it was made', (t) => {
  t.is(String(causal()), 'causal()');
  t.is(String(slidingWindow(4, null)), 'slidingWindow(4, null)');
});

/** Attention over keys [from, to). */
const slice = (from: number, to: number, options?: object): SoftmaxPartial =>
  attentionSync(q, k.narrow(2, from, to - from), v.narrow(2, from, to - from), { ...options, partial: true });

test('a partial is the sums that it says', (t) => {
  const partial = slice(0, Nkv);
  t.deepEqual(Object.keys(partial), ['kind', 'o', 'm', 'l']);
  t.deepEqual(partial.o.shape, [B, H, Nq, 12]);
  t.deepEqual(
    [partial.m.shape, partial.l.shape],
    [
      [B, H, Nq],
      [B, H, Nq],
    ],
  );
  const { output, lse } = attentionSync(q, k, v, { lse: true });
  const [o, m, l] = [partial.o.toFloat32(), partial.m.toFloat32(), partial.l.toFloat32()];
  const logs = m.map((value, i) => (value + Math.log2(l[i]!)) * Math.LN2);
  t.true(closeTo(logs, lse.toFloat32(), 1e-5));
  t.true(
    closeTo(
      o.map((value, i) => value / l[Math.floor(i / 12)]!),
      output.toFloat32(),
      1e-6,
    ),
  );
});

test('partials and results of slices of the keys merge into the whole', async (t) => {
  const sinks = [0.5, -1, 2, 0];
  const finished = attentionSync(q, k.narrow(2, 9, 2), v.narrow(2, 9, 2), { lse: true });
  const parts = [slice(0, 4), slice(4, 4), slice(4, 9), finished];
  const plain = attentionSync(q, k, v, { lse: true });
  const merged = await mergePartials(parts);
  t.deepEqual(merged.output.shape, [B, H, Nq, 12]);
  t.true(closeTo(merged.output.toFloat32(), plain.output.toFloat32(), 1e-6));
  t.true(closeTo(merged.lse.toFloat32(), plain.lse.toFloat32(), 1e-5));
  const sunk = attentionSync(q, k, v, { lse: true, sinks });
  const withSinks = mergePartialsSync(parts, { sinks });
  t.true(closeTo(withSinks.output.toFloat32(), sunk.output.toFloat32(), 1e-6));
  t.true(closeTo(withSinks.lse.toFloat32(), sunk.lse.toFloat32(), 1e-5));
});

test('merging in other layouts', (t) => {
  const swap = (tensor: Tensor): Tensor => tensor.transpose(1, 2);
  const part = (from: number, to: number) => {
    const [key, value] = [k.narrow(2, from, to - from), v.narrow(2, from, to - from)];
    return attentionSync(swap(q), swap(key), swap(value), { layout: 'bshd', lse: true });
  };
  const whole = attentionSync(swap(q), swap(k), swap(v), { layout: 'bshd', lse: true });
  const partial = attentionSync(swap(q), swap(k.narrow(2, 0, 5)), swap(v.narrow(2, 0, 5)), {
    layout: 'bshd',
    partial: true,
  });
  t.deepEqual(partial.o.shape, [B, H, Nq, 12]);
  for (const parts of [
    [part(0, 5), part(5, Nkv)],
    [partial, part(5, Nkv)],
  ]) {
    const merged = mergePartialsSync(parts, { layout: 'bshd' });
    t.deepEqual(merged.output.shape, [B, Nq, H, 12]);
    t.true(closeTo(merged.output.toFloat32(), whole.output.toFloat32(), 1e-6));
    t.true(closeTo(merged.lse.toFloat32(), whole.lse.toFloat32(), 1e-5));
  }
});

test('merging ragged batches', (t) => {
  const rows = normal([9, H, 8]);
  const options = { cuSeqlensQ: [0, 2, 9], cuSeqlensKv: [0, 2, 9], lse: true } as const;
  const whole = attentionSync(rows, rows, rows, options);
  // Keys of even and of odd positions of each sequence.
  const pick = (at: number[]): Tensor =>
    Tensor.from(Float32Array.from(at.flatMap((n) => [...rows.narrow(0, n, 1).toFloat32()])), [at.length, H, 8]);
  const even = pick([0, 2, 4, 6, 8]);
  const odd = pick([1, 3, 5, 7]);
  const partial = attentionSync(rows, even, even, { cuSeqlensQ: [0, 2, 9], cuSeqlensKv: [0, 1, 5], partial: true });
  t.deepEqual(
    [partial.o.shape, partial.m.shape],
    [
      [H, 9, 8],
      [H, 9],
    ],
  );
  const finished = attentionSync(rows, odd, odd, { ...options, cuSeqlensKv: [0, 1, 4] });
  const merged = mergePartialsSync([partial, finished]);
  t.deepEqual(
    [merged.output.shape, merged.lse.shape],
    [
      [9, H, 8],
      [H, 9],
    ],
  );
  t.true(closeTo(merged.output.toFloat32(), whole.output.toFloat32(), 1e-6));
  t.true(closeTo(merged.lse.toFloat32(), whole.lse.toFloat32(), 1e-5));
});

test('partials and merges write to out', async (t) => {
  const o = filled([B, H, Nq, 12]);
  const partial = await attention(q, k, v, { partial: true, out: { o } });
  t.is(partial.o, o);
  const output = Tensor.from(new Float32Array(B * Nq * H * 12), [B, H, Nq, 12]);
  const lse = filled([B, H, Nq]);
  const merged = await mergePartials([partial], { out: { output, lse } });
  t.is(merged.output, output);
  t.is(merged.lse, lse);
  t.true(closeTo(output.toFloat32(), attentionSync(q, k, v).output.toFloat32(), 1e-6));
  const turned = output.transpose(1, 2);
  t.is(mergePartialsSync([partial], { layout: 'bshd', out: { output: turned } }).output, turned);
  const rowsFirst = filled([B, Nq, H, 12]);
  const argument = 'options.out.output';
  const call = (out: object, more?: object) => () => mergePartialsSync([partial], { out, ...more });
  refuses(t, call({ output: rowsFirst }, { layout: 'bshd' }), { code: 'ERR_UNSUPPORTED', argument });
  refuses(t, call({ output: rowsFirst }), { code: 'ERR_SHAPE_MISMATCH', argument });
  refuses(t, call({ output: o }), { code: 'ERR_ALIASING', argument, expected: /parts\[0\]\.o/ });
});

test('partials: refused', async (t) => {
  const options = (more: object) => () => slice(0, 4, more);
  const value = 'ERR_INVALID_ARG_VALUE';
  refuses(t, options({ sinks: [1, 2, 3, 4] }), { code: value, argument: 'options.sinks', expected: /mergePartials/ });
  for (const name of ['lse', 'entropy', 'rowMax'])
    refuses(t, options({ [name]: true }), { code: value, argument: `options.${name}` });
  refuses(t, options({ outputDtype: 'float16' }), { code: value, argument: 'options.outputDtype' });
  t.notThrows(options({ outputDtype: 'float32', lse: false }));

  const good = slice(0, 4);
  const result = attentionSync(q, k, v, { lse: true });
  const merge = (parts: unknown, more?: object) => () => mergePartialsSync(parts as never, more);
  const type = 'ERR_INVALID_ARG_TYPE';
  const shape = 'ERR_SHAPE_MISMATCH';
  refuses(t, merge(good), { code: type, argument: 'parts' });
  refuses(t, merge([]), { code: 'ERR_OUT_OF_RANGE', argument: 'parts' });
  refuses(t, merge([good, 7]), { code: type, argument: 'parts[1]' });
  refuses(t, merge([{ ...good, kind: 'softmin' }]), { code: value, argument: 'parts[0].kind' });
  const sum = attentionSync(q, k, v, { normalizer: 'relu', partial: true });
  for (const parts of [
    [good, sum],
    [sum, good],
    [sum, { output: result.output, lse: result.lse }],
    [sum, { ...sum, kind: 'sigmoid' }],
  ]) {
    refuses(t, merge(parts), { code: value, argument: 'parts[1].kind', expected: /as parts\[0\] has/ });
  }
  refuses(t, merge([sum], { sinks: [1] }), { code: 'ERR_UNSUPPORTED', argument: 'options.sinks' });
  refuses(t, merge([sum], { out: { lse: result.lse } }), {
    code: 'ERR_UNKNOWN_OPTION',
    argument: 'options.out.lse',
  });
  refuses(t, merge([{ kind: 'relu', o: filled([H, Nq]) }]), { code: shape, argument: 'parts[0].o' });
  refuses(t, merge([sum, { kind: 'relu', o: filled([B, H, Nq, 13]) }]), { code: shape, argument: 'parts[1].o' });
  refuses(t, merge([sum], { partial: true }), { code: 'ERR_UNSUPPORTED', argument: 'options.partial' });
  const native = loadNative();
  const numbers = (...kinds: number[]) => Float64Array.of(1, 1, 1, 1, 1, 0, 0, kinds.length, ...kinds);
  const one = () => new Float32Array(1);
  for (const [kinds, code] of [
    [[2, 0], 'ERR_INVALID_ARG_VALUE'],
    [[1, 2], 'ERR_INVALID_ARG_VALUE'],
    [[3], 'ERR_OUT_OF_RANGE'],
  ] as const) {
    const buffers = [one(), one(), null, ...kinds.flatMap(() => [one(), one(), one()])];
    t.throws(() => native.mergeSync(numbers(...kinds), buffers), { code });
  }
  refuses(t, merge([{ ...good, l: undefined }]), { code: type, argument: 'parts[0].l' });
  refuses(t, merge([{ output: result.output }]), { code: type, argument: 'parts[0].lse' });
  refuses(t, merge([{ ...good, m: filled([B, H, Nq + 1]) }]), { code: shape, argument: 'parts[0].m' });
  refuses(t, merge([good, { ...result, output: filled([B, H, Nq, 13]) }]), {
    code: shape,
    argument: 'parts[1].output',
  });
  refuses(t, merge([{ ...good, o: filled([B, H, Nq, 12], 'bfloat16') }]), { code: value, argument: 'parts[0].o' });
  refuses(t, merge([{ ...good, o: filled([12]) }]), { code: shape, argument: 'parts[0].o' });
  refuses(t, merge([good], { sinks: [1] }), { code: shape, argument: 'options.sinks' });
  refuses(t, merge([good], { scale: 1 }), { code: 'ERR_UNKNOWN_OPTION', argument: 'options.scale' });
  refuses(t, merge([good], { layout: 'sbhd' }), { code: value, argument: 'options.layout' });
  await rejects(t, () => mergePartials([] as never), { code: 'ERR_OUT_OF_RANGE', argument: 'parts' });
});

test('partials of partials are partials, and the order of a tree is that of all at once', async (t) => {
  const sinks = [0.5, -1, 2, 0];
  const parts = [slice(0, 3), slice(3, 7), slice(7, 9), slice(9, Nkv)];
  const pair = (first: number) => mergePartialsSync(parts.slice(first, first + 2), { partial: true });
  const [left, right] = [pair(0), pair(2)];
  t.deepEqual(Object.keys(left), ['kind', 'o', 'm', 'l']);
  t.deepEqual([left.o.shape, left.m.shape, left.l.shape], [parts[0]!.o.shape, parts[0]!.m.shape, parts[0]!.l.shape]);
  const whole = mergePartialsSync(parts, { sinks });
  const staged = mergePartialsSync([left, right], { sinks });
  t.deepEqual(staged.output.data, whole.output.data);
  t.deepEqual(staged.lse.data, whole.lse.data);
  const out = {
    o: filled(left.o.shape as number[]),
    m: filled(left.m.shape as number[]),
    l: filled(left.l.shape as number[]),
  };
  const given = await mergePartials(parts.slice(0, 2), { partial: true, out });
  t.is(given.o, out.o);
  t.deepEqual([given.o.data, given.m.data, given.l.data], [left.o.data, left.m.data, left.l.data]);
  const nothing = mergePartialsSync([slice(0, 0), slice(4, 4)], { partial: true });
  t.true(nothing.m.toFloat32().every((value) => value === -Infinity));
  t.true([...nothing.l.toFloat32(), ...nothing.o.toFloat32()].every((value) => value === 0));
});

test('a merge rounds its output once', (t) => {
  const parts = [slice(0, 4), slice(4, Nkv)];
  const words = new Uint32Array(mergePartialsSync(parts).output.toFloat32().buffer);
  const rounded = Uint16Array.from(words, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
  const { output } = mergePartialsSync(parts, { outputDtype: 'bfloat16' });
  t.is(output.dtype, 'bfloat16');
  t.deepEqual(output.data, rounded);
  const out = filled(output.shape as number[], 'bfloat16');
  t.is(mergePartialsSync(parts, { out: { output: out } }).output, out);
  t.deepEqual(out.data, rounded);
  const refuse = (options: object, argument: string): void =>
    refuses(t, () => mergePartialsSync(parts, options), { code: 'ERR_INVALID_ARG_VALUE', argument });
  refuse({ outputDtype: 'float32', out: { output: out } }, 'options.out.output');
  refuse({ partial: true, outputDtype: 'float32' }, 'options.outputDtype');
  refuse({ partial: true, sinks: [0, 0, 0, 0] }, 'options.sinks');
});
