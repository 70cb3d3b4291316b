// Tensor: a shape and strides over memory that stays the user's, or that a device has. Views share it; nothing is copied
// but by `to`.

import type { TensorData } from './arrays.js';
import { checkMaker, face, ours } from './class-face.js';
import { denseFloat32 } from './dense.js';
import type { Dtype } from './dtype.js';
import { checkDeviceName, presentDevice } from './devices.js';
import type { TensorDevice } from './environment.js';
import {
  AttentionError,
  describe,
  formatShape,
  invalidType,
  invalidValue,
  shapeMismatch,
  unsupported,
} from './errors.js';
import { checkInteger, checkShape, countOf, reshapedStrides } from './shape.js';
import { isArray, reading, readLength, readList, readSnapshot } from './snapshot.js';
import { transferred } from './transfer.js';
import { checkExtent, deviceOf, isOnDevice, makeView } from './view.js';
import type { Description, HostView, View } from './view.js';

/** Options of {@link Tensor.from}. */
export interface TensorOptions {
  /** Needed for `Uint16Array` ('float16' or 'bfloat16') and `Uint8Array` ('bool'). */
  dtype?: Dtype | undefined;
  /** Elements from one index to the next, an axis each; >= 0, where 0 repeats. Default: row-major. */
  strides?: readonly number[] | undefined;
  /** Element of `data` at which the tensor starts. Default 0. */
  offset?: number | undefined;
}

/**
 * Tensors of other libraries that are accepted as they are, e.g. those of onnxruntime on the CPU. `data` must be one of
 * the arrays of {@link TensorData}; one of `dims` and `shape` is needed, and `type` or `dtype` as for {@link Tensor.from}.
 * They are read as row-major.
 */
export interface TensorLike {
  readonly data: ArrayLike<unknown>;
  readonly dims?: readonly number[] | undefined;
  readonly shape?: readonly number[] | undefined;
  readonly type?: string | undefined;
  readonly dtype?: string | undefined;
}

/** Anything taken for a tensor. */
export type TensorInput = Tensor | TensorLike;

let read: (tensor: Tensor, argument: string) => View;
let wrap: (view: View) => Tensor;
let isTensor: (value: unknown) => value is Tensor;

/**
 * A tensor in host memory: a typed array with shape, strides and element type. The array is neither copied nor owned:
 * writing to it changes the tensor, and all views share it. Or one in the memory of a device, where {@link Tensor.to} and
 * calls over such tensors make it: views share that too, and it is given back when all of them are disposed, or garbage.
 */
export class Tensor {
  #view: View | null;
  // What users are given of the view's arrays, made when they ask: optimised code reads frozen arrays slowly.
  #shape: readonly number[] | null = null;
  #strides: readonly number[] | null = null;

  static {
    read = (tensor, argument) => tensor.#read(argument);
    wrap = (view) => new Tensor(ours, view);
    isTensor = (value): value is Tensor => typeof value === 'object' && value !== null && #view in value;
    face(this, 'Tensor', isTensor, 'dispose');
  }

  private constructor(token: symbol, view: View) {
    checkMaker(token, 'Tensor', 'Tensor.from()');
    this.#view = view;
    if (isOnDevice(view)) view.memory.hold();
  }

  /**
   * A tensor over `data`, which is not copied.
   *
   * @param data `Float32Array`; `Uint16Array` with `dtype` 'float16' or 'bfloat16'; `Float16Array`; or `Uint8Array`
   *   with `dtype` 'bool'. It may be backed by a `SharedArrayBuffer` or a resizable buffer; its length is checked again
   *   by every call that uses the tensor.
   * @param shape Sizes, each >= 0, at most 8 axes.
   * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` (element type), `ERR_OUT_OF_RANGE` (sizes,
   *   strides), `ERR_SHAPE_MISMATCH` (data too short), `ERR_UNKNOWN_OPTION`.
   */
  static from(data: TensorData, shape: readonly number[], options: TensorOptions = {}): Tensor {
    const { dtype, strides, offset } = readSnapshot('options', options, ['dtype', 'strides', 'offset']);
    return new Tensor(ours, makeView('', { data, shape, dtype, strides, offset }));
  }

  /**
   * The array given to {@link Tensor.from}, or allocated by a call.
   *
   * @throws AttentionError `ERR_UNSUPPORTED` of a tensor on a device: bring it to host memory with `to('cpu')`.
   */
  get data(): TensorData {
    return inHostMemory(this.#read('tensor'), 'tensor').data;
  }

  /** Sizes of the axes; frozen. */
  get shape(): readonly number[] {
    const { shape } = this.#read('tensor');
    return (this.#shape ??= Object.freeze([...shape]));
  }

  /** Element type. */
  get dtype(): Dtype {
    return this.#read('tensor').dtype;
  }

  /** Elements from one index to the next, an axis each; frozen. */
  get strides(): readonly number[] {
    const { strides } = this.#read('tensor');
    return (this.#strides ??= Object.freeze([...strides]));
  }

  /** Element of `data`, or of its memory on a device, at which the tensor starts. */
  get offset(): number {
    return this.#read('tensor').offset;
  }

  /** Where the memory is: 'cpu', or a CUDA device as {@link devices} has it, 'cuda', 'cuda:1' and so on. */
  get device(): TensorDevice {
    return deviceOf(this.#read('tensor'));
  }

  /** Number of elements. */
  get size(): number {
    return countOf(this.#read('tensor').shape);
  }

  /**
   * The same memory with another shape of equal size.
   *
   * @throws AttentionError `ERR_SHAPE_MISMATCH` for another size; `ERR_UNSUPPORTED` when the strides are such that only
   *   a copy could have the new shape (as after most transpositions).
   */
  reshape(shape: readonly number[]): Tensor {
    const view = this.#read('tensor');
    const target = checkShape('shape', shape);
    if (countOf(target) !== countOf(view.shape)) {
      const expected = `a shape of ${countOf(view.shape)} elements, as ${formatShape(view.shape)}`;
      throw shapeMismatch('shape', expected, formatShape(target));
    }
    const strides = reshapedStrides(view.shape, view.strides, target);
    if (strides === null) {
      const memory = `${formatShape(view.shape)} with strides ${formatShape(view.strides)}`;
      const expected = `a shape that a view of ${memory} can have without a copy (copy with toFloat32() first)`;
      throw unsupported('shape', expected, formatShape(target));
    }
    return new Tensor(ours, { ...view, shape: target, strides });
  }

  /**
   * A view with two axes exchanged, or with all axes in another order.
   *
   * @example tensor.transpose(1, 2) // [B, S, H, D] -> [B, H, S, D]
   * @example tensor.transpose([0, 2, 1, 3]) // the same
   */
  transpose(first: number, second: number): Tensor;
  transpose(order: readonly number[]): Tensor;
  transpose(first: number | readonly number[], second?: number): Tensor {
    const view = this.#read('tensor');
    const rank = view.shape.length;
    const order = isArray('order', first) ? checkOrder(first, rank) : exchange(rank, first, second);
    const shape = order.map((axis) => view.shape[axis]!);
    const strides = order.map((axis) => view.strides[axis]!);
    return new Tensor(ours, { ...view, shape, strides });
  }

  /** A view of the indices [start, start + length) of one axis. */
  narrow(axis: number, start: number, length: number): Tensor {
    const view = this.#read('tensor');
    checkInteger('axis', axis, 0, view.shape.length - 1);
    checkInteger('start', start, 0, view.shape[axis]!);
    checkInteger('length', length, 0, view.shape[axis]! - start);
    const shape = view.shape.map((size, index) => (index === axis ? length : size));
    const offset = countOf(shape) === 0 ? view.offset : view.offset + start * view.strides[axis]!;
    return new Tensor(ours, { ...view, shape, offset });
  }

  /**
   * The same values on another device, or in host memory ('cpu'), of any shape and dtype. All the memory that the elements
   * span is copied, off the event loop, and the strides stay. Host elements that fill less than half of it are first, or
   * afterwards, packed row after row on the calling thread. Halves come back as `Uint16Array`. Where the tensor is there
   * already, this is another view of its memory.
   *
   * The array must not be written before the promise settles.
   *
   * @param device 'cpu', 'cuda' (the first CUDA device), 'cuda:1' and so on.
   * @returns A tensor that is disposed of on its own.
   * @throws AttentionError It rejects with `ERR_NO_DEVICE`, `ERR_OUT_OF_MEMORY`, `ERR_DISPOSED`, `ERR_BUFFER_IN_USE`,
   *   `ERR_INVALID_ARG_TYPE` and `ERR_INVALID_ARG_VALUE` (no name of a device, detached data), `ERR_SHAPE_MISMATCH` when
   *   the data has shrunk, `ERR_INTERNAL` where the device is out of order.
   * @example const q = await Tensor.from(data, [1, 8, 512, 64], { dtype: 'float16' }).to('cuda')
   */
  async to(device: TensorDevice): Promise<Tensor> {
    const view = this.#read('tensor');
    const name = checkDeviceName('device', device, placeNames);
    const target = presentDevice('device', name);
    // At once, as this one may be disposed meanwhile.
    if (deviceOf(view) === target) return new Tensor(ours, view);
    return new Tensor(ours, await transferred(view, target));
  }

  /**
   * The values as a new row-major `Float32Array`. Exact for all types, since float32 holds every value of the halves;
   * bool gives 0 and 1. Of a tensor in host memory.
   *
   * @throws AttentionError `ERR_INVALID_ARG_VALUE` when the data has been detached since, `ERR_SHAPE_MISMATCH` when it
   *   has shrunk, `ERR_OUT_OF_MEMORY`, `ERR_UNSUPPORTED` of a tensor on a device.
   */
  toFloat32(): Float32Array {
    return denseFloat32(inHostMemory(this.#read('tensor'), 'tensor'), 'tensor');
  }

  /**
   * Ends this tensor's hold on its memory; using it afterwards is `ERR_DISPOSED`. Other views of the memory stay valid,
   * and so do calls under way. Host memory needs no disposing; memory of a device is given back with its last view. Also
   * under `Symbol.dispose` where the runtime has it.
   */
  dispose(): void {
    const view = this.#view;
    this.#view = null;
    if (view && isOnDevice(view)) view.memory.release();
  }

  /** `Tensor(float32 [1, 8, 128, 64])`, or `Tensor(float16 [1, 8, 128, 64] on cuda)` */
  toString(): string {
    const view = this.#view;
    if (view === null) return 'Tensor(disposed)';
    return `Tensor(${view.dtype} ${formatShape(view.shape)}${isOnDevice(view) ? ` on ${view.memory.device}` : ''})`;
  }

  #read(argument: string): View {
    if (this.#view === null) {
      throw new AttentionError('ERR_DISPOSED', argument, 'a tensor that is not disposed', 'a disposed one');
    }
    return this.#view;
  }
}

const placeNames: readonly TensorDevice[] = ['cpu', 'cuda'];

/** A tensor made by lib/ itself. */
export function tensorOf(view: View): Tensor {
  return wrap(view);
}

/** A tensor argument in host memory, checked; the extents hold now. */
export function readTensor(value: unknown, argument: string): HostView {
  return inHostMemory(readView(value, argument), argument);
}

function inHostMemory(view: View, argument: string): HostView {
  if (!isOnDevice(view)) return view;
  const expected = "a tensor in host memory (bring it there with await tensor.to('cpu'))";
  throw unsupported(argument, expected, `one on ${describe(view.memory.device)}`);
}

/** A tensor argument, wherever it is, checked; the extents hold now. */
export function readView(value: unknown, argument: string): View {
  if (isTensor(value)) {
    const view = read(value, argument);
    if (!isOnDevice(view)) checkExtent(argument, view);
    return view;
  }
  if (typeof value !== 'object' || value === null || !reading(argument, () => 'data' in value)) {
    const expected = 'a Tensor or an object with data, dims (or shape) and type (or dtype)';
    throw invalidType(argument, expected, value);
  }
  const { data, shape, dtype, location } = readLike(value as TensorLike, argument);
  if (typeof location === 'string' && location !== 'cpu' && location !== 'cpu-pinned') {
    throw unsupported(argument, 'a tensor in host memory', `one in '${location}'`);
  }
  return makeView(argument, { data, shape, dtype });
}

/** Each property once; other libraries' getters throw when their tensor is elsewhere, or disposed. */
function readLike(like: TensorLike & { location?: unknown }, argument: string): Description & { location: unknown } {
  try {
    const { location } = like;
    // Where the tensor is elsewhere, its data is not asked for.
    const data = typeof location === 'string' && !location.startsWith('cpu') ? undefined : like.data;
    return { data, shape: like.dims ?? like.shape, dtype: like.type ?? like.dtype, location };
  } catch (cause) {
    throw invalidValue(argument, 'a tensor whose properties can be read', 'one that throws', cause);
  }
}

/** A Tensor for an argument that may be tensor-like; Tensors come back as they are. */
export function toTensor(value: unknown, view: View): Tensor {
  return isTensor(value) ? value : wrap(view);
}

function checkOrder(order: readonly unknown[], rank: number): readonly number[] {
  const expected = `each axis of [0, ${rank}) once`;
  const length = readLength('order', order);
  if (length !== rank) throw invalidValue('order', expected, `${length} axes`);
  const axes = readList('order', order, (axis, name) => checkInteger(name, axis, 0, rank - 1));
  if (new Set(axes).size !== rank) throw invalidValue('order', expected, formatShape(axes));
  return axes;
}

function exchange(rank: number, first: unknown, second: unknown): readonly number[] {
  const a = checkInteger('first', first, 0, rank - 1);
  const b = checkInteger('second', second, 0, rank - 1);
  return Array.from({ length: rank }, (_, axis) => (axis === a ? b : axis === b ? a : axis));
}
