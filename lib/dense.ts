// Copies: elements of a strided view in row-major order, and values as float32.

import type { RawView } from './arrays.js';
import { bfloat16ToFloat32Bits, float16ToFloat32Bits } from './half.js';
import { allocate } from './memory.js';
import { contiguousStrides, countOf, isContiguous } from './shape.js';
import { checkExtent, rawView } from './view.js';
import type { HostView } from './view.js';

type Bits = Uint32Array | Uint16Array | Uint8Array;

/** Elements in row-major order: the memory itself where it has that order, otherwise a copy. */
export function denseElements(view: HostView, argument: string): RawView {
  checkExtent(argument, view);
  const source = rawView(view);
  const { shape, strides } = view;
  if (isContiguous(shape, strides)) return source;
  const count = countOf(shape);
  const target = allocate(view.dtype, count, argument);
  copyElements(view, { data: target, dtype: view.dtype, shape, strides: contiguousStrides(shape), offset: 0 });
  return target;
}

/** Copies elements to another view of the same shape and type, bit for bit. */
export function copyElements(from: HostView, to: HostView): void {
  const { shape } = from;
  if (shape.includes(0)) return;
  const [source, target] = [asBits(rawView(from)), asBits(rawView(to))];
  // The last axes that are without gaps on both sides are copied as one.
  let inner = shape.length;
  let columns = 1;
  while (inner > 0 && from.strides[inner - 1] === columns && to.strides[inner - 1] === columns) {
    inner -= 1;
    columns *= shape[inner]!;
  }
  const index = new Array<number>(inner).fill(0);
  let [read, write] = [0, 0];
  for (;;) {
    if (columns > 1) target.set(source.subarray(read, read + columns), write);
    else target[write] = source[read]!;
    let axis = inner - 1;
    for (; axis >= 0; axis -= 1) {
      read += from.strides[axis]!;
      write += to.strides[axis]!;
      index[axis]! += 1;
      if (index[axis]! < shape[axis]!) break;
      read -= shape[axis]! * from.strides[axis]!;
      write -= shape[axis]! * to.strides[axis]!;
      index[axis] = 0;
    }
    if (axis < 0) return;
  }
}

/** The same memory as integers. A NaN read as a number may come back with another payload. */
function asBits(array: RawView): Bits {
  return array instanceof Float32Array ? new Uint32Array(array.buffer, array.byteOffset, array.length) : array;
}

/** Values in row-major order as float32, in memory of their own. Bit for bit, NaNs included. */
export function denseFloat32(view: HostView, argument: string): Float32Array {
  const elements = denseElements(view, argument);
  const result = allocate('float32', elements.length, argument) as Float32Array;
  const bits = asBits(result);
  switch (view.dtype) {
    case 'float32':
      result.set(elements);
      break;
    case 'float16':
      for (let i = 0; i < bits.length; i += 1) bits[i] = float16ToFloat32Bits(elements[i]!);
      break;
    case 'bfloat16':
      for (let i = 0; i < bits.length; i += 1) bits[i] = bfloat16ToFloat32Bits(elements[i]!);
      break;
    case 'bool':
      for (let i = 0; i < bits.length; i += 1) result[i] = elements[i] === 0 ? 0 : 1;
      break;
  }
  return result;
}
