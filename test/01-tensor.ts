// Tensor: what it accepts, views, and exact widening of the half types.

import { inspect } from 'node:util';

import test from 'ava';
import * as fc from 'fast-check';
import { BlockMap, BlockMask, Group, Mask, Score, Tensor, alibi, blockSparse } from '../lib/index.js';
import { element, filled, indices, resizable, rowMajor } from './helpers/tensors.js';
import { refuses, rejects } from './helpers/errors.js';

const float32 = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => i);
const shapes = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 });
const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

test('from: keeps the array, the shape and the defaults', (t) => {
  const data = float32(24);
  const tensor = Tensor.from(data, [2, 3, 4]);
  t.is(tensor.data, data);
  t.deepEqual(tensor.shape, [2, 3, 4]);
  t.deepEqual(tensor.strides, [12, 4, 1]);
  t.is(tensor.offset, 0);
  t.is(tensor.dtype, 'float32');
  t.is(tensor.device, 'cpu');
  t.is(tensor.size, 24);
  t.true(Object.isFrozen(tensor.shape));
  t.true(Object.isFrozen(tensor.strides));
});

test('from: the shape given is copied', (t) => {
  const shape = [2, 2];
  const tensor = Tensor.from(float32(4), shape);
  shape[0] = 99;
  t.deepEqual(tensor.shape, [2, 2]);
});

test('from: strides and offset, stride 0 included', (t) => {
  const tensor = Tensor.from(float32(10), [2, 3], { strides: [0, 4], offset: 1 });
  t.deepEqual([...tensor.toFloat32()], [1, 5, 9, 1, 5, 9]);
});

test('from: subarrays start at their own start', (t) => {
  const tensor = Tensor.from(float32(10).subarray(4), [2, 2], { offset: 1 });
  t.deepEqual([...tensor.toFloat32()], [5, 6, 7, 8]);
});

test('from: empty shapes need no data, scalars need one element', (t) => {
  t.is(Tensor.from(new Float32Array(0), [3, 0, 2]).size, 0);
  t.is(Tensor.from(new Float32Array(0), [0, 2 ** 50, 2 ** 50]).size, 0);
  t.deepEqual([...Tensor.from(float32(3), [], { offset: 2 }).toFloat32()], [2]);
});

test('from: element types', (t) => {
  t.is(Tensor.from(new Uint16Array(2), [2], { dtype: 'float16' }).dtype, 'float16');
  t.is(Tensor.from(new Uint16Array(2), [2], { dtype: 'bfloat16' }).dtype, 'bfloat16');
  t.is(Tensor.from(new Uint8Array(2), [2], { dtype: 'bool' }).dtype, 'bool');
  const bare = { code: 'ERR_INVALID_ARG_VALUE', argument: 'dtype' } as const;
  refuses(t, () => Tensor.from(new Uint16Array(2), [2]), { ...bare, expected: /'float16' or 'bfloat16'/ });
  refuses(t, () => Tensor.from(new Uint8Array(2), [2]), { ...bare, expected: /'bool'/ });
  refuses(t, () => Tensor.from(new Uint16Array(2), [2], { dtype: 'float32' }), bare);
  refuses(t, () => Tensor.from(new Float32Array(2), [2], { dtype: 'float16' }), bare);
  refuses(t, () => Tensor.from(new Float32Array(2), [2], { dtype: 'int8' as never }), bare);
  refuses(t, () => Tensor.from(new Float32Array(2), [2], { dtype: 7 as never }), {
    code: 'ERR_INVALID_ARG_TYPE',
    argument: 'dtype',
  });
});

test('from: Float16Array where the runtime has it', (t) => {
  const { Float16Array } = globalThis as { Float16Array?: new (values: number[]) => Uint16Array };
  if (Float16Array === undefined) {
    t.pass('this runtime has none');
    return;
  }
  const tensor = Tensor.from(new Float16Array([1, -2.5]), [2]);
  t.is(tensor.dtype, 'float16');
  t.deepEqual([...tensor.toFloat32()], [1, -2.5]);
});

test('from: refuses what is no array of a tensor', (t) => {
  for (const data of [
    [1, 2],
    new Float64Array(2),
    new Int8Array(2),
    new DataView(new ArrayBuffer(8)),
    null,
    'ab',
    {},
  ]) {
    refuses(t, () => Tensor.from(data as never, [2]), { code: 'ERR_INVALID_ARG_TYPE', argument: 'data' });
  }
  // A proxy has the properties of an array but not its memory.
  const proxy = new Proxy(new Float32Array(4), {});
  refuses(t, () => Tensor.from(proxy, [4]), { code: 'ERR_INVALID_ARG_TYPE', argument: 'data' });
});

test('from: a subclass that lies about its length is measured', (t) => {
  class Liar extends Float32Array {
    override get length(): number {
      return 1000;
    }
  }
  refuses(t, () => Tensor.from(new Liar(4), [1000]), { code: 'ERR_SHAPE_MISMATCH', argument: 'data' });
  t.is(Tensor.from(new Liar(4), [4]).toFloat32().length, 4);
});

test('from: refuses shapes, strides and offsets', (t) => {
  const data = float32(8);
  const from = (shape: unknown, options?: unknown) => () => Tensor.from(data, shape as never, options as never);
  refuses(t, from('8'), { code: 'ERR_INVALID_ARG_TYPE', argument: 'shape' });
  refuses(t, from(undefined), { code: 'ERR_INVALID_ARG_TYPE', argument: 'shape' });
  refuses(t, from([2, '4']), { code: 'ERR_INVALID_ARG_TYPE', argument: 'shape[1]' });
  for (const size of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
    refuses(t, from([2, size]), { code: 'ERR_OUT_OF_RANGE', argument: 'shape[1]' });
  }
  refuses(t, from([2 ** 30, 2 ** 30]), { code: 'ERR_OUT_OF_RANGE', argument: 'shape' });
  refuses(t, from(new Array(9).fill(1)), { code: 'ERR_OUT_OF_RANGE', argument: 'shape' });
  refuses(t, from([3, 3]), {
    code: 'ERR_SHAPE_MISMATCH',
    argument: 'data',
    expected: /at least 9/,
    received: /length 8/,
  });
  refuses(t, from([2, 2], { strides: [1] }), { code: 'ERR_SHAPE_MISMATCH', argument: 'strides' });
  refuses(t, from([2, 2], { strides: [-1, 1] }), { code: 'ERR_OUT_OF_RANGE', argument: 'strides[0]' });
  refuses(t, from([2, 2], { strides: [7, 1] }), {
    code: 'ERR_SHAPE_MISMATCH',
    argument: 'data',
    expected: /at least 9/,
  });
  refuses(t, from([2, 2], { strides: [2 ** 52, 2 ** 52] }), { code: 'ERR_SHAPE_MISMATCH', argument: 'data' });
  refuses(t, from([2, 2], { offset: 5 }), { code: 'ERR_SHAPE_MISMATCH', argument: 'data' });
  refuses(t, from([2, 2], { offset: -1 }), { code: 'ERR_OUT_OF_RANGE', argument: 'offset' });
  refuses(t, from([0], { offset: 9 }), { code: 'ERR_SHAPE_MISMATCH', argument: 'data' });
  refuses(t, from([2, 2], { stride: [2, 1] }), { code: 'ERR_UNKNOWN_OPTION', argument: 'options.stride' });
  refuses(t, from([2, 2], null), { code: 'ERR_INVALID_ARG_TYPE', argument: 'options' });
});

test('views: any chain of views reads the elements that indexing says', (t) => {
  const chain = fc.array(fc.tuple(fc.constantFrom('transpose', 'narrow'), fc.nat(), fc.nat(), fc.nat()), {
    maxLength: 5,
  });
  const property = fc.property(shapes, chain, (shape, steps) => {
    const base = Tensor.from(float32(sizeOf(shape)), shape);
    // A model of the view: its shape, and for each index the element of the base that it is.
    let tensor = base;
    let model = new Map([...indices(shape)].map((index) => [index.join(), element(base, index)]));
    for (const [kind, a, b, c] of steps) {
      const rank = tensor.shape.length;
      if (rank === 0) continue;
      const axis = a % rank;
      const next = new Map<string, number>();
      if (kind === 'transpose') {
        const other = b % rank;
        tensor = tensor.transpose(axis, other);
        for (const index of indices(tensor.shape)) {
          const source = [...index];
          [source[axis], source[other]] = [source[other]!, source[axis]!];
          next.set(index.join(), model.get(source.join())!);
        }
      } else {
        const start = b % (tensor.shape[axis]! + 1);
        tensor = tensor.narrow(axis, start, c % (tensor.shape[axis]! - start + 1));
        for (const index of indices(tensor.shape)) {
          next.set(index.join(), model.get(index.map((n, i) => (i === axis ? n + start : n)).join())!);
        }
      }
      model = next;
    }
    t.is(tensor.data, base.data);
    const expected = [...indices(tensor.shape)].map((index) => model.get(index.join()));
    t.deepEqual([...tensor.toFloat32()], expected);
  });
  fc.assert(property, { numRuns: 300 });
});

test('reshape: a view with the same elements in the same order, whenever one exists', (t) => {
  const property = fc.property(
    shapes,
    fc.array(fc.nat(5), { maxLength: 5 }),
    fc.nat(),
    fc.nat(),
    (shape, cuts, a, b) => {
      const base = Tensor.from(float32(sizeOf(shape)), shape);
      const rank = shape.length;
      const tensor = rank === 0 ? base : base.transpose(a % rank, b % rank);
      // A random factorisation of the size.
      const target: number[] = [];
      let rest = tensor.size;
      for (const cut of cuts) {
        if (rest % Math.max(cut, 1) !== 0 || rest === 0) continue;
        target.push(Math.max(cut, 1));
        rest /= Math.max(cut, 1);
      }
      target.push(rest);
      let reshaped: Tensor | null = null;
      try {
        reshaped = tensor.reshape(target);
      } catch (error) {
        t.is((error as { code: string }).code, 'ERR_UNSUPPORTED');
      }
      if (reshaped !== null) {
        t.deepEqual(reshaped.shape, target);
        t.deepEqual([...reshaped.toFloat32()], [...tensor.toFloat32()]);
        return;
      }
      // A view exists exactly when positions in memory are affine in each new axis.
      const order = [...indices(tensor.shape)].map((index) => element(tensor, index));
      const steps = rowMajor(target);
      const strides = target.map((size, axis) => (size > 1 ? order[steps[axis]!]! - order[0]! : 0));
      const positions = [...indices(target)].map((index) =>
        index.reduce((sum, n, axis) => sum + n * strides[axis]!, order[0]!),
      );
      t.notDeepEqual(positions, order, `[${tensor.shape}] strides [${tensor.strides}] could be seen as [${target}]`);
    },
  );
  fc.assert(property, { numRuns: 500 });
});

test('reshape: heads in and out of the last axis', (t) => {
  const packed = Tensor.from(float32(2 * 3 * 8), [2, 3, 8]);
  const heads = packed.reshape([2, 3, 2, 4]).transpose(1, 2);
  t.deepEqual(heads.shape, [2, 2, 3, 4]);
  t.deepEqual(heads.strides, [24, 4, 8, 1]);
  t.deepEqual([...heads.transpose([0, 2, 1, 3]).reshape([2, 3, 8]).toFloat32()], [...packed.toFloat32()]);
  refuses(t, () => heads.reshape([2, 2, 12]), { code: 'ERR_UNSUPPORTED', argument: 'shape', expected: /copy/ });
  refuses(t, () => packed.reshape([2, 3, 9]), {
    code: 'ERR_SHAPE_MISMATCH',
    argument: 'shape',
    expected: /48 elements/,
  });
});

test('views: refuse axes and ranges that there are not', (t) => {
  const tensor = filled([2, 3, 4]);
  refuses(t, () => tensor.transpose(0, 3), { code: 'ERR_OUT_OF_RANGE', argument: 'second' });
  refuses(t, () => tensor.transpose(-1, 1), { code: 'ERR_OUT_OF_RANGE', argument: 'first' });
  refuses(t, () => tensor.transpose([0, 1]), { code: 'ERR_INVALID_ARG_VALUE', argument: 'order' });
  refuses(t, () => tensor.transpose([0, 1, 1]), { code: 'ERR_INVALID_ARG_VALUE', argument: 'order' });
  refuses(t, () => tensor.transpose([0, 1, 3]), { code: 'ERR_OUT_OF_RANGE', argument: 'order[2]' });
  refuses(t, () => tensor.narrow(3, 0, 1), { code: 'ERR_OUT_OF_RANGE', argument: 'axis' });
  refuses(t, () => tensor.narrow(1, 4, 0), { code: 'ERR_OUT_OF_RANGE', argument: 'start' });
  refuses(t, () => tensor.narrow(1, 2, 2), { code: 'ERR_OUT_OF_RANGE', argument: 'length' });
  refuses(t, () => tensor.narrow('1' as never, 0, 1), { code: 'ERR_INVALID_ARG_TYPE', argument: 'axis' });
});

test('toFloat32: every float16, bit for bit', (t) => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const values = Tensor.from(all, [65536], { dtype: 'float16' }).toFloat32();
  const bits = new Uint32Array(values.buffer);
  let wrong = 0;
  for (let i = 0; i < 65536; i += 1) {
    const sign = i >> 15 ? -1 : 1;
    const exponent = (i >> 10) & 31;
    const fraction = i & 1023;
    if (exponent === 31) {
      const expected = ((i & 0x8000) << 16) | 0x7f800000 | (fraction << 13);
      if (bits[i] !== expected >>> 0) wrong += 1;
    } else {
      const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
      if (!Object.is(values[i], sign * magnitude)) wrong += 1;
    }
  }
  t.is(wrong, 0);
});

test('toFloat32: every bfloat16, bit for bit', (t) => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const bits = new Uint32Array(Tensor.from(all, [65536], { dtype: 'bfloat16' }).toFloat32().buffer);
  t.true(bits.every((value, i) => value === i * 65536));
});

test('toFloat32: NaN payloads of float32 survive, strided or not; bool is 0 and 1', (t) => {
  const bits = Uint32Array.of(0x7f800001, 0xffc12345, 0x7fffffff, 0xff800001);
  const nan = Tensor.from(new Float32Array(bits.buffer), [2, 2]);
  t.deepEqual([...new Uint32Array(nan.toFloat32().buffer)], [...bits]);
  const turned = [...new Uint32Array(nan.transpose(0, 1).toFloat32().buffer)];
  t.deepEqual(turned, [bits[0], bits[2], bits[1], bits[3]]);
  t.deepEqual([...Tensor.from(Uint8Array.of(0, 1, 255), [3], { dtype: 'bool' }).toFloat32()], [0, 1, 1]);
});

test('toFloat32: always memory of its own', (t) => {
  const data = float32(4);
  const copy = Tensor.from(data, [4]).toFloat32();
  data[0] = 9;
  t.deepEqual([...copy], [0, 1, 2, 3]);
});

test('data that has gone is noticed when it is used', (t) => {
  const data = float32(4);
  const tensor = Tensor.from(data, [4]);
  structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] });
  refuses(t, () => tensor.toFloat32(), { code: 'ERR_INVALID_ARG_VALUE', argument: 'tensor', received: /detached/ });

  const buffer = resizable(16, 32);
  const tracking = Tensor.from(new Float32Array(buffer), [4]);
  const fixed = Tensor.from(new Float32Array(buffer, 0, 4), [4]);
  buffer.resize(8);
  refuses(t, () => tracking.toFloat32(), { code: 'ERR_SHAPE_MISMATCH', argument: 'tensor', received: /length 2/ });
  refuses(t, () => fixed.toFloat32(), { code: 'ERR_SHAPE_MISMATCH', argument: 'tensor', received: /resizable/ });
  buffer.resize(32);
  t.is(tracking.toFloat32().length, 4);
  t.is(fixed.toFloat32().length, 4);
});

test('shared memory is as good as any', (t) => {
  const data = new Float32Array(new SharedArrayBuffer(16));
  data.set([1, 2, 3, 4]);
  t.deepEqual([...Tensor.from(data, [2, 2]).transpose(0, 1).toFloat32()], [1, 3, 2, 4]);
});

test('dispose ends this tensor only', (t) => {
  const tensor = filled([2, 2]);
  const view = tensor.narrow(0, 0, 1);
  tensor.dispose();
  tensor.dispose();
  for (const use of [() => tensor.data, () => tensor.shape, () => tensor.toFloat32(), () => tensor.reshape([4])]) {
    refuses(t, use, { code: 'ERR_DISPOSED', argument: 'tensor' });
  }
  t.is(String(tensor), 'Tensor(disposed)');
  t.is(view.toFloat32().length, 2);
  const { dispose } = Symbol as { dispose?: symbol };
  if (dispose) {
    (view as unknown as Record<symbol, () => void>)[dispose]!();
    refuses(t, () => view.data, { code: 'ERR_DISPOSED', argument: 'tensor' });
  }
});

test('classes whose objects are made by functions: their constructors refuse to be called', (t) => {
  const view = { data: new Float32Array(4), dtype: 'nonsense', shape: [4], strides: [1], offset: 0 };
  for (const made of [Tensor, Mask, BlockMask, BlockMap, Score, Group]) {
    const refusal = { code: 'ERR_INVALID_ARG_VALUE', argument: `new ${made.name}` } as const;
    const construct = made as unknown as new (...given: unknown[]) => object;
    for (const given of [[], [view], [Symbol('fused-attention'), view]])
      refuses(t, () => new construct(...given), refusal);
    refuses(t, () => new (class extends construct {})(), refusal);
  }
});

test('methods and getters refuse what is not of their class, and reject where they are asynchronous', async (t) => {
  const tensor = Tensor.from(new Float32Array(4), [4]);
  const refusal = { code: 'ERR_INVALID_ARG_TYPE', argument: 'this' } as const;
  const { reshape, to } = tensor;
  refuses(t, () => reshape([2, 2]), refusal);
  await rejects(t, () => to('cpu'), refusal);
  refuses(t, () => Object.create(tensor).shape, refusal);
  const blocks = blockSparse([[0]], { blockSize: 4 });
  const { list } = blocks;
  refuses(t, () => list(0), refusal);
  refuses(t, () => BlockMask.prototype.density, refusal);
  refuses(t, () => Mask.prototype.source, refusal);
  refuses(t, () => alibi(2).with.call(blocks as never, {}), refusal);
  refuses(t, () => blocks.map().toSVG.call({} as never), refusal);
  t.is(String(Mask.prototype.toString.call(blocks)), String(blocks)); // a BlockMask is a Mask
});

test('printing says what it is', (t) => {
  t.is(String(filled([1, 2], 'bool')), 'Tensor(bool [1, 2])');
  t.is(inspect(filled([1, 2])), 'Tensor(float32 [1, 2])');
});
