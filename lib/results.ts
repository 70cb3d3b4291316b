// Where a call writes: tensors given in `out`, checked, or memory allocated for it.

import type { TensorData } from './arrays.js';
import { floatDtypes } from './dtype.js';
import type { Dtype, FloatDtype } from './dtype.js';
import { AttentionError, describe, formatShape, invalidValue, oneOf, shapeMismatch } from './errors.js';
import { checkLastAxis, rowsOf, shapeOf } from './geometry.js';
import type { Geometry, Rows } from './geometry.js';
import { allocate, checkMemory } from './memory.js';
import type { CallOptions } from './options.js';
import { contiguousStrides, countOf, isContiguous, isInjective, sameShape } from './shape.js';
import { readSnapshot } from './snapshot.js';
import { readTensor, tensorOf, toTensor } from './tensor.js';
import type { Tensor } from './tensor.js';
import type { HostView } from './view.js';

export type ResultName = 'output' | 'lse' | 'entropy' | 'rowMax' | 'o' | 'm' | 'l';

/** One tensor that a call writes. */
export interface Result {
  readonly name: ResultName;
  /** Its name in messages. */
  readonly argument: string;
  readonly view: HostView;
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

/** What a result will be, before there is memory for it. */
interface Form {
  name: ResultName;
  shape: readonly number[];
  dtype: FloatDtype | undefined;
}

/**
 * Checks `out`, and allocates what it does not have; `reserve` checks that sizes are possible instead of allocating.
 * Throws ERR_OUT_OF_MEMORY.
 */
export function readResults(geometry: Geometry, options: CallOptions, obtain: 'allocate' | 'reserve'): Results {
  const forms = formsOf(geometry, options);
  const out = options.given['out'];
  // A tensor stands for the first result. Tensors have data, a set of results has not.
  const single = typeof out === 'object' && out !== null && 'data' in out;
  const given = single ? null : readOut(out, forms);
  const list: Result[] = [];
  for (const form of forms) {
    const value = given !== null ? given[form.name] : list.length === 0 ? out : undefined;
    // A Float16Array comes back as one where the query was one; raw bits otherwise.
    list.push(value !== undefined ? fromUser(form, value) : fromMemory(form, geometry.query, obtain));
  }
  const { strides } = list[0]!.view;
  // Numerators are head-first, like statistics, in all layouts.
  if (!options.partial) return { list, rows: rowsOf(strides, geometry.ragged, geometry.layout) };
  const rows = geometry.ragged
    ? { batch: 0, head: strides[0]!, row: strides[1]! }
    : { batch: strides[0]!, head: strides[1]!, row: strides[2]! };
  return { list, rows };
}

function formsOf(geometry: Geometry, options: CallOptions): readonly Form[] {
  const { batch, headsQ, queries, dimV, ragged, layout } = geometry;
  const statistic = ragged ? [headsQ, queries] : [batch, headsQ, queries];
  if (options.partial) {
    return [
      { name: 'o', shape: [...statistic, dimV], dtype: 'float32' },
      { name: 'm', shape: statistic, dtype: 'float32' },
      { name: 'l', shape: statistic, dtype: 'float32' },
    ];
  }
  const output = shapeOf(batch, headsQ, queries, dimV, ragged, layout);
  const forms: Form[] = [{ name: 'output', shape: output, dtype: options.outputDtype }];
  if (options.lse) forms.push({ name: 'lse', shape: statistic, dtype: 'float32' });
  if (options.entropy) forms.push({ name: 'entropy', shape: statistic, dtype: 'float32' });
  if (options.rowMax) forms.push({ name: 'rowMax', shape: statistic, dtype: 'float32' });
  return forms;
}

const nothing: Readonly<Record<string, unknown>> = {};

/** Results by name, as far as they are given. */
function readOut(out: unknown, forms: readonly Form[]): Readonly<Record<string, unknown>> {
  if (out === undefined) return nothing;
  const all = ['output', 'lse', 'entropy', 'rowMax', 'o', 'm', 'l'];
  const given = readSnapshot('options.out', out, all);
  for (const name of all) {
    if (given[name] === undefined || forms.some((form) => form.name === name)) continue;
    const results = oneOf(forms.map((form) => form.name));
    throw invalidValue(`options.out.${name}`, `only results that this call has (${results})`, describe(given[name]));
  }
  return given;
}

function fromUser(form: Form, value: unknown): Result {
  const argument = `options.out.${form.name}`;
  const view = readTensor(value, argument);
  if (!sameShape(view.shape, form.shape)) {
    throw shapeMismatch(argument, formatShape(form.shape), formatShape(view.shape));
  }
  if (view.dtype !== (form.dtype ?? view.dtype) || view.dtype === 'bool') {
    throw invalidValue(argument, `dtype ${form.dtype ? `'${form.dtype}'` : oneOf(floatDtypes)}`, describe(view.dtype));
  }
  if (form.name === 'output') {
    checkLastAxis(argument, view);
    if (!isInjective(view.shape, view.strides)) {
      const expected = 'memory with a place for every element';
      throw new AttentionError('ERR_ALIASING', argument, expected, `strides ${formatShape(view.strides)}`);
    }
  } else if (!isContiguous(view.shape, view.strides)) {
    throw invalidValue(argument, 'a contiguous tensor', `strides ${formatShape(view.strides)}`);
  }
  return { name: form.name, argument, view, owned: false, tensor: toTensor(value, view) };
}

function fromMemory(form: Form, query: HostView, obtain: 'allocate' | 'reserve'): Result {
  const dtype: Dtype = form.dtype ?? query.dtype;
  const argument = form.name;
  const shape = Object.freeze([...form.shape]);
  const count = countOf(shape);
  checkMemory(dtype, count, argument);
  const raw = allocate(dtype, obtain === 'allocate' ? count : 0, argument);
  const data = dtype === 'float16' ? likeHalf(raw as Uint16Array, query.data) : raw;
  const view: HostView = { data, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
  return { name: form.name, argument, view, owned: true, tensor: tensorOf(view) };
}

function likeHalf(raw: Uint16Array, sample: TensorData): TensorData {
  const { Float16Array } = globalThis as { Float16Array?: new (buffer: ArrayBufferLike) => TensorData };
  return Float16Array !== undefined && sample instanceof Float16Array ? new Float16Array(raw.buffer) : raw;
}
