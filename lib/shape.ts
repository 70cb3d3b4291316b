// Shapes and strides, in elements: arithmetic without a tensor.

import { AttentionError, describe, invalidType, outOfRange, shapeMismatch } from './errors.js';
import { isArray, readElement, readLength } from './snapshot.js';

/** Axes a tensor may have. */
export const maxRank = 8;

/** Queries and keys of a block: two integers from 1, or one for both. */
export function checkBlock(argument: string, value: unknown): readonly [number, number] {
  const most = 2 ** 31 - 1;
  if (!isArray(argument, value)) {
    const size = checkInteger(argument, value, 1, most);
    return [size, size];
  }
  if (readLength(argument, value) !== 2) throw shapeMismatch(argument, '[queries, keys]', describe(value));
  const size = (side: number): number =>
    checkInteger(`${argument}[${side}]`, readElement(argument, value, side), 1, most);
  return [size(0), size(1)];
}

/** Products of sizes stay exact integers below this. */
const maxElements = Number.MAX_SAFE_INTEGER;

/** A frozen copy of sizes given by a user: non-negative integers whose product is a safe integer. */
export function checkShape(argument: string, value: unknown): readonly number[] {
  const shape = checkIntegers(argument, value, 'non-negative integers');
  if (countOf(shape) > maxElements) {
    throw new AttentionError('ERR_OUT_OF_RANGE', argument, 'at most 2^53 - 1 elements', `[${shape.join(', ')}]`);
  }
  return shape;
}

/** A frozen copy of strides given by a user: non-negative integers, one for each axis. */
export function checkStrides(argument: string, value: unknown, rank: number): readonly number[] {
  const strides = checkIntegers(argument, value, 'non-negative integers, in elements');
  if (strides.length !== rank) {
    throw new AttentionError('ERR_SHAPE_MISMATCH', argument, `${rank} strides, one for each axis`, `${strides.length}`);
  }
  return strides;
}

/** Number of elements of a shape; empty axes win over absurd ones. */
export function countOf(shape: readonly number[]): number {
  let count = 1;
  for (const size of shape) {
    if (size === 0) return 0;
    count *= size;
  }
  return count;
}

/** Whether two shapes are the same. */
export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let axis = 0; axis < a.length; axis += 1) if (a[axis] !== b[axis]) return false;
  return true;
}

/** Row-major strides. */
export function contiguousStrides(shape: readonly number[]): readonly number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    strides[axis] = step;
    step *= Math.max(shape[axis]!, 1);
  }
  return strides;
}

/** Elements from the first to the last that the shape reaches, both included; 0 when it is empty. */
export function extentOf(shape: readonly number[], strides: readonly number[]): number {
  let last = 0;
  for (let axis = 0; axis < shape.length; axis += 1) {
    if (shape[axis] === 0) return 0;
    last += (shape[axis]! - 1) * strides[axis]!;
  }
  return last + 1;
}

/** Whether elements lie in row-major order without gaps. Strides of axes of size 1 do not matter. */
export function isContiguous(shape: readonly number[], strides: readonly number[]): boolean {
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis -= 1) {
    if (shape[axis] === 0) return true;
    if (shape[axis] !== 1 && strides[axis] !== step) return false;
    step *= shape[axis]!;
  }
  return true;
}

/** Whether no two indices reach the same element, as an output needs. Refuses some exotic interleavings, too. */
export function isInjective(shape: readonly number[], strides: readonly number[]): boolean {
  if (isContiguous(shape, strides)) return true;
  const axes = shape.map((size, axis) => ({ size, stride: strides[axis]! })).filter(({ size }) => size > 1);
  axes.sort((a, b) => a.stride - b.stride);
  let reach = 0;
  for (const { size, stride } of axes) {
    if (stride <= reach) return false;
    reach += (size - 1) * stride;
  }
  return true;
}

/**
 * Strides under which the same memory has another shape of equal size, or null when only a copy could have it.
 * Runs of axes that are contiguous with each other are merged and split anew.
 */
export function reshapedStrides(
  shape: readonly number[],
  strides: readonly number[],
  target: readonly number[],
): readonly number[] | null {
  if (countOf(shape) === 0) return contiguousStrides(target);
  const axes = shape.map((size, axis) => ({ size, stride: strides[axis]! })).filter(({ size }) => size > 1);
  const result = new Array<number>(target.length).fill(1);
  let next = axes.length - 1;
  let available = 1;
  let step = 1;
  for (let axis = target.length - 1; axis >= 0; axis -= 1) {
    const size = target[axis]!;
    if (size === 1) continue;
    if (available === 1) {
      available = axes[next]!.size;
      step = axes[next]!.stride;
      next -= 1;
    }
    while (available % size !== 0 || available < size) {
      const outer = axes[next];
      const inner = axes[next + 1]!;
      if (outer === undefined || outer.stride !== inner.size * inner.stride) return null;
      available *= outer.size;
      next -= 1;
    }
    result[axis] = step;
    step *= size;
    available /= size;
  }
  return result;
}

function checkIntegers(argument: string, value: unknown, expected: string): readonly number[] {
  if (!isArray(argument, value)) throw invalidType(argument, `an array of ${expected}`, value);
  const rank = readLength(argument, value);
  if (rank > maxRank) {
    throw new AttentionError('ERR_OUT_OF_RANGE', argument, `at most ${maxRank} axes`, `${rank}`);
  }
  const sizes: number[] = [];
  for (let axis = 0; axis < rank; axis += 1) {
    const size = readElement(argument, value, axis);
    if (typeof size !== 'number') throw invalidType(`${argument}[${axis}]`, 'a non-negative integer', size);
    if (!Number.isSafeInteger(size) || size < 0)
      throw outOfRange(`${argument}[${axis}]`, 'a non-negative integer', size);
    sizes.push(size + 0);
  }
  return sizes;
}

/** Checks an index or count given by a user: an integer in [low, high]. */
export function checkInteger(argument: string, value: unknown, low: number, high: number): number {
  const expected = high === Number.MAX_SAFE_INTEGER ? `an integer >= ${low}` : `an integer in [${low}, ${high}]`;
  if (typeof value !== 'number') throw invalidType(argument, expected, value);
  if (!Number.isSafeInteger(value) || value < low || value > high) {
    throw new AttentionError('ERR_OUT_OF_RANGE', argument, expected, describe(value));
  }
  return value + 0;
}
