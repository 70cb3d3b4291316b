// Where a call writes: tensors given in `out`, checked, or memory allocated for it.

import type { TensorData } from './arrays.js';
import { DeviceMemory } from './device-memory.js';
import { floatDtypes, sizeOf } from './dtype.js';
import type { Dtype, FloatDtype } from './dtype.js';
import { AttentionError, describe, formatShape, invalidValue, oneOf, shapeMismatch } from './errors.js';
import { checkDevice, checkLastAxis, rowsOf, shapeOf } from './geometry.js';
import type { Geometry, Rows } from './geometry.js';
import { allocate, checkMemory } from './memory.js';
import type { CallOptions } from './options.js';
import { contiguousStrides, countOf, isContiguous, isInjective, sameShape } from './shape.js';
import { reading, readSnapshot } from './snapshot.js';
import { readView, tensorOf, toTensor } from './tensor.js';
import type { Tensor } from './tensor.js';
import { deviceOf, isOnDevice } from './view.js';
import type { DeviceView, HostView, View } from './view.js';

export type ResultName = 'output' | 'lse' | 'entropy' | 'rowMax' | 'o' | 'm' | 'l';

/** One tensor that a call writes. */
export interface Result {
  readonly name: ResultName;
  /** Its name in messages. */
  readonly argument: string;
  readonly view: View;
  /** Allocated here, and not seen by the user before the call is done. */
  readonly owned: boolean;
  readonly tensor: Tensor;
}

export interface Results {
  /** In the order in which users see them; the first is the output or the numerator. */
  readonly list: readonly Result[];
  /** Strides of the first by meaning. */
  readonly rows: Rows;
}

/** What users call them, in the order in which they see them. */
const argumentOf: Readonly<Record<ResultName, string>> = {
  output: 'options.out.output',
  lse: 'options.out.lse',
  entropy: 'options.out.entropy',
  rowMax: 'options.out.rowMax',
  o: 'options.out.o',
  m: 'options.out.m',
  l: 'options.out.l',
};
const names = Object.keys(argumentOf) as readonly ResultName[];
const nothing: Readonly<Record<string, unknown>> = Object.fromEntries(names.map((name) => [name, undefined]));

/**
 * Checks `out`, and allocates what it does not have; `reserve` checks that sizes are possible instead of allocating.
 * Throws ERR_OUT_OF_MEMORY.
 */
export function readResults(geometry: Geometry, options: CallOptions, obtain: 'allocate' | 'reserve'): Results {
  const { batch, headsQ, queries, dimV, ragged, layout, query } = geometry;
  const out = options.given['out'];
  // A tensor stands for the first result. Tensors have data, a set of results has not.
  const single = typeof out === 'object' && out !== null && reading('options.out', () => 'data' in out);
  const given = single || out === undefined ? nothing : readOut(out, options);
  const list: Result[] = [];
  const add = (name: ResultName, shape: readonly number[], dtype: FloatDtype | undefined, value: unknown): Result => {
    const result =
      value !== undefined ? fromUser(name, shape, dtype, value, query) : fromMemory(name, shape, dtype, query, obtain);
    list.push(result);
    return result;
  };

  const statistic = ragged ? [headsQ, queries] : [batch, headsQ, queries];
  try {
    if (options.partial) {
      const { strides } = add('o', [...statistic, dimV], 'float32', single ? out : given['o']).view;
      if (!options.normalizer) for (const name of ['m', 'l'] as const) add(name, statistic, 'float32', given[name]);
      // Numerators are head-first, like statistics, in all layouts.
      const rows = ragged
        ? { batch: 0, head: strides[0]!, row: strides[1]! }
        : { batch: strides[0]!, head: strides[1]!, row: strides[2]! };
      return { list, rows };
    }
    const shape = shapeOf(batch, headsQ, queries, dimV, ragged, layout);
    const { strides } = add('output', shape, options.outputDtype, single ? out : given['output']).view;
    if (options.lse) add('lse', statistic, 'float32', given['lse']);
    if (options.entropy) add('entropy', statistic, 'float32', given['entropy']);
    if (options.rowMax) add('rowMax', statistic, 'float32', given['rowMax']);
    return { list, rows: rowsOf(strides, ragged, layout) };
  } catch (error) {
    dropResults(list);
    throw error;
  }
}

/** Gives back what a call allocated that has failed: a device should have room for the next one at once. */
export function dropResults(list: readonly Result[]): void {
  for (const { owned, tensor } of list) if (owned) tensor.dispose();
}

function hasResult(options: CallOptions, name: ResultName): boolean {
  if (name === 'lse' || name === 'entropy' || name === 'rowMax') return options[name];
  if (name === 'm' || name === 'l') return options.partial && !options.normalizer;
  return options.partial === (name !== 'output');
}

/** Results by name, as far as they are given. */
function readOut(out: unknown, options: CallOptions): Readonly<Record<string, unknown>> {
  const given = readSnapshot('options.out', out, names, { ...nothing });
  for (let n = 0; n < names.length; n += 1) {
    const name = names[n]!;
    if (given[name] === undefined || hasResult(options, name)) continue;
    const results = oneOf(names.filter((other) => hasResult(options, other)));
    throw invalidValue(argumentOf[name], `only results that this call has (${results})`, describe(given[name]));
  }
  return given;
}

function fromUser(
  name: ResultName,
  shape: readonly number[],
  dtype: FloatDtype | undefined,
  value: unknown,
  query: View,
): Result {
  const argument = argumentOf[name];
  const view = readView(value, argument);
  checkDevice(argument, view, deviceOf(query), 'as the query');
  if (!sameShape(view.shape, shape)) {
    throw shapeMismatch(argument, formatShape(shape), formatShape(view.shape));
  }
  if (view.dtype !== (dtype ?? view.dtype) || view.dtype === 'bool') {
    throw invalidValue(argument, `dtype ${dtype ? `'${dtype}'` : oneOf(floatDtypes)}`, describe(view.dtype));
  }
  if (name === 'output') {
    checkLastAxis(argument, view);
    if (!isInjective(view.shape, view.strides)) {
      const expected = 'memory with a place for every element';
      throw new AttentionError('ERR_ALIASING', argument, expected, `strides ${formatShape(view.strides)}`);
    }
  } else if (!isContiguous(view.shape, view.strides)) {
    throw invalidValue(argument, 'a contiguous tensor', `strides ${formatShape(view.strides)}`);
  } else if (isOnDevice(view) && view.offset !== 0) {
    throw invalidValue(argument, 'a tensor of a device that its memory begins with', `offset ${view.offset}`);
  }
  return { name, argument, view, owned: false, tensor: toTensor(value, view) };
}

/** A Float16Array comes back as one where the query was one; raw bits otherwise. */
function fromMemory(
  name: ResultName,
  sizes: readonly number[],
  given: FloatDtype | undefined,
  query: View,
  obtain: 'allocate' | 'reserve',
): Result {
  const dtype: Dtype = given ?? query.dtype;
  const shape = [...sizes];
  const count = countOf(shape);
  if (isOnDevice(query)) {
    const memory = new DeviceMemory(query.memory.device, obtain === 'allocate' ? count * sizeOf[dtype] : 0, name);
    const view: DeviceView = { memory, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
    return { name, argument: name, view, owned: true, tensor: tensorOf(view) };
  }
  checkMemory(dtype, count, name);
  const raw = allocate(dtype, obtain === 'allocate' ? count : 0, name);
  const data = dtype === 'float16' ? likeHalf(raw as Uint16Array, query.data) : raw;
  const view: HostView = { data, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
  return { name, argument: name, view, owned: true, tensor: tensorOf(view) };
}

function likeHalf(raw: Uint16Array, sample: TensorData): TensorData {
  const { Float16Array } = globalThis as { Float16Array?: new (buffer: ArrayBufferLike) => TensorData };
  return Float16Array !== undefined && sample instanceof Float16Array ? new Float16Array(raw.buffer) : raw;
}
