// A tensor without its class: checked shape, strides and type, over a typed array or memory of a device. What lib/
// computes with.

import { bufferOf, describeArray, isDetached, lengthOf, typedArrayName, viewRange } from './arrays.js';
import type { RawView, TensorData } from './arrays.js';
import { dtypes, isDtype } from './dtype.js';
import type { DeviceMemory } from './device-memory.js';
import type { Dtype } from './dtype.js';
import type { TensorDevice } from './environment.js';
import { describe, formatShape, invalidType, invalidValue, oneOf, shapeMismatch } from './errors.js';
import type { NativeBuffer } from './native.cjs';
import { checkInteger, checkShape, checkStrides, contiguousStrides, extentOf } from './shape.js';

/** Free of getters that users could have made; users never see its arrays, only copies. */
interface Arrangement {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
}

export interface HostView extends Arrangement {
  readonly data: TensorData;
}

/** Inside its memory from the beginning: that neither shrinks nor moves. */
export interface DeviceView extends Arrangement {
  readonly memory: DeviceMemory;
}

export type View = HostView | DeviceView;

export function isOnDevice(view: View): view is DeviceView {
  return 'memory' in view;
}

export function deviceOf(view: View): TensorDevice {
  return isOnDevice(view) ? view.memory.device : 'cpu';
}

/** What a user said about a tensor, unchecked. */
export interface Description {
  data: unknown;
  shape: unknown;
  dtype?: unknown;
  strides?: unknown;
  offset?: unknown;
}

const arrays = 'a Float32Array, Uint16Array, Float16Array or Uint8Array';

/** Element types that an array class can hold. */
const dtypesOfArray: Readonly<Record<string, readonly Dtype[]>> = {
  Float32Array: ['float32'],
  Float16Array: ['float16'],
  Uint16Array: ['float16', 'bfloat16'],
  Uint8Array: ['bool'],
};

/** `argument` is put before the names in messages: `query.shape`. */
export function makeView(argument: string, given: Description): HostView {
  const prefix = argument === '' ? '' : `${argument}.`;
  const name = typedArrayName(given.data);
  const allowed = name === undefined ? undefined : dtypesOfArray[name];
  if (allowed === undefined) throw invalidType(`${prefix}data`, arrays, given.data);
  const dtype = checkDtype(`${prefix}dtype`, given.dtype, name!, allowed);
  const shape = checkShape(`${prefix}shape`, given.shape);
  const strides =
    given.strides === undefined
      ? contiguousStrides(shape)
      : checkStrides(`${prefix}strides`, given.strides, shape.length);
  const offset =
    given.offset === undefined ? 0 : checkInteger(`${prefix}offset`, given.offset, 0, Number.MAX_SAFE_INTEGER);
  const view: HostView = { data: given.data as TensorData, dtype, shape, strides, offset };
  checkExtent(`${prefix}data`, view);
  return view;
}

/** Arrays can be detached, resized or grown between calls: whether all elements exist is checked each time. */
export function checkExtent(argument: string, view: HostView): void {
  const extent = extentOf(view.shape, view.strides);
  const needed = view.offset + extent;
  if (needed <= lengthOf(view.data)) return;
  const received = describeArray(view.data);
  if (isDetached(bufferOf(view.data as ArrayBufferView)))
    throw invalidValue(argument, 'data that is not detached', received);
  const layout = `shape ${formatShape(view.shape)}, strides ${formatShape(view.strides)}, offset ${view.offset}`;
  throw shapeMismatch(argument, `at least ${needed} elements for ${layout}`, received);
}

/** The part of the data that a view reaches, in the class in which it passes to the addon; starts at the view's start. */
export function rawView(view: HostView): RawView {
  return viewRange(view.data, view.dtype, view.offset, extentOf(view.shape, view.strides));
}

/** All of a view's data, which begins `offset` elements before the view does, as it passes to the addon. */
export function wholeView(view: View): NativeBuffer {
  if (isOnDevice(view)) return view.memory.handle;
  const { data, dtype } = view;
  // Not every runtime's Node-API knows a Float16Array.
  if (dtype === 'float16' && typedArrayName(data) === 'Float16Array') return viewRange(data, dtype, 0, lengthOf(data));
  return data as ArrayBufferView;
}

function checkDtype(argument: string, dtype: unknown, array: string, allowed: readonly Dtype[]): Dtype {
  if (dtype === undefined) {
    // A bare Uint8Array might as well be bytes read from a file, and two types share Uint16Array.
    if (array === 'Float32Array' || array === 'Float16Array') return allowed[0]!;
    throw invalidValue(argument, `${oneOf(allowed)}, given explicitly for a ${array}`, 'undefined');
  }
  if (typeof dtype !== 'string') throw invalidType(argument, oneOf(dtypes), dtype);
  if (!isDtype(dtype)) throw invalidValue(argument, oneOf(dtypes), describe(dtype));
  if (!allowed.includes(dtype)) throw invalidValue(argument, `${oneOf(allowed)} for a ${array}`, describe(dtype));
  return dtype;
}
