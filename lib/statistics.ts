// What a call says of its weights besides the output: options, their checks, and the tensors that it fills.

import { checkReadable, typedArrayName } from './arrays.js';
import { describe, invalidType, invalidValue, outOfRange, shapeMismatch, unsupported } from './errors.js';
import type { Geometry } from './geometry.js';
import { allocate, checkMemory } from './memory.js';
import { flag } from './options.js';
import { checkBlock, checkInteger, contiguousStrides, countOf } from './shape.js';
import { isArray, readElement, readLength, readList, readSnapshot } from './snapshot.js';
import { tensorOf } from './tensor.js';
import type { Tensor } from './tensor.js';

/** Statistics by blocks of queries by keys, counted from a sequence's first row and column. */
export interface BlockStatistics {
  /** Queries and keys of a block, or one number for both; the last blocks may be smaller. */
  readonly blockSize: number | readonly [number, number];
  /** Sums of a block's weights. Default true. */
  readonly sums?: boolean | undefined;
  /** The largest weight of each block, of rows without a NaN. Default false. */
  readonly max?: boolean | undefined;
}

/**
 * What to say of the weights p = exp(score − lse), in which a sink has its share too. Rows and columns are those of the
 * tensors (ragged: of the sequence), whatever the positions; a column that a query does not see has weight 0.
 */
export interface StatisticsOptions {
  /** Ranges [begin, end) of columns, ascending and apart: the sum of each row's weights in each of them. */
  readonly mass?: readonly (readonly [number, number])[] | undefined;
  /** Columns, ascending: each row's weight of each of them. */
  readonly columns?: readonly number[] | Int32Array | undefined;
  /** The so many largest weights of each row, 1 to 16, and their columns. */
  readonly topK?: number | undefined;
  /** Not with ragged inputs. */
  readonly blocks?: BlockStatistics | undefined;
  /** Of each column the sum of its weights over all queries; not over pages. Makes all scores a second time. */
  readonly columnSums?: boolean | undefined;
}

/** The largest weights of each row. */
export interface TopWeights {
  /** Columns, row-major in the shape of `weights`; −1 where a row has fewer weights above 0. */
  readonly columns: Int32Array;
  /** float32 [B, Hq, Nq, k], ragged [Hq, total, k], falling in each row; of equal ones the first column comes first. */
  readonly weights: Tensor;
}

/** Statistics as far as they were asked for; all float32. */
export interface Statistics {
  /** [B, Hq, Nq, ranges], ragged [Hq, total, ranges]. */
  readonly mass?: Tensor;
  /** [B, Hq, Nq, columns], ragged [Hq, total, columns]. */
  readonly columns?: Tensor;
  readonly topK?: TopWeights;
  /** [B, Hq, blocks of queries, blocks of keys]. */
  readonly blockSums?: Tensor;
  /** Shape as `blockSums`. */
  readonly blockMax?: Tensor;
  /** [B, Hq, Nkv], ragged [Hq, total of keys]. */
  readonly columnSums?: Tensor;
}

/** The statistics that options ask for: sure to be there where that can be known from their types. */
export type StatisticsOf<Given extends StatisticsOptions> = Statistics & {
  readonly [
    Name in keyof Given & keyof Statistics as Given[Name] extends true | number | object ? Name : never
  ]: NonNullable<Statistics[Name]>;
} & (Given extends { readonly blocks: { readonly sums: boolean | undefined } }
    ? unknown
    : Given extends { readonly blocks: object }
      ? { readonly blockSums: Tensor }
      : unknown) &
  (Given extends { readonly blocks: { readonly sums: true } } ? { readonly blockSums: Tensor } : unknown) &
  (Given extends { readonly blocks: { readonly max: true } } ? { readonly blockMax: Tensor } : unknown);

/** Statistics to be computed: numbers in the order of native/problem_codec.h, buffers in that of native/statistics.h. */
export interface StatisticsCall {
  readonly numbers: readonly number[];
  readonly buffers: readonly ArrayBufferView[];
  readonly results: Statistics;
}

const names = ['mass', 'columns', 'topK', 'blocks', 'columnSums'];
const argument = 'options.statistics';
const mostTop = 16;

/** What a thread may take for each range, column or block of keys while a block of queries is under way. */
const scratchFloats = 2 * 512;

/** Checks the option; `reserve` checks that sizes are possible instead of allocating. null where nothing is asked for. */
export function readStatistics(
  value: unknown,
  geometry: Geometry,
  obtain: 'allocate' | 'reserve',
): StatisticsCall | null {
  if (value === undefined) return null;
  const given = readSnapshot(argument, value, names);
  const { batch, headsQ, queries, keys, ragged } = geometry;
  const mass = given['mass'] === undefined ? [] : readRanges(given['mass'], keys);
  const columns = given['columns'] === undefined ? [] : readColumns(given['columns'], keys);
  const top = given['topK'] === undefined ? 0 : checkInteger(`${argument}.topK`, given['topK'], 1, mostTop);
  const blocks = given['blocks'] === undefined ? null : readBlocks(given['blocks']);
  const columnSums = flag(`${argument}.columnSums`, given['columnSums']);
  if (blocks && ragged) throw unsupported(`${argument}.blocks`, 'none with ragged inputs', 'some');
  if (columnSums && geometry.pages) throw unsupported(`${argument}.columnSums`, 'none over pages', 'true');

  const segments =
    mass.length / 2 + columns.length + (blocks ? Math.ceil(keys / blocks.size[1]) * (+blocks.sums + +blocks.max) : 0);
  checkMemory('float32', scratchFloats * segments, argument);

  const heads = ragged ? [headsQ] : [batch, headsQ];
  const buffers: ArrayBufferView[] = [];
  const memory = (shape: readonly number[]): Float32Array => {
    checkMemory('float32', countOf(shape), argument);
    const data = allocate('float32', obtain === 'allocate' ? countOf(shape) : 0, argument) as Float32Array;
    buffers.push(data);
    return data;
  };
  const tensor = (shape: readonly number[]): Tensor => {
    const view = { data: memory(shape), dtype: 'float32', shape, offset: 0 } as const;
    return tensorOf({ ...view, strides: contiguousStrides(shape) });
  };
  // In the order of the addon's slots.
  const results: { -readonly [Name in keyof Statistics]: Statistics[Name] } = {};
  if (mass.length > 0) results.mass = tensor([...heads, queries, mass.length / 2]);
  if (columns.length > 0) results.columns = tensor([...heads, queries, columns.length]);
  if (top > 0) {
    const shape = [...heads, queries, top];
    const found = memory(shape);
    results.topK = { columns: new Int32Array(found.buffer, 0, found.length), weights: tensor(shape) };
  }
  if (blocks) {
    const [rows, width] = blocks.size;
    const shape = [...heads, Math.ceil(queries / rows), Math.ceil(keys / width)];
    if (blocks.sums) results.blockSums = tensor(shape);
    if (blocks.max) results.blockMax = tensor([...shape]);
  }
  if (columnSums) results.columnSums = tensor([...heads, keys]);
  if (buffers.length === 0) return null;
  const [rows, width] = blocks?.size ?? [0, 0];
  const ofBlocks = (blocks?.sums ? 1 : 0) + (blocks?.max ? 2 : 0);
  const head = [top, rows, width, ofBlocks, columnSums ? 1 : 0, mass.length / 2, columns.length];
  return { numbers: [...head, ...mass, ...columns], buffers, results };
}

function readRanges(value: unknown, keys: number): readonly number[] {
  const name = `${argument}.mass`;
  const ranges = nonEmpty(name, value);
  const ends: number[] = [];
  readList(name, ranges, (range, which) => {
    if (!isArray(which, range)) throw invalidType(which, 'an array [begin, end]', range);
    if (readLength(which, range) !== 2) throw shapeMismatch(which, '[begin, end]', describe(range));
    const begin = checkInteger(`${which}[0]`, readElement(which, range, 0), ends.at(-1) ?? 0, keys);
    ends.push(begin, checkInteger(`${which}[1]`, readElement(which, range, 1), begin, keys));
  });
  return ends;
}

function readColumns(value: unknown, keys: number): readonly number[] {
  const name = `${argument}.columns`;
  const typed = typedArrayName(value) === 'Int32Array';
  if (typed) checkReadable(name, value as Int32Array);
  let least = 0;
  return readList(name, nonEmpty(name, typed ? [...new Int32Array(value as Int32Array)] : value), (column, which) => {
    if (least >= keys) throw outOfRange(which, `a column below ${keys}`, column);
    const checked = checkInteger(which, column, least, keys - 1);
    least = checked + 1;
    return checked;
  });
}

function nonEmpty(name: string, value: unknown): readonly unknown[] {
  if (!isArray(name, value)) throw invalidType(name, 'an array', value);
  if (readLength(name, value) === 0) throw invalidValue(name, 'at least one entry', '[]');
  return value;
}

function readBlocks(value: unknown): { size: readonly [number, number]; sums: boolean; max: boolean } {
  const name = `${argument}.blocks`;
  const given = readSnapshot(name, value, ['blockSize', 'sums', 'max']);
  const size = checkBlock(`${name}.blockSize`, given['blockSize']);
  const sums = flag(`${name}.sums`, given['sums'], true);
  const max = flag(`${name}.max`, given['max']);
  if (!sums && !max) throw invalidValue(`${name}.sums`, 'true where max is not', 'false');
  return { size, sums, max };
}
