// Typed arrays as users hand them over: what they are, how long they are now, and exact views on parts of them.
//
// Nothing here trusts a property that a subclass or a proxy can override: a length read from such an object would not
// be the length of the memory.

import type { Dtype } from './dtype.js';
import { describe, invalidValue } from './errors.js';

/**
 * A `Float16Array`, described structurally because the type libraries of supported compilers do not all have it.
 * Only real ones are accepted at run time.
 */
export interface Float16ArrayLike {
  readonly BYTES_PER_ELEMENT: number;
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly byteLength: number;
  readonly length: number;
  readonly [Symbol.toStringTag]: 'Float16Array';
  [index: number]: number;
}

/** Host memory of a tensor: `Float32Array`, `Uint16Array` or `Float16Array` (halves), or `Uint8Array` (bool). */
export type TensorData = Float32Array | Uint16Array | Uint8Array | Float16ArrayLike;

/** The arrays that pass to the addon: one fixed class an element size. */
export type RawView = Float32Array | Uint16Array | Uint8Array;

const prototype: object = Object.getPrototypeOf(Float32Array.prototype);
const tag = getter(Symbol.toStringTag);
const length = getter('length');
const buffer = getter('buffer');
const byteOffset = getter('byteOffset');
/** Throws as every read of elements does; looks at none. */
const validate = Function.prototype.call.bind(Int32Array.prototype.keys) as (array: unknown) => unknown;

/** `'Float32Array'`, ... for real typed arrays, undefined for everything else. */
export function typedArrayName(value: unknown): string | undefined {
  return tag(value) as string | undefined;
}

/** Elements now; 0 when the buffer is detached or the view has fallen out of its bounds. */
export function lengthOf(array: TensorData | ArrayBufferView): number {
  return length(array) as number;
}

export function bufferOf(array: ArrayBufferView): ArrayBufferLike {
  return buffer(array) as ArrayBufferLike;
}

export function byteOffsetOf(array: ArrayBufferView): number {
  return byteOffset(array) as number;
}

/** Elements [start, start + count) of `array` as a view of the plain class for the type. They must exist. */
export function viewRange(array: TensorData, dtype: Dtype, start: number, count: number): RawView {
  if (count === 0) return emptyView(dtype);
  const memory = bufferOf(array);
  const from = byteOffset(array) as number;
  switch (dtype) {
    case 'float32':
      return new Float32Array(memory, from + 4 * start, count);
    case 'float16':
    case 'bfloat16':
      return new Uint16Array(memory, from + 2 * start, count);
    case 'bool':
      return new Uint8Array(memory, from + start, count);
  }
}

/** Says what is wrong with an array that turned out too short. */
export function describeArray(array: TensorData): string {
  const name = typedArrayName(array);
  if (lengthOf(array) > 0 || name === undefined)
    return name ? `a ${name} of length ${lengthOf(array)}` : describe(array);
  const memory = bufferOf(array);
  if (isDetached(memory)) return `a ${name} whose buffer is detached`;
  const resizable = memory as { resizable?: boolean; growable?: boolean };
  if (resizable.resizable) return `a ${name} of length 0 or outside its resizable buffer of ${memory.byteLength} bytes`;
  return `a ${name} of length 0`;
}

/** Refuses an array whose buffer is detached, or was resized until the array was outside: its elements cannot be read. */
export function checkReadable(argument: string, array: TensorData | ArrayBufferView): void {
  if (lengthOf(array) > 0) return;
  try {
    validate(array);
  } catch {
    throw invalidValue(argument, 'an array that has its memory', describeArray(array as TensorData));
  }
}

export function isDetached(memory: ArrayBufferLike): boolean {
  if (memory.byteLength !== 0) return false;
  try {
    new Uint8Array(memory);
    return false;
  } catch {
    return true;
  }
}

function emptyView(dtype: Dtype): RawView {
  return dtype === 'float32' ? new Float32Array(0) : dtype === 'bool' ? new Uint8Array(0) : new Uint16Array(0);
}

/** A getter as a function: `call` bound to it is what engines see through best. */
function getter(key: string | symbol): (value: unknown) => unknown {
  const { get } = Object.getOwnPropertyDescriptor(prototype, key)!;
  return Function.prototype.call.bind(get!) as (value: unknown) => unknown;
}
