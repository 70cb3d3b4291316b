// Mask and bias tensors over [B, Hq, Nq, Nkv]: what a user's shape means there, as strides in which an axis that applies
// to all has stride 0.

import { floatDtypes } from './dtype.js';
import { describe, formatShape, invalidValue, oneOf, outOfRange, shapeMismatch, unsupported } from './errors.js';
import type { Geometry } from './geometry.js';
import { joinPrograms } from './bound-program.js';
import type { BoundProgram } from './bound-program.js';
import { language } from './language.js';
import { readMask } from './masks.js';
import type { Mask } from './masks.js';
import { isArray, readLength, readList } from './snapshot.js';
import { readTensor } from './tensor.js';
import type { HostView } from './view.js';

/** A tensor with strides by meaning. */
export interface Grid {
  readonly argument: string;
  readonly view: HostView;
  readonly batch: number;
  readonly head: number;
  readonly row: number;
  readonly column: number;
}

export interface Visibility {
  /** Null: every key, but for the grids. */
  readonly program: BoundProgram | null;
  /** Those that the program reads, in its order, and then those that must all allow. */
  readonly grids: readonly Grid[];
}

/** More items than anyone writes down. */
const maxItems = 1024;

const everything: Visibility = { program: null, grids: [] };

/** The meaning of the `mask` option: all items must allow, and `also`. */
export function readMasks(mask: unknown, geometry: Geometry, also?: Mask): Visibility {
  if (mask === undefined && also === undefined) return everything;
  // One program alone is what most calls have.
  const alone = also === undefined ? readMask(mask) : undefined;
  if (alone !== undefined && alone.grids.length === 0) return { program: alone, grids: everything.grids };
  const programs: BoundProgram[] = [];
  const read: Grid[] = [];
  const grids: Grid[] = [];
  for (const [argument, item] of mask === undefined ? [] : readItems(mask)) {
    const program = readMask(item);
    if (program === undefined) {
      grids.push(readMaskGrid(argument, item, geometry));
    } else {
      programs.push(program);
      for (const grid of program.grids) read.push(readMaskGrid(argument, grid, geometry));
    }
  }
  if (also !== undefined) programs.push(readMask(also)!);
  return { program: conjunction(programs), grids: [...read, ...grids] };
}

/** The items of the option, each with its name. */
export function readItems(mask: unknown): readonly (readonly [argument: string, item: unknown])[] {
  const argument = 'options.mask';
  if (!isArray(argument, mask)) return [[argument, mask]];
  const count = readLength(argument, mask);
  if (count > maxItems) throw outOfRange(argument, `at most ${maxItems} items`, count);
  return readList(argument, mask, (item, name) => [name, item] as const);
}

/** Conjunctions of several masks, the latest last: calls in a loop make the same one again and again. */
const conjunctions: { readonly parts: readonly BoundProgram[]; readonly whole: BoundProgram }[] = [];
const maxConjunctions = 16;

function conjunction(parts: readonly BoundProgram[]): BoundProgram | null {
  if (parts.length < 2) return parts[0] ?? null;
  const known = conjunctions.findIndex(
    (entry) => entry.parts.length === parts.length && entry.parts.every((part, index) => part === parts[index]),
  );
  if (known >= 0) return conjunctions[known]!.whole;
  const whole = joinPrograms(parts, (graphs) => language().combineMasks('and', graphs));
  conjunctions.push({ parts, whole });
  if (conjunctions.length > maxConjunctions) conjunctions.shift();
  return whole;
}

/** The `bias` option: broadcast as in NumPy, axes aligned at the end. */
export function readBias(bias: unknown, geometry: Geometry): Grid | null {
  if (bias === undefined) return null;
  const argument = 'options.bias';
  const view = readTensor(bias, argument);
  if (view.dtype === 'bool') throw invalidValue(argument, `dtype ${oneOf(floatDtypes)}`, describe(view.dtype));
  refuseRagged(argument, geometry);
  const full = fullShape(geometry);
  const { shape, strides } = view;
  const missing = full.length - shape.length;
  const fits = missing >= 0 && shape.every((size, axis) => size === 1 || size === full[axis + missing]);
  if (!fits) throw shapeMismatch(argument, `a shape that broadcasts to ${formatShape(full)}`, formatShape(shape));
  const stride = (axis: number): number =>
    axis < missing || shape[axis - missing] === 1 ? 0 : strides[axis - missing]!;
  return { argument, view, batch: stride(0), head: stride(1), row: stride(2), column: stride(3) };
}

function readMaskGrid(argument: string, value: unknown, geometry: Geometry): Grid {
  const view = readTensor(value, argument);
  if (view.dtype !== 'bool') throw invalidValue(argument, "dtype 'bool'", describe(view.dtype));
  refuseRagged(argument, geometry);
  const full = fullShape(geometry);
  const { shape, strides } = view;
  const stride = (axis: number): number => (shape[axis] === 1 ? 0 : strides[axis]!);
  if (shape.length === 2) {
    const expected = [full[0]!, full[3]!];
    if (!broadcasts(shape, [full[0]!, full[3]!])) {
      throw shapeMismatch(argument, `${formatShape(expected)} (padding of keys)`, formatShape(shape));
    }
    return { argument, view, batch: stride(0), head: 0, row: 0, column: stride(1) };
  }
  if (shape.length !== 4 || !broadcasts(shape, full)) {
    const expected = `[B, Nkv] = ${formatShape([full[0]!, full[3]!])} or ${formatShape(full)}, where an axis may be 1`;
    throw shapeMismatch(argument, expected, formatShape(shape));
  }
  return { argument, view, batch: stride(0), head: stride(1), row: stride(2), column: stride(3) };
}

function fullShape({ batch, headsQ, queries, keys }: Geometry): readonly number[] {
  return [batch, headsQ, queries, keys];
}

function broadcasts(shape: readonly number[], full: readonly number[]): boolean {
  return shape.every((size, axis) => size === 1 || size === full[axis]);
}

function refuseRagged(argument: string, { ragged }: Geometry): void {
  if (ragged) throw unsupported(argument, 'no mask or bias tensor with cumulative lengths', 'a tensor');
}
