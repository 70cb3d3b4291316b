// blockMap: which blocks of keys the blocks of queries see, as numbers, text and picture.

import { BoundProgram } from './bound-program.js';
import { encodeNumbers } from './call.js';
import { checkMaker, face, ours } from './class-face.js';
import { AttentionError, fromNative, shapeMismatch } from './errors.js';
import { loadNative } from './native.cjs';
import type { NativeCall, NativeError } from './native.cjs';
import { choice } from './options.js';
import type { Align } from './options.js';
import type { MaskItem } from './masks.js';
import { guarded, readCall } from './prepare.js';
import { checkBlock, checkInteger } from './shape.js';
import { orElse, readSnapshot } from './snapshot.js';
import { Tensor } from './tensor.js';

/** What {@link blockMap} is to look at. */
export interface BlockMapOptions {
  /** Queries of the sequence, >= 1. */
  readonly nq: number;
  /** Its keys, >= 1. Default: as many as queries. */
  readonly nkv?: number | undefined;
  /** Size of a block: [queries, keys], or one number for both. Default 128. */
  readonly block?: number | readonly [number, number] | undefined;
  /** Sequence and query head that a program reads as b and h. Default 0. */
  readonly b?: number | undefined;
  readonly h?: number | undefined;
  /** Query heads and key/value heads, for programs that read hkv. Default h + 1 and the same. */
  readonly headsQ?: number | undefined;
  readonly headsKv?: number | undefined;
  /** As in the options of a call. */
  readonly align?: Align | undefined;
}

/** How many blocks a text or a picture shows on a side; larger maps are gathered. */
const maxCells = { text: 64, picture: 256 } as const;

/** State of a block: no query of it sees a key of it, some may, or all see all. */
const blockStates = { none: 0, partial: 1, full: 2 } as const;

type Sizes = readonly [number, number];

let make: (nq: number, nkv: number, block: Sizes, states: Uint8Array) => BlockMap;

/** Blocks of queries by blocks of keys; `toString()` and `toSVG()` show them. */
export class BlockMap {
  /** Queries and keys. */
  readonly nq: number;
  readonly nkv: number;
  /** Queries and keys of a block; the last ones may be shorter. */
  readonly block: readonly [number, number];
  /** Blocks of queries and of keys. */
  readonly shape: readonly [number, number];
  /** 0 none, 1 partial, 2 full; row-major, a row for each block of queries. */
  readonly states: Uint8Array;
  #counts: BlockMap['counts'] | undefined;

  static {
    make = (nq, nkv, block, states) => new BlockMap(ours, nq, nkv, block, states);
    face(this, 'BlockMap', (value) => #counts in value);
  }

  private constructor(token: symbol, nq: number, nkv: number, block: Sizes, states: Uint8Array) {
    checkMaker(token, 'BlockMap', 'blockMap()');
    this.nq = nq;
    this.nkv = nkv;
    this.block = block;
    this.shape = [Math.ceil(nq / block[0]), Math.ceil(nkv / block[1])];
    this.states = states;
  }

  /** Number of blocks of each state. */
  get counts(): { readonly none: number; readonly partial: number; readonly full: number } {
    return (this.#counts ??= countStates(this.states));
  }

  /** Share of the blocks that no query sees, 0 to 1. */
  get sparsity(): number {
    return this.counts.none / this.states.length;
  }

  /** A line of numbers, and the blocks: ██ full, ░░ partial, blank none. Large maps show several blocks in one place. */
  toString(): string {
    const { nq, nkv, block, counts } = this;
    const percent = (100 * this.sparsity).toFixed(2);
    const numbers = `${counts.full} full, ${counts.partial} partial, ${counts.none} skipped`;
    const head = `BlockMap(${nq} x ${nkv}, blocks of ${block[0]} x ${block[1]}: ${numbers}, sparsity ${percent} %)`;
    const signs = ['  ', '░░', '██'];
    const { rows, columns, cells } = this.#gathered(maxCells.text);
    const lines = Array.from({ length: rows }, (_, row) =>
      Array.from(cells.subarray(row * columns, (row + 1) * columns), (state) => signs[state]!)
        .join('')
        .trimEnd(),
    );
    return [head, ...lines].join('\n');
  }

  /** The same as a picture: queries downwards, keys to the right; dark full, light partial. */
  toSVG(): string {
    const { rows, columns, cells } = this.#gathered(maxCells.picture);
    const side = Math.max(2, Math.floor(512 / Math.max(rows, columns)));
    const fills = ['', '#9ecae9', '#2a6f97'];
    const parts: string[] = [];
    for (let row = 0; row < rows; row += 1) {
      for (let from = 0; from < columns;) {
        const state = cells[row * columns + from]!;
        let to = from + 1;
        while (to < columns && cells[row * columns + to] === state) to += 1;
        if (state !== 0) {
          const width = (to - from) * side;
          parts.push(
            `<rect x="${from * side}" y="${row * side}" width="${width}" height="${side}" fill="${fills[state]}"/>`,
          );
        }
        from = to;
      }
    }
    const [width, height] = [columns * side, rows * side];
    const frame = `<rect width="${width}" height="${height}" fill="#f7f7f7" stroke="#bbb"/>`;
    const title = `<title>${this.toString().split('\n')[0]!.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</title>`;
    const size = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
    return `<svg xmlns="http://www.w3.org/2000/svg" ${size}>\n${[title, frame, ...parts].join('\n')}\n</svg>\n`;
  }

  /** At most `most` places on a side; one that stands for several blocks is full or empty only if all are. */
  #gathered(most: number): { rows: number; columns: number; cells: Uint8Array } {
    const [allRows, allColumns] = this.shape;
    const step = Math.max(1, Math.ceil(Math.max(allRows, allColumns) / most));
    const rows = Math.ceil(allRows / step);
    const columns = Math.ceil(allColumns / step);
    const cells = new Uint8Array(rows * columns).fill(255);
    for (let row = 0; row < allRows; row += 1) {
      for (let column = 0; column < allColumns; column += 1) {
        const place = Math.floor(row / step) * columns + Math.floor(column / step);
        const state = this.states[row * allColumns + column]!;
        cells[place] = cells[place] === 255 || cells[place] === state ? state : blockStates.partial;
      }
    }
    return { rows, columns, cells };
  }
}

function countStates(states: Uint8Array): BlockMap['counts'] {
  let partial = 0;
  let full = 0;
  for (let index = 0; index < states.length; index += 1) {
    const state = states[index]!;
    partial += state & 1;
    full += state >> 1;
  }
  return { none: states.length - partial - full, partial, full };
}

const maxBlocks = 2 ** 26;

/** A map of what `states` says. */
export function blockMapOf(nq: number, nkv: number, block: Sizes, states: Uint8Array): BlockMap {
  return make(nq, nkv, block, states);
}

/**
 * Which blocks of keys the blocks of queries see under a mask, found from the program alone, without a grid of pairs.
 * A block that a mask tensor says something about counts as partial.
 *
 * @throws AttentionError as {@link attention} rejects with for the mask, and for sizes `ERR_OUT_OF_RANGE`.
 */
export function blockMap(mask: MaskItem | readonly MaskItem[], options: BlockMapOptions): BlockMap {
  return guarded(() => {
    const names = ['nq', 'nkv', 'block', 'b', 'h', 'headsQ', 'headsKv', 'align'];
    const given = readSnapshot('options', options, names);
    const rows = 2 ** 31 - 1;
    const nq = checkInteger('options.nq', given['nq'], 1, rows);
    const nkv = checkInteger('options.nkv', orElse(given['nkv'], nq), 1, rows);
    const b = checkInteger('options.b', orElse(given['b'], 0), 0, 2 ** 22 - 1);
    const h = checkInteger('options.h', orElse(given['h'], 0), 0, 2 ** 20);
    const headsQ = checkInteger('options.headsQ', orElse(given['headsQ'], h + 1), h + 1, 2 ** 20 + 1);
    const headsKv = checkInteger('options.headsKv', orElse(given['headsKv'], headsQ), 1, headsQ);
    if (headsQ % headsKv !== 0) throw shapeMismatch('options.headsKv', `a divisor of ${headsQ} heads`, `${headsKv}`);
    const block = checkBlock('options.block', orElse(given['block'], 128));
    const count = Math.ceil(nq / block[0]) * Math.ceil(nkv / block[1]);
    if (count > maxBlocks) {
      throw new AttentionError('ERR_OUT_OF_RANGE', 'options.block', `at most ${maxBlocks} blocks`, `${count} of them`);
    }
    const align = choice('options.align', given['align'], ['bottom-right', 'top-left']);
    const place: MappedPlace = { b, h, nq, nkv, headsQ, headsKv, block };
    return make(nq, nkv, block, tileStates({ mask, align }, place));
  });
}

/** What a map is of: one sequence and query head. */
export interface MappedPlace {
  readonly b: number;
  readonly h: number;
  readonly nq: number;
  readonly nkv: number;
  readonly headsQ: number;
  readonly headsKv: number;
  readonly block: readonly [number, number];
}

/** States of blocks, row-major: 0 none, 1 partial, 2 full. The mask is one of a call's, or a program by itself. */
export function tileStates(
  mask: BoundProgram | { readonly mask: MaskItem | readonly MaskItem[]; readonly align: Align },
  { b, h, nq, nkv, headsQ, headsKv, block }: MappedPlace,
): Uint8Array {
  // Tensors that take no memory: only shapes and the mask matter.
  const like = (heads: number, length: number): Tensor =>
    Tensor.from(new Float32Array(1), [b + 1, heads, length, 1], { strides: [0, 0, 0, 0] });
  const key = like(headsKv, nkv);
  const alone = mask instanceof BoundProgram;
  const call = readCall(like(headsQ, nq), key, key, alone ? {} : mask, 'reserve');
  const program = alone ? mask : call.visibility.program;
  const native: NativeCall = [encodeNumbers(call), [], program?.handle];
  try {
    return loadNative().blockMap(b, h, block[0], block[1], ...native);
  } catch (error) {
    if (error instanceof AttentionError) throw error;
    throw fromNative(error as NativeError);
  }
}
