// Small tensors for tests of the façade, whose numbers do not matter.

import { Tensor } from '../../lib/index.js';
import type { Dtype } from '../../lib/index.js';

/** A tensor of small reproducible values. */
export function filled(shape: number[], dtype: Dtype = 'float32'): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  const value = (i: number): number => (((i * 7919) % 31) - 15) / 8;
  switch (dtype) {
    case 'float32':
      return Tensor.from(
        Float32Array.from({ length: count }, (_, i) => value(i)),
        shape,
      );
    case 'bool':
      return Tensor.from(
        Uint8Array.from({ length: count }, (_, i) => i % 3),
        shape,
        { dtype },
      );
    default:
      // 1.0 and its neighbours: finite in both halves.
      return Tensor.from(
        Uint16Array.from({ length: count }, (_, i) => 0x3c00 + (i % 8)),
        shape,
        { dtype },
      );
  }
}

/** A resizable buffer; older type libraries do not know them. */
export function resizable(bytes: number, maxByteLength: number): ArrayBuffer & { resize(bytes: number): void } {
  const Resizable = ArrayBuffer as unknown as new (bytes: number, options: { maxByteLength: number }) => never;
  return new Resizable(bytes, { maxByteLength });
}

/** Strides of rows one after the other. */
export function rowMajor(shape: readonly number[]): number[] {
  const strides: number[] = [];
  let step = 1;
  for (const size of [...shape].reverse()) {
    strides.unshift(step);
    step *= Math.max(size, 1);
  }
  return strides;
}

/** Every index of a shape, last axis fastest. */
export function* indices(shape: readonly number[]): Generator<number[]> {
  if (shape.includes(0)) return;
  const index = shape.map(() => 0);
  for (;;) {
    yield [...index];
    let axis = shape.length - 1;
    while (axis >= 0 && ++index[axis]! === shape[axis]) index[axis--] = 0;
    if (axis < 0) return;
  }
}

/** The element at an index, found from data, strides and offset alone. */
export function element(tensor: Tensor, index: readonly number[]): number {
  const at = index.reduce((sum, n, axis) => sum + n * tensor.strides[axis]!, tensor.offset);
  return (tensor.data as Float32Array)[at]!;
}
