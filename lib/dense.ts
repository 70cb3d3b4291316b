// Copies: elements of a strided view in row-major order, and values as float32.

import type { RawView } from './arrays.js';
import { bfloat16ToFloat32Bits, float16ToFloat32Bits } from './half.js';
import { allocate } from './memory.js';
import { countOf, isContiguous } from './shape.js';
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
  copyRows(shape, strides, asBits(source), asBits(target), count);
  return target;
}

function copyRows(
  shape: readonly number[],
  strides: readonly number[],
  source: Bits,
  target: Bits,
  count: number,
): void {
  const inner = shape.length - 1;
  const columns = shape[inner]!;
  const step = strides[inner]!;
  const index = new Array<number>(inner).fill(0);
  let from = 0;
  for (let to = 0; to < count; to += columns) {
    if (step === 1) target.set(source.subarray(from, from + columns), to);
    else for (let column = 0; column < columns; column += 1) target[to + column] = source[from + column * step]!;
    for (let axis = inner - 1; axis >= 0; axis -= 1) {
      from += strides[axis]!;
      index[axis]! += 1;
      if (index[axis]! < shape[axis]!) break;
      from -= shape[axis]! * strides[axis]!;
      index[axis] = 0;
    }
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
