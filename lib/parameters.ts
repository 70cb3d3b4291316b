// The numbers and tables that a program is given: copied when given, and brought to the two types that programs know.

import { bufferOf, byteOffsetOf, checkReadable, lengthOf, typedArrayName } from './arrays.js';
import { denseFloat32 } from './dense.js';
import { AttentionError, describe, formatShape, invalidType, invalidValue, shapeMismatch } from './errors.js';
import type { ParameterKind } from './program/compile.js';
import type { ProgramKind } from './program/graph.js';
import { checkShape, countOf } from './shape.js';
import { isArray, reading, readElement, readLength, readProperty } from './snapshot.js';
import { readTensor } from './tensor.js';
import type { TensorInput } from './tensor.js';

/** Arrays whose elements a table may take over. */
export type TableArray =
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | Float32Array
  | Float64Array
  | BigInt64Array;

/** Numbers in one, two or three axes, the last one innermost. */
export type NestedNumbers =
  | readonly number[]
  | readonly (readonly number[])[]
  | readonly (readonly (readonly number[])[])[];

/**
 * What a program reads by name: a number; or a table, read by call with one index an axis. A table is a plain or typed
 * array (one axis), nested arrays (up to three), `{ data, shape }` with either, or a {@link Tensor} of a float dtype.
 * Values that are all int32 make an integer table (typed float arrays and float tensors stay real), others a float32 one.
 */
export type ProgramParameter =
  | number
  | TableArray
  | NestedNumbers
  | { readonly data: TableArray | readonly number[]; readonly shape: readonly number[] }
  | TensorInput;

/** Parameters by the names that the program reads them by. */
export type ProgramParameters = { readonly [name: string]: ProgramParameter };

/** A parameter as the addon takes it. */
export interface Parameter {
  readonly kind: ParameterKind;
  /** Of a plain number. */
  readonly number: number;
  /** Of a table: a copy, last axis contiguous. */
  readonly cells: Int32Array | Float32Array | null;
  readonly shape: readonly number[];
}

const maxInt = 2 ** 31 - 1;

/** Copies of all parameters. In masks every real value must be one that float32 holds exactly. */
export function readParameters(argument: string, given: unknown, kind: ProgramKind): ReadonlyMap<string, Parameter> {
  const parameters = new Map<string, Parameter>();
  if (given === undefined) return parameters;
  if (typeof given !== 'object' || given === null || isArray(argument, given) || typedArrayName(given) !== undefined)
    throw invalidType(argument, 'an object of numbers and tables', given);
  for (const name of reading(argument, () => Object.keys(given))) {
    const value = readProperty(argument, given, name);
    parameters.set(name, readParameter(`${argument}.${name}`, value, kind));
  }
  return parameters;
}

/** The same type, kind and number of axes: a program compiled for one serves the other. */
export function kindsOf(parameters: ReadonlyMap<string, Parameter>): Record<string, ParameterKind> {
  const kinds: Record<string, ParameterKind> = Object.create(null);
  for (const [name, { kind }] of parameters) kinds[name] = kind;
  return kinds;
}

/** A parameter as JSON: a number, or its values with their shape. NaN and infinities become strings. */
export function parameterToJSON({ kind, number, cells, shape }: Parameter): unknown {
  if (cells === null) return plain(number);
  return { data: Array.from(cells, plain), shape: [...shape], dtype: kind.type === 'integer' ? 'int32' : 'float32' };
}

function plain(value: number): number | string {
  return Number.isFinite(value) && !Object.is(value, -0) ? value : Object.is(value, -0) ? '-0' : String(value);
}

/** A copy of one parameter. */
export function readParameter(argument: string, value: unknown, kind: ProgramKind): Parameter {
  if (typeof value === 'number') return numberParameter(argument, value, kind);
  if (typeof value === 'string' && ['NaN', 'Infinity', '-Infinity', '-0'].includes(value))
    return numberParameter(argument, Number(value), kind);
  if (isArray(argument, value)) return nestedTable(argument, value, kind);
  if (typedArrayName(value) !== undefined) {
    const values = arrayValues(argument, value as TableArray);
    return table(argument, values, [values.length], isFloatArray(value), kind);
  }
  if (typeof value !== 'object' || value === null) throw invalidType(argument, 'a number or a table', value);
  return shapedTable(argument, value, kind);
}

function numberParameter(argument: string, value: number, kind: ProgramKind): Parameter {
  const integer = isInt32(value);
  if (!integer) checkExact(argument, value, kind);
  const type = integer ? 'integer' : 'real';
  return { kind: { type, rank: 0 }, number: integer ? value + 0 : Math.fround(value), cells: null, shape: [] };
}

function nestedTable(argument: string, value: readonly unknown[], kind: ProgramKind): Parameter {
  const shape: number[] = [];
  for (let level: unknown = value; isArray(argument, level); level = readElement(argument, level, 0)) {
    shape.push(readLength(argument, level));
    if (shape.length > 3) throw shapeMismatch(argument, 'at most 3 axes', `${shape.length} or more`);
  }
  const values: number[] = [];
  flatten(argument, value, shape, 0, values);
  return table(argument, values, shape, false, kind);
}

function flatten(argument: string, value: readonly unknown[], shape: number[], axis: number, values: number[]): void {
  const length = readLength(argument, value);
  if (length !== shape[axis]) {
    throw shapeMismatch(argument, `${shape[axis]} elements, as the first array has`, `${length}`);
  }
  if (axis === shape.length - 1) return readNumbers(argument, value, length, values);
  for (let index = 0; index < length; index += 1) {
    const element = readElement(argument, value, index);
    const name = `${argument}[${index}]`;
    if (!isArray(name, element)) throw invalidType(name, `an array of length ${shape[axis + 1]}`, element);
    flatten(name, element, shape, axis + 1, values);
  }
}

function readNumbers(argument: string, value: readonly unknown[], length: number, values: number[]): void {
  for (let index = 0; index < length; index += 1) {
    const element = readElement(argument, value, index);
    values.push(typeof element === 'number' ? element : jsonNumber(element, `${argument}[${index}]`));
  }
}

function jsonNumber(element: unknown, name: string): number {
  if (typeof element === 'string' && ['NaN', 'Infinity', '-Infinity', '-0'].includes(element)) return Number(element);
  throw invalidType(name, 'a number', element);
}

/** `{ data, shape }`, and tensors. */
function shapedTable(argument: string, value: object, kind: ProgramKind): Parameter {
  const data = readProperty(argument, value, 'data');
  const dtype = readProperty(argument, value, 'dtype');
  const isPlain = isArray(`${argument}.data`, data);
  const name = typedArrayName(data);
  const integers = name !== undefined && !isFloatArray(data) && dtype === undefined;
  if (isPlain || integers || name === 'Float64Array' || dtype === 'int32') {
    const shape = checkShape(`${argument}.shape`, readProperty(argument, value, 'shape'));
    if (shape.length < 1 || shape.length > 3)
      throw shapeMismatch(`${argument}.shape`, '1 to 3 axes', `${shape.length}`);
    const values = isPlain
      ? plainValues(`${argument}.data`, data)
      : arrayValues(`${argument}.data`, data as TableArray);
    if (values.length !== countOf(shape)) {
      throw shapeMismatch(`${argument}.data`, `${countOf(shape)} values for ${formatShape(shape)}`, `${values.length}`);
    }
    return table(argument, values, shape, dtype === 'float32' || isFloatArray(data), kind);
  }
  const view = readTensor(value, argument);
  if (view.shape.length < 1 || view.shape.length > 3)
    throw shapeMismatch(argument, 'a table of 1 to 3 axes', formatShape(view.shape));
  if (view.dtype === 'bool') throw invalidValue(argument, 'a float dtype (or a plain integer array)', "'bool'");
  return table(argument, denseFloat32(view, argument), view.shape, true, kind);
}

function plainValues(argument: string, data: readonly unknown[]): readonly number[] {
  const values: number[] = [];
  readNumbers(argument, data, readLength(argument, data), values);
  return values;
}

function table(
  argument: string,
  values: ArrayLike<number>,
  shape: readonly number[],
  real: boolean,
  kind: ProgramKind,
): Parameter {
  if (countOf(shape) > maxInt) throw shapeMismatch(argument, `at most ${maxInt} values`, formatShape(shape));
  const rank = shape.length as 1 | 2 | 3;
  let integer = !real;
  for (let index = 0; integer && index < values.length; index += 1) integer = isInt32(values[index]!);
  if (integer) return { kind: { type: 'integer', rank }, number: 0, cells: Int32Array.from(values), shape };
  if (kind === 'mask') {
    for (let index = 0; index < values.length; index += 1) checkExact(`${argument}[${index}]`, values[index]!, kind);
  }
  return { kind: { type: 'real', rank }, number: 0, cells: Float32Array.from(values), shape };
}

/** Masks compare without rounding. */
export function checkExact(argument: string, value: number, kind: ProgramKind): void {
  if (kind === 'score' || Number.isNaN(value) || Math.fround(value) === value) return;
  const expected =
    'a value that float32 holds exactly (Math.fround gives the nearest), as masks compare without rounding';
  throw invalidValue(argument, expected, describe(value));
}

function isInt32(value: number): boolean {
  return Number.isInteger(value) && value >= -maxInt - 1 && value <= maxInt && !Object.is(value, -0);
}

function isFloatArray(value: unknown): boolean {
  return ['Float32Array', 'Float64Array', 'Float16Array'].includes(typedArrayName(value) ?? '');
}

/** The elements of a typed array, however it was made. */
function arrayValues(argument: string, array: TableArray): ArrayLike<number> {
  const name = typedArrayName(array)!;
  checkReadable(argument, array);
  const memory = bufferOf(array);
  const from = byteOffsetOf(array);
  const count = lengthOf(array);
  switch (name) {
    case 'Int32Array':
      return new Int32Array(memory, from, count);
    case 'Float32Array':
      return new Float32Array(memory, from, count);
    case 'Float64Array':
      return new Float64Array(memory, from, count);
    case 'Int8Array':
      return new Int8Array(memory, from, count);
    case 'Uint8Array':
      return new Uint8Array(memory, from, count);
    case 'Int16Array':
      return new Int16Array(memory, from, count);
    case 'Uint16Array':
      return new Uint16Array(memory, from, count);
    case 'Uint32Array':
      return new Uint32Array(memory, from, count);
    case 'BigInt64Array':
      return Array.from(new BigInt64Array(memory, from, count), Number);
    default:
      throw new AttentionError('ERR_INVALID_ARG_TYPE', argument, 'an array of numbers', describe(array));
  }
}
