// Block layouts as users give them: boolean tensors, compressed rows (CSR), or lists of lists.

import { checkReadable, lengthOf, typedArrayName } from './arrays.js';
import type { BlockLayout } from './block-layout.js';
import { integers, mostBlocks } from './block-layout.js';
import { denseElements } from './dense.js';
import {
  AttentionError,
  describe,
  formatShape,
  invalidType,
  invalidValue,
  outOfRange,
  shapeMismatch,
} from './errors.js';
import { checkInteger } from './shape.js';
import { isArray, reading, readElement, readLength, readList, readProperty } from './snapshot.js';
import { readTensor } from './tensor.js';
import type { TensorInput } from './tensor.js';

/** Integers in a row. */
export type IntegerList = readonly number[] | Int32Array;

/**
 * Compressed sparse rows: the blocks of line n are indices[indptr[n]] ... indices[indptr[n + 1] - 1], in any order. Lines
 * run over `shape` without its last axis: [rows, columns], [heads, rows, columns] or [batch, heads, rows, columns].
 */
export interface CsrBlocks {
  readonly indptr: IntegerList;
  readonly indices: IntegerList;
  readonly shape: readonly number[];
}

/** For each block of queries a list of blocks of keys: [rows][...], [heads][rows][...] or [batch][heads][rows][...]. */
export type ListedBlocks =
  | readonly IntegerList[]
  | readonly (readonly IntegerList[])[]
  | readonly (readonly (readonly IntegerList[])[])[];

/**
 * Which blocks of keys each block of queries sees: a tensor of dtype 'bool' ([rows, columns], [heads, rows, columns] or
 * [batch, heads, rows, columns]), {@link CsrBlocks}, or {@link ListedBlocks}. An axis of heads or sequences of size 1
 * serves all.
 */
export type BlockLayoutInput = TensorInput | CsrBlocks | ListedBlocks;

/** What a layout is made of, apart from how it is given. */
export interface BlockForm {
  readonly sizeQ: number;
  readonly sizeK: number;
  readonly byRow: boolean;
  /** Of lists, which do not say it themselves. */
  readonly columns: number | undefined;
}

const argument = 'layout';

export function readLayout(value: unknown, form: BlockForm): BlockLayout {
  if (isArray(argument, value)) return fromLists(value, form);
  if (typeof value !== 'object' || value === null) {
    throw invalidType(argument, 'a tensor, { indptr, indices, shape } or lists of blocks', value);
  }
  if (form.columns !== undefined) {
    throw invalidValue('options.columns', 'none but with lists, as the layout has a shape', describe(form.columns));
  }
  const indptr = readProperty(argument, value, 'indptr');
  if (indptr !== undefined) return fromCsr(indptr, value, form);
  return fromTensor(value, form);
}

/** [batch, heads, rows, columns] of a shape that may lack the first of them. */
export function readLayoutShape(shape: readonly number[], name: string): readonly [number, number, number, number] {
  if (shape.length < 2 || shape.length > 4) {
    throw shapeMismatch(
      name,
      '[rows, columns], [heads, rows, columns] or [batch, heads, rows, columns]',
      formatShape(shape),
    );
  }
  const [batches, heads, rows, columns] = [...new Array<number>(4 - shape.length).fill(1), ...shape] as [
    number,
    number,
    number,
    number,
  ];
  if (batches === 0 || heads === 0) throw shapeMismatch(name, 'at least one head and sequence', formatShape(shape));
  if (batches * heads * rows > mostBlocks || columns > mostBlocks) {
    throw outOfRange(name, `at most ${mostBlocks} lines and columns`, `${batches * heads * rows} lines`);
  }
  return [batches, heads, rows, columns];
}

function fromTensor(value: object, { sizeQ, sizeK, byRow }: BlockForm): BlockLayout {
  const view = readTensor(value, argument);
  if (view.dtype !== 'bool') throw invalidValue(argument, "dtype 'bool'", describe(view.dtype));
  const [batches, heads, rows, columns] = readLayoutShape(view.shape, argument);
  const cells = denseElements(view, argument);
  let count = 0;
  for (let at = 0; at < cells.length; at += 1) if (cells[at] !== 0) count += 1;
  const blocks = integers(count);
  const starts = integers(batches * heads * rows + 1);
  let end = 0;
  for (let line = 0; line + 1 < starts.length; line += 1) {
    for (let column = 0; column < columns; column += 1)
      if (cells[line * columns + column] !== 0) blocks[end++] = column;
    starts[line + 1] = end;
  }
  return { sizeQ, sizeK, rows, columns, batches, heads, byRow, starts, blocks };
}

function fromCsr(indptr: unknown, value: object, { sizeQ, sizeK, byRow }: BlockForm): BlockLayout {
  const sizes = readProperty(argument, value, 'shape');
  if (!isArray(`${argument}.shape`, sizes)) throw invalidType(`${argument}.shape`, '[rows, columns]', sizes);
  const shape = readList(`${argument}.shape`, sizes, (size, name) => checkInteger(name, size, 0, mostBlocks));
  const [batches, heads, rows, columns] = readLayoutShape(shape, `${argument}.shape`);
  const lines = batches * heads * rows;
  const indices = readProperty(argument, value, 'indices');
  const count = lengthOfList(indices, () => `${argument}.indices`);
  const given = lengthOfList(indptr, () => `${argument}.indptr`);
  if (given !== lines + 1) {
    throw shapeMismatch(`${argument}.indptr`, `${lines + 1} values, a start for each line and the end`, `${given}`);
  }
  const starts = reading(`${argument}.indptr`, () => readStarts(indptr as IntegerList, lines, count));
  const blocks = reading(`${argument}.indices`, () => readBlocks(indices as IntegerList, starts, columns));
  return { sizeQ, sizeK, rows, columns, batches, heads, byRow, starts, blocks };
}

function readStarts(indptr: IntegerList, lines: number, count: number): Int32Array {
  const starts = integers(lines + 1);
  let previous = 0;
  for (let line = 0; line <= lines; line += 1) {
    const start = indptr[line];
    if (!isBlock(start, count + 1) || start < previous || (line === 0 && start !== 0)) {
      checkInteger(`${argument}.indptr[${line}]`, start, previous, line === 0 ? 0 : count);
    }
    starts[line] = previous = start as number;
  }
  if (previous !== count) {
    throw shapeMismatch(`${argument}.indptr`, `a last value of ${count}, the length of indices`, `${previous}`);
  }
  return starts;
}

function readBlocks(indices: IntegerList, starts: Int32Array, columns: number): Int32Array {
  const lines = starts.length - 1;
  const blocks = integers(starts[lines]!);
  for (let line = 0; line < lines; line += 1) {
    const from = starts[line]!;
    const end = starts[line + 1]!;
    for (let at = from; at < end; at += 1) {
      const block = indices[at];
      blocks[at] = isBlock(block, columns) ? block : checkInteger(`${argument}.indices[${at}]`, block, 0, columns - 1);
    }
    sortLine(blocks.subarray(from, end), (block) => `${argument}.indices: block ${block} of line ${line}`);
  }
  return blocks;
}

function fromLists(value: readonly unknown[], { sizeQ, sizeK, byRow, columns: given }: BlockForm): BlockLayout {
  const sizes = sizesOf(value);
  const rows = sizes.at(-1)!;
  const columns =
    given === undefined ? Math.ceil((rows * sizeQ) / sizeK) : checkInteger('options.columns', given, 0, mostBlocks);
  const [batches, heads] = readLayoutShape([...sizes, columns], argument);
  const lines: Lines = { lists: [], lengths: [] };
  collect(value, argument, sizes, columns, lines);
  const name = (line: number): string => {
    const places = [Math.floor(line / (heads * rows)), Math.floor(line / rows) % heads, line % rows];
    return `${argument}${places
      .slice(3 - sizes.length)
      .map((index) => `[${index}]`)
      .join('')}`;
  };
  const { starts, blocks } = reading(argument, () => readLines(lines, columns, name));
  return { sizeQ, sizeK, rows, columns, batches, heads, byRow, starts, blocks };
}

/** The user's lists, and how long each was when it was looked at: a getter in one of them may change the others. */
interface Lines {
  readonly lists: ArrayLike<unknown>[];
  readonly lengths: number[];
}

function readLines({ lists, lengths }: Lines, columns: number, name: (line: number) => string) {
  const count = lengths.reduce((sum, length) => sum + length, 0);
  if (count > mostBlocks) throw outOfRange(argument, `at most ${mostBlocks} blocks`, count);
  const blocks = integers(count);
  const starts = integers(lists.length + 1);
  let end = 0;
  for (let line = 0; line < lists.length; line += 1) {
    const from = end;
    const list = lists[line]!;
    const length = lengths[line]!;
    for (let n = 0; n < length; n += 1) {
      const block = list[n];
      if (!isBlock(block, columns)) {
        const which = `${name(line)}[${n}]`;
        throw columnsExceeded(which, columns, `${checkInteger(which, block, 0, mostBlocks)}`);
      }
      blocks[end++] = block;
    }
    sortLine(blocks.subarray(from, end), (block) => `${name(line)}: block ${block}`);
    starts[line + 1] = end;
  }
  return { starts, blocks };
}

/** Puts the lists below `value` in order; `sizes` are those of its axes. A hole anywhere is no list. */
function collect(
  value: unknown,
  name: string,
  [size, ...inner]: readonly number[],
  columns: number,
  { lists, lengths }: Lines,
): void {
  const items = inner.length > 0 ? 'heads' : 'lists';
  if (!isArray(name, value)) throw invalidType(name, `an array of ${items}`, value);
  const given = readLength(name, value);
  if (given !== size) throw shapeMismatch(name, `${size} ${items}`, `${given}`);
  for (let n = 0; n < size; n += 1) {
    const item = readElement(name, value, n);
    if (inner.length > 0) {
      collect(item, `${name}[${n}]`, inner, columns, { lists, lengths });
      continue;
    }
    const length = lengthOfList(item, () => `${name}[${n}]`);
    if (length > columns) throw columnsExceeded(`${name}[${n}]`, columns, `${length} blocks`);
    lists.push(item as ArrayLike<unknown>);
    lengths.push(length);
  }
}

function columnsExceeded(name: string, columns: number, received: string): AttentionError {
  return new AttentionError('ERR_OUT_OF_RANGE', name, `blocks below ${columns} (see options.columns)`, received);
}

/** Sizes of the axes of lists, as deep as the first items are: rows; heads and rows; or batch, heads and rows. */
function sizesOf(value: readonly unknown[]): readonly number[] {
  const sizes: number[] = [];
  let level: unknown = value;
  for (let name = argument; isArray(name, level) && sizes.length < 5; name += '[0]') {
    sizes.push(readLength(name, level));
    level = readElement(name, level, 0);
  }
  // The innermost array is a list itself.
  if (typedArrayName(level) !== 'Int32Array') sizes.pop();
  if (sizes.length < 1 || sizes.length > 3) {
    const expected = 'lists of blocks: [rows][...], [heads][rows][...] or [batch][heads][rows][...]';
    throw invalidType(argument, expected, value);
  }
  return sizes;
}

function lengthOfList(value: unknown, name: () => string): number {
  if (typedArrayName(value) === 'Int32Array') {
    checkReadable(name(), value as Int32Array);
    return lengthOf(value as Int32Array);
  }
  if (!isArray(argument, value)) throw invalidType(name(), 'a number[] or Int32Array', value);
  return readLength(argument, value);
}

/** Ascending, each once. */
function sortLine(line: Int32Array, name: (block: number) => string): void {
  let sorted = true;
  for (let at = 1; at < line.length && sorted; at += 1) sorted = line[at]! > line[at - 1]!;
  if (sorted) return;
  line.sort();
  for (let at = 1; at < line.length; at += 1) {
    if (line[at] === line[at - 1]) throw invalidValue(name(line[at]!), 'each block once in a line', 'twice');
  }
}

function isBlock(value: unknown, columns: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < columns;
}
