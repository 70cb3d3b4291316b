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
import { readProperty } from './snapshot.js';
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
  if (Array.isArray(value)) return fromLists(value, form);
  if (typeof value !== 'object' || value === null) {
    throw invalidType(argument, 'a tensor, { indptr, indices, shape } or lists of blocks', value);
  }
  if (form.columns !== undefined) {
    throw invalidValue('options.columns', 'none but with lists, as the layout has a shape', describe(form.columns));
  }
  const indptr = 'indptr' in value ? readProperty(argument, value, 'indptr') : undefined;
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
  if (!Array.isArray(sizes)) throw invalidType(`${argument}.shape`, '[rows, columns]', sizes);
  const shape = sizes.map((size, axis) => checkInteger(`${argument}.shape[${axis}]`, size, 0, mostBlocks));
  const [batches, heads, rows, columns] = readLayoutShape(shape, `${argument}.shape`);
  const lines = batches * heads * rows;
  const indices = readProperty(argument, value, 'indices');
  const count = lengthOfList(indices, () => `${argument}.indices`);
  const given = lengthOfList(indptr, () => `${argument}.indptr`);
  if (given !== lines + 1) {
    throw shapeMismatch(`${argument}.indptr`, `${lines + 1} values, a start for each line and the end`, `${given}`);
  }
  const starts = integers(lines + 1);
  let previous = 0;
  for (let line = 0; line <= lines; line += 1) {
    const start = (indptr as IntegerList)[line];
    if (!isBlock(start, count + 1) || start < previous || (line === 0 && start !== 0)) {
      checkInteger(`${argument}.indptr[${line}]`, start, previous, line === 0 ? 0 : count);
    }
    starts[line] = previous = start as number;
  }
  if (previous !== count) {
    throw shapeMismatch(`${argument}.indptr`, `a last value of ${count}, the length of indices`, `${previous}`);
  }
  const blocks = integers(count);
  for (let line = 0; line < lines; line += 1) {
    const from = starts[line]!;
    const end = starts[line + 1]!;
    for (let at = from; at < end; at += 1) {
      const block = (indices as IntegerList)[at];
      blocks[at] = isBlock(block, columns) ? block : checkInteger(`${argument}.indices[${at}]`, block, 0, columns - 1);
    }
    sortLine(blocks.subarray(from, end), (block) => `${argument}.indices: block ${block} of line ${line}`);
  }
  return { sizeQ, sizeK, rows, columns, batches, heads, byRow, starts, blocks };
}

function fromLists(value: readonly unknown[], { sizeQ, sizeK, byRow, columns: given }: BlockForm): BlockLayout {
  const [batch, axes] = nested(value);
  const batches = batch.length;
  const heads = batch[0]?.length ?? 0;
  const rows = batch[0]?.[0]?.length ?? 0;
  const columns =
    given === undefined ? Math.ceil((rows * sizeQ) / sizeK) : checkInteger('options.columns', given, 0, mostBlocks);
  readLayoutShape([batches, heads, rows, columns], argument);
  const name = (b: number, h: number, r: number): string =>
    `${argument}${[b, h, r]
      .slice(3 - axes)
      .map((index) => `[${index}]`)
      .join('')}`;
  let count = 0;
  batch.forEach((perHead, b) => {
    if (!Array.isArray(perHead)) throw invalidType(`${argument}[${b}]`, 'an array of heads', perHead);
    if (perHead.length !== heads) throw shapeMismatch(`${argument}[${b}]`, `${heads} heads`, `${perHead.length}`);
    perHead.forEach((perRow: unknown, h) => {
      if (!Array.isArray(perRow)) throw invalidType(`${argument}[${h}]`, 'an array of lists', perRow);
      if (perRow.length !== rows) throw shapeMismatch(`${argument}[${h}]`, `${rows} lists`, `${perRow.length}`);
      perRow.forEach((list: unknown, r) => {
        const length = lengthOfList(list, () => name(b, h, r));
        if (length > columns) throw columnsExceeded(name(b, h, r), columns, `${length} blocks`);
        count += length;
      });
    });
  });
  if (count > mostBlocks) throw outOfRange(argument, `at most ${mostBlocks} blocks`, count);
  const blocks = integers(count);
  const starts = integers(batches * heads * rows + 1);
  let end = 0;
  let line = 0;
  batch.forEach((perHead, b) => {
    (perHead as readonly (readonly IntegerList[])[]).forEach((perRow, h) => {
      perRow.forEach((list, r) => {
        const from = end;
        for (let n = 0; n < list.length; n += 1) {
          const block: unknown = list[n];
          if (!isBlock(block, columns)) {
            const which = `${name(b, h, r)}[${n}]`;
            throw columnsExceeded(which, columns, `${checkInteger(which, block, 0, mostBlocks)}`);
          }
          blocks[end++] = block;
        }
        sortLine(blocks.subarray(from, end), (block) => `${name(b, h, r)}: block ${block}`);
        starts[(line += 1)] = end;
      });
    });
  });
  return { sizeQ, sizeK, rows, columns, batches, heads, byRow, starts, blocks };
}

function columnsExceeded(name: string, columns: number, received: string): AttentionError {
  return new AttentionError('ERR_OUT_OF_RANGE', name, `blocks below ${columns} (see options.columns)`, received);
}

/** Lists as [batch][heads][rows], and how many of these axes they have: as deep as their first items are. */
function nested(value: readonly unknown[]): [readonly (readonly (readonly unknown[])[])[], number] {
  let depth = 1;
  for (
    let [first] = value;
    Array.isArray(first) || typedArrayName(first) === 'Int32Array';
    [first] = first as unknown[]
  ) {
    depth += 1;
    if (depth > 4) break;
  }
  switch (depth) {
    case 2:
      return [[[value]], 1];
    case 3:
      return [[value as readonly (readonly unknown[])[]], 2];
    case 4:
      return [value as readonly (readonly (readonly unknown[])[])[], 3];
    default:
      throw invalidType(
        argument,
        'lists of blocks: [rows][...], [heads][rows][...] or [batch][heads][rows][...]',
        value,
      );
  }
}

function lengthOfList(value: unknown, name: () => string): number {
  if (Array.isArray(value)) return value.length;
  if (typedArrayName(value) !== 'Int32Array') throw invalidType(name(), 'a number[] or Int32Array', value);
  checkReadable(name(), value as Int32Array);
  return lengthOf(value as Int32Array);
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
