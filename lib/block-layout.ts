// Lists of blocks: for each block of queries, of each head and sequence, the blocks of keys that it sees. What can be
// done with them without a mask; lib/block-lists.ts reads what users give.

import { outOfMemory, outOfRange } from './errors.js';
import { allocate, checkMemory } from './memory.js';

/**
 * Lines of ascending block numbers. Line ((b·heads + h)·rows + r) stands in `blocks` from starts[line] to
 * starts[line + 1]; with one batch, or one head, it serves all of them.
 */
export interface BlockLayout {
  /** Queries and keys of a block. */
  readonly sizeQ: number;
  readonly sizeK: number;
  /** Blocks of queries and of keys. */
  readonly rows: number;
  readonly columns: number;
  readonly batches: number;
  readonly heads: number;
  /** Blocks of queries go by the row of the query in its sequence, not by its position. */
  readonly byRow: boolean;
  readonly starts: Int32Array;
  readonly blocks: Int32Array;
}

/** More lists, or blocks in them, than an index of 32 bits can count. */
export const mostBlocks = 2 ** 31 - 2;

/** Memory for so many indices of lines or blocks. */
export function integers(count: number): Int32Array {
  if (count > mostBlocks + 1) throw outOfRange('layout', `at most ${mostBlocks} lines, and blocks in them`, count);
  checkMemory('float32', count, 'layout');
  try {
    return new Int32Array(count);
  } catch (cause) {
    throw outOfMemory('layout', 4 * count, cause);
  }
}

export function lineCount({ batches, heads, rows }: BlockLayout): number {
  return batches * heads * rows;
}

/** A layout's line of a head and a sequence; those it does not have are the one it has. */
export function lineOf({ batches, heads, rows }: BlockLayout, b: number, h: number, row: number): number {
  return ((batches === 1 ? 0 : b) * heads + (heads === 1 ? 0 : h)) * rows + row;
}

export function blocksOf({ starts, blocks }: BlockLayout, line: number): Int32Array {
  return blocks.subarray(starts[line], starts[line + 1]);
}

/** Share of all blocks that are listed, 0 to 1. */
export function densityOf(layout: BlockLayout): number {
  const all = lineCount(layout) * layout.columns;
  return all === 0 ? 0 : layout.blocks.length / all;
}

type Merge = (a: Int32Array, b: Int32Array, out: Int32Array, at: number) => number;

/** Both layouts line by line; heads and sequences that one of them does not tell apart are repeated. */
function merged(a: BlockLayout, b: BlockLayout, most: (a: number, b: number) => number, merge: Merge): BlockLayout {
  const batches = Math.max(a.batches, b.batches);
  const heads = Math.max(a.heads, b.heads);
  const lines = batches * heads * a.rows;
  const pairs = (visit: (line: number, inA: number, inB: number) => void): void => {
    for (let line = 0; line < lines; line += 1) {
      const row = line % a.rows;
      const head = ((line - row) / a.rows) % heads;
      const batch = Math.floor(line / (a.rows * heads));
      visit(line, lineOf(a, batch, head, row), lineOf(b, batch, head, row));
    }
  };
  let room = 0;
  pairs((_, inA, inB) => {
    room += most(a.starts[inA + 1]! - a.starts[inA]!, b.starts[inB + 1]! - b.starts[inB]!);
  });
  const starts = integers(lines + 1);
  const blocks = integers(room);
  pairs((line, inA, inB) => {
    starts[line + 1] = merge(blocksOf(a, inA), blocksOf(b, inB), blocks, starts[line]!);
  });
  return { ...a, batches, heads, starts, blocks: blocks.slice(0, starts[lines]) };
}

/** Blocks that both list. */
export function intersection(a: BlockLayout, b: BlockLayout): BlockLayout {
  return merged(a, b, Math.min, (left, right, out, at) => {
    let end = at;
    for (let l = 0, r = 0; l < left.length && r < right.length;) {
      if (left[l] === right[r]) out[end++] = left[l]!;
      if (left[l]! <= right[r]!) {
        if (left[l] === right[r]) r += 1;
        l += 1;
      } else r += 1;
    }
    return end;
  });
}

/** Blocks that one of them lists. */
export function union(a: BlockLayout, b: BlockLayout): BlockLayout {
  return merged(
    a,
    b,
    (left, right) => left + right,
    (left, right, out, at) => {
      let end = at;
      for (let l = 0, r = 0; l < left.length || r < right.length;) {
        const next = Math.min(left[l] ?? Infinity, right[r] ?? Infinity);
        if (left[l] === next) l += 1;
        if (right[r] === next) r += 1;
        out[end++] = next;
      }
      return end;
    },
  );
}

/** Blocks that it does not list: as many as the layout has, less these. */
export function complement(layout: BlockLayout): BlockLayout {
  const lines = lineCount(layout);
  const starts = integers(lines + 1);
  const blocks = integers(lines * layout.columns - layout.blocks.length);
  let end = 0;
  for (let line = 0; line < lines; line += 1) {
    const listed = blocksOf(layout, line);
    for (let column = 0, at = 0; column < layout.columns; column += 1) {
      if (listed[at] === column) at += 1;
      else blocks[end++] = column;
    }
    starts[line + 1] = end;
  }
  return { ...layout, starts, blocks };
}

/** Which blocks of queries see a block of keys, as a layout with the roles exchanged. */
export function transposed(layout: BlockLayout): BlockLayout {
  const { batches, heads, rows, columns, blocks } = layout;
  const starts = integers(batches * heads * columns + 1);
  const result = integers(blocks.length);
  let base = 0;
  for (let matrix = 0; matrix < batches * heads; matrix += 1) {
    const first = matrix * columns;
    const count = starts.subarray(first + 1, first + columns + 1);
    for (let row = 0; row < rows; row += 1) {
      for (const block of blocksOf(layout, matrix * rows + row)) count[block]! += 1;
    }
    for (let column = 0; column < columns; column += 1) count[column]! += column === 0 ? base : count[column - 1]!;
    const next = Int32Array.from({ length: columns }, (_, column) => starts[first + column]!);
    for (let row = 0; row < rows; row += 1) {
      for (const block of blocksOf(layout, matrix * rows + row)) result[next[block]!++] = row;
    }
    base = starts[first + columns]!;
  }
  const sizes = { sizeQ: layout.sizeK, sizeK: layout.sizeQ, rows: columns, columns: rows };
  return { ...layout, ...sizes, byRow: false, starts, blocks: result };
}

/** 1 where a block is listed, [batches, heads, rows, columns]. */
export function denseBlocks(layout: BlockLayout): Uint8Array {
  const { columns } = layout;
  const cells = allocate('bool', lineCount(layout) * columns, 'output').fill(0) as Uint8Array;
  for (let line = 0; line < lineCount(layout); line += 1) {
    for (const block of blocksOf(layout, line)) cells[line * columns + block] = 1;
  }
  return cells;
}

/** Pairs of blocks of a layout that is made by a rule. */
const mostPairs = 2 ** 31;

/** Blocks of one line after the other. */
export class LineWriter {
  /** Null where blocks are only counted. */
  #blocks: Int32Array | null;
  /** Blocks written so far. */
  count = 0;
  /** The first block that may still come on this line: what is asked for before it is there already, or left out. */
  #next = 0;

  constructor(blocks: Int32Array | null = new Int32Array(1024)) {
    this.#blocks = blocks;
  }

  startLine(): void {
    this.#next = 0;
  }

  /** Forgets what was written. */
  clear(): void {
    this.count = 0;
    this.#next = 0;
  }

  /** The n-th block written. */
  at(n: number): number {
    return this.#blocks![n]!;
  }

  add(block: number): void {
    this.range(block, block + 1);
  }

  /** Blocks from `from` to before `end`. */
  range(from: number, end: number): void {
    this.steps(from, end, 1);
  }

  /** Every `step`-th of them, the first among them. */
  steps(from: number, end: number, step: number): void {
    let block = from >= this.#next ? from : from + Math.ceil((this.#next - from) / step) * step;
    if (block >= end) return;
    const more = Math.ceil((end - block) / step);
    this.#next = block + (more - 1) * step + 1;
    if (this.#blocks !== null) {
      const blocks = this.#reserve(this.#blocks, more);
      for (let at = this.count; block < end; block += step) blocks[at++] = block;
    }
    this.count += more;
  }

  /** All that was written. */
  finish(): Int32Array {
    const blocks = this.#blocks!;
    return blocks.length === this.count ? blocks : blocks.slice(0, this.count);
  }

  #reserve(blocks: Int32Array, more: number): Int32Array {
    if (this.count + more <= blocks.length) return blocks;
    const larger = integers(Math.max(2 * blocks.length, this.count + more));
    larger.set(blocks);
    return (this.#blocks = larger);
  }
}

type Lines = (line: number, to: LineWriter) => void;

/**
 * A layout from what `lines` writes to each line, ascending. With `quick` they are gone through twice, so that memory is
 * allocated once, as large as it has to be.
 */
export function layoutOfLines(form: Omit<BlockLayout, 'starts' | 'blocks'>, lines: Lines, quick = false): BlockLayout {
  const count = form.batches * form.heads * form.rows;
  if (count * form.columns > mostPairs) {
    throw outOfRange(
      'options.blockSize',
      `blocks so large that there are at most ${mostPairs} pairs`,
      count * form.columns,
    );
  }
  const starts = integers(count + 1);
  const write = (writer: LineWriter): LineWriter => {
    for (let line = 0; line < count; line += 1) {
      writer.startLine();
      lines(line, writer);
      starts[line + 1] = writer.count;
    }
    return writer;
  };
  const memory = quick ? integers(write(new LineWriter(null)).count) : undefined;
  return { ...form, starts, blocks: write(new LineWriter(memory)).finish() };
}
