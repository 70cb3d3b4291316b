// From a case to a call of the library and back to accessors. The only page here that knows the library.

import { attentionSync, causal, slidingWindow, Tensor } from '../../lib/index.js';
import { load, type Dtype } from './half.js';
import { Random } from './random.js';
import type { Case } from './case.js';
import type { Actual } from './check.js';
import { placeGrid, placeInputs, type Placed } from './storage.js';
import { valuesOf, type Values } from './values.js';

export type Options = NonNullable<Parameters<typeof attentionSync>[3]>;

export interface Call {
  query: Tensor;
  key: Tensor;
  value: Tensor;
  options: Options;
}

export interface Result {
  output: Tensor;
  lse?: Tensor;
  entropy?: Tensor;
  rowMax?: Tensor;
}

export function tensorOf(placed: Placed): Tensor {
  const { data, shape, dtype, strides, offset } = placed;
  return Tensor.from(data, shape, { dtype, strides, offset });
}

/** The call of a case. What has a default in the library is left out where the case leaves it out. */
export function callOf(test: Case, values: Values = valuesOf(test)): Call {
  const random = new Random(test.seed + 2);
  const inputs = placeInputs(test, values);
  const options: Record<string, unknown> = {};
  const items: unknown[] = [];
  if (test.causal) items.push(causal());
  if (test.window !== null) items.push(slidingWindow(...test.window));
  test.masks.forEach((mask, n) => {
    items.push(tensorOf(placeGrid(values.masks[n]!, 'bool', mask === 'keys' ? 2 : 4, random)));
  });
  random.shuffle(items);
  if (items.length > 0) options['mask'] = items.length === 1 && random.chance(0.5) ? items[0] : items;
  if (values.bias !== null) options['bias'] = tensorOf(placeGrid(values.bias, test.bias!.dtype, 4, random));
  if (values.sinks !== null)
    options['sinks'] = random.chance(0.5) ? values.sinks : Tensor.from(values.sinks, [test.headsQ]);
  if (test.softcap !== null) options['softcap'] = test.softcap;
  if (test.scale !== null) options['scale'] = test.scale;
  if (test.align === 'top-left' || random.chance(0.2)) options['align'] = test.align;
  if (test.layout === 'bshd' && test.lengths !== 'ragged') options['layout'] = 'bshd';
  if (test.outputDtype !== null) options['outputDtype'] = test.outputDtype;
  if (test.threads !== null) options['threads'] = test.threads;
  for (const name of ['lse', 'entropy', 'rowMax'] as const) if (test[name]) options[name] = true;

  const kinds = [
    (list: number[]) => list,
    (list: number[]) => Int32Array.from(list),
    (list: number[]) => BigInt64Array.from(list, BigInt),
  ];
  if (test.lengths === 'padded') {
    if (test.lengthsQ !== null) options['lengthsQ'] = random.pick(kinds)(test.lengthsQ);
    if (test.lengthsKv !== null) options['lengthsKv'] = random.pick(kinds)(test.lengthsKv);
  } else if (test.lengths === 'ragged') {
    options['cuSeqlensQ'] = random.pick(kinds)(cumulative(test.lengthsQ!));
    options['cuSeqlensKv'] = random.pick(kinds)(cumulative(test.lengthsKv!));
  }
  return {
    query: tensorOf(inputs.query),
    key: tensorOf(inputs.key),
    value: tensorOf(inputs.value),
    options: options as Options,
  };
}

export function cumulative(lengths: number[]): number[] {
  let sum = 0;
  return [0, ...lengths.map((length) => (sum += length))];
}

/** Element of a tensor, decoded apart from the library. */
export function reader(tensor: Tensor): (...index: number[]) => number {
  const { data, strides, offset } = tensor;
  const dtype = tensor.dtype as Dtype;
  return (...index) =>
    load(
      dtype,
      data as ArrayLike<number>,
      index.reduce((sum, n, axis) => sum + n * strides[axis]!, offset),
    );
}

/** Accessors by [batch, head, row] whatever the layout. */
export function actualOf(test: Case, result: Result): Actual {
  const ragged = test.lengths === 'ragged';
  const output = reader(result.output);
  const statistic = (name: 'lse' | 'entropy' | 'rowMax') => {
    if (!test[name]) return null;
    const read = reader(result[name]!);
    return ragged ? (_: number, h: number, row: number) => read(h, row) : read;
  };
  return {
    output: ragged
      ? (_, h, row, d) => output(row, h, d)
      : test.layout === 'bhsd'
        ? (b, h, row, d) => output(b, h, row, d)
        : (b, h, row, d) => output(b, row, h, d),
    lse: statistic('lse'),
    entropy: statistic('entropy'),
    rowMax: statistic('rowMax'),
  };
}

export function run(call: Call): Result {
  return attentionSync(call.query, call.key, call.value, call.options) as Result;
}

/** The bits of a tensor's elements in row-major order. */
export function bitsOf(tensor: Tensor): number[] {
  const { shape, strides, offset } = tensor;
  const data = tensor.data as Float32Array | Uint16Array;
  const bits = data instanceof Float32Array ? new Uint32Array(data.buffer, data.byteOffset, data.length) : data;
  const found: number[] = [];
  const walk = (axis: number, at: number) => {
    if (axis === shape.length) found.push(bits[at]!);
    else for (let n = 0; n < shape[axis]!; n++) walk(axis + 1, at + n * strides[axis]!);
  };
  walk(0, offset);
  return found;
}
