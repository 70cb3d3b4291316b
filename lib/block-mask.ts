// Block-sparse masks: which blocks of keys each block of queries sees, as lists.

import { blockMapOf } from './block-map.js';
import type { BlockMap } from './block-map.js';
import {
  blocksOf,
  complement,
  denseBlocks,
  densityOf,
  intersection,
  lineOf,
  transposed,
  union,
} from './block-layout.js';
import type { BlockLayout } from './block-layout.js';
import { readLayout } from './block-lists.js';
import type { BlockLayoutInput, CsrBlocks } from './block-lists.js';
import { checkMaker, face, ours } from './class-face.js';
import { describe, formatShape, invalidType, invalidValue, shapeMismatch } from './errors.js';
import { Mask, layoutToJSON, partsOfLayout } from './masks.js';
import type { BlockMaskJson } from './masks.js';
import { allocate } from './memory.js';
import { checkBlock, checkInteger } from './shape.js';
import { orElse, readProperty, readSnapshot } from './snapshot.js';
import { Tensor } from './tensor.js';

export interface BlockSparseOptions {
  /** Queries and keys of a block, each from 1; one number for both. */
  readonly blockSize: number | readonly [number, number];
  /**
   * Of layouts given as lists: how many blocks of keys there are. Default: as many as cover the positions that the blocks
   * of queries do.
   */
  readonly columns?: number | undefined;
  /**
   * By what blocks of queries go: the query's position (default), so that one layout serves a sequence whole, in chunks
   * and token by token; or its row among the queries of a call. Keys go by position.
   */
  readonly rows?: 'position' | 'row' | undefined;
}

/** Which of the sequences and heads that a layout tells apart. */
export interface BlockPlace {
  /** Default 0. */
  readonly b?: number | undefined;
  readonly h?: number | undefined;
}

/**
 * A mask of blocks. Made by {@link blockSparse}; usable wherever a {@link Mask} is, alone or with others. Time follows
 * the blocks that it keeps, and no grid of pairs is ever made; in `or` and `not` with other masks it is a program that
 * reads a bit a block.
 */
export class BlockMask extends Mask {
  readonly #layout: BlockLayout;

  static {
    face(this, 'BlockMask', (value) => #layout in value);
  }

  /** @internal */
  constructor(token: symbol, layout: BlockLayout) {
    checkMaker(token, 'BlockMask', 'blockSparse()');
    super(ours, partsOfLayout(layout, labelOf(layout)));
    this.#layout = layout;
  }

  /** Queries and keys of a block. */
  get blockSize(): readonly [number, number] {
    return [this.#layout.sizeQ, this.#layout.sizeK];
  }

  /** Sequences and heads that are told apart (1: all alike), blocks of queries and of keys: `[batch, heads, rows, columns]`. */
  get shape(): readonly [number, number, number, number] {
    const { batches, heads, rows, columns } = this.#layout;
    return [batches, heads, rows, columns];
  }

  /** Blocks that are seen, of all sequences and heads that are told apart. */
  get count(): number {
    return this.#layout.blocks.length;
  }

  /** Share of the blocks that are seen, 0 to 1. */
  get density(): number {
    return densityOf(this.#layout);
  }

  /** Blocks of keys that a block of queries sees, ascending. @throws AttentionError `ERR_OUT_OF_RANGE`. */
  list(row: number, place?: BlockPlace): Int32Array {
    const at = checkInteger('row', row, 0, this.#layout.rows - 1);
    const { b, h } = this.#place(place);
    return blocksOf(this.#layout, lineOf(this.#layout, b, h, at)).slice();
  }

  /**
   * A tensor of dtype 'bool': of blocks, [batch, heads, rows, columns], or of pairs, [batch, heads, nq, nkv], for the
   * queries and keys of the first positions. @throws AttentionError `ERR_OUT_OF_RANGE`, `ERR_OUT_OF_MEMORY`.
   */
  toDense(pairs?: { readonly nq: number; readonly nkv: number }): Tensor {
    const { batches, heads, rows, columns, sizeQ, sizeK } = this.#layout;
    if (pairs === undefined) {
      const shape = [batches, heads, rows, columns];
      return Tensor.from(denseBlocks(this.#layout), shape, { dtype: 'bool' });
    }
    const given = readSnapshot('pairs', pairs, ['nq', 'nkv']);
    const nq = checkInteger('pairs.nq', given['nq'], 0, rows * sizeQ);
    const nkv = checkInteger('pairs.nkv', given['nkv'], 0, columns * sizeK);
    const cells = allocate('bool', batches * heads * nq * nkv, 'output').fill(0) as Uint8Array;
    for (let matrix = 0; matrix < batches * heads; matrix += 1) {
      for (let i = 0; i < nq; i += 1) {
        const from = (matrix * nq + i) * nkv;
        for (const block of blocksOf(this.#layout, matrix * rows + Math.floor(i / sizeQ))) {
          cells.fill(1, from + Math.min(block * sizeK, nkv), from + Math.min((block + 1) * sizeK, nkv));
        }
      }
    }
    return Tensor.from(cells, [batches, heads, nq, nkv], { dtype: 'bool' });
  }

  /** Blocks of queries that see each block of keys: the same with the roles exchanged. */
  transpose(): BlockMask {
    return new BlockMask(ours, transposed(this.#layout));
  }

  /** Blocks that both see; heads and sequences that one does not tell apart are repeated. */
  and(other: BlockMask): BlockMask {
    return new BlockMask(ours, intersection(this.#layout, this.#like(other)));
  }

  /** Blocks that one of them sees. */
  or(other: BlockMask): BlockMask {
    return new BlockMask(ours, union(this.#layout, this.#like(other)));
  }

  /** Blocks of the layout that it does not see. */
  not(): BlockMask {
    return new BlockMask(ours, complement(this.#layout));
  }

  /** The blocks of one head, to print (`toString()`) or to draw (`toSVG()`). */
  map(place?: BlockPlace): BlockMap {
    const { rows, columns, sizeQ, sizeK } = this.#layout;
    const { b, h } = this.#place(place);
    const states = allocate('bool', rows * columns, 'output').fill(0) as Uint8Array;
    for (let row = 0; row < rows; row += 1) {
      for (const block of blocksOf(this.#layout, lineOf(this.#layout, b, h, row))) states[row * columns + block] = 2;
    }
    return blockMapOf(rows * sizeQ, columns * sizeK, [sizeQ, sizeK], states);
  }

  /** The blocks of one head as a picture: queries downwards, keys to the right. */
  toSVG(place?: BlockPlace): string {
    return this.map(place).toSVG();
  }

  /** A plain object that {@link blockSparse} and {@link mask} take back. */
  override toJSON(): BlockMaskJson {
    return layoutToJSON(this.#layout);
  }

  #place(place: unknown): { b: number; h: number } {
    const given = readSnapshot('place', place, ['b', 'h']);
    const { batches, heads } = this.#layout;
    const index = (name: string, count: number): number =>
      checkInteger(`place.${name}`, orElse(given[name], 0), 0, count === 1 ? Number.MAX_SAFE_INTEGER : count - 1);
    return { b: index('b', batches), h: index('h', heads) };
  }

  #like(other: unknown): BlockLayout {
    if (typeof other !== 'object' || other === null || !(#layout in other)) {
      throw invalidType('other', 'a BlockMask (other masks combine by and(), or() and not())', other);
    }
    const [a, b] = [this.#layout, other.#layout];
    const fits = (x: number, y: number): boolean => x === y || x === 1 || y === 1;
    const same = a.sizeQ === b.sizeQ && a.sizeK === b.sizeK && a.rows === b.rows && a.columns === b.columns;
    if (!same || a.byRow !== b.byRow || !fits(a.batches, b.batches) || !fits(a.heads, b.heads)) {
      throw shapeMismatch('other', `blocks like those of ${labelOf(a)}`, labelOf(b));
    }
    return b;
  }
}

function labelOf(layout: BlockLayout): string {
  const { batches, heads, rows, columns, sizeQ, sizeK, byRow } = layout;
  const percent = (100 * densityOf(layout)).toFixed(2);
  const shape = formatShape([batches, heads, rows, columns]);
  return `blockSparse(${shape} blocks of ${sizeQ} x ${sizeK}${byRow ? ' by row' : ''}, density ${percent} %)`;
}

/**
 * A mask of blocks: a query of block row r sees the keys of the blocks that the layout lists for r, shared by all heads
 * and sequences or one for each. Blocks may be of any size, down to single queries and keys.
 *
 * @param layout See {@link BlockLayoutInput}; copied. Or what {@link BlockMask.toJSON} gave, without options.
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_SHAPE_MISMATCH`, `ERR_OUT_OF_RANGE`,
 *   `ERR_OUT_OF_MEMORY`, `ERR_UNKNOWN_OPTION`. Calls whose queries or keys reach past the layout, or that have other
 *   heads or sequences, fail with `ERR_SHAPE_MISMATCH`.
 */
export function blockSparse(layout: BlockLayoutInput | BlockMaskJson, options?: BlockSparseOptions): BlockMask {
  if (options === undefined && isJson(layout)) return fromJson(layout);
  const given = readSnapshot('options', options, ['blockSize', 'columns', 'rows']);
  const [sizeQ, sizeK] = checkBlock('options.blockSize', given['blockSize']);
  const { rows, columns } = given;
  if (rows !== undefined && rows !== 'position' && rows !== 'row') {
    throw invalidValue('options.rows', "'position' or 'row'", describe(rows));
  }
  return new BlockMask(ours, readLayout(layout, { sizeQ, sizeK, byRow: rows === 'row', columns: columns as number }));
}

function isJson(value: unknown): value is BlockMaskJson {
  return typeof value === 'object' && value !== null && readProperty('layout', value, 'operation') === 'blocks';
}

function fromJson(json: BlockMaskJson): BlockMask {
  const [layout, blockSize, rows] = (['layout', 'blockSize', 'rows'] as const).map((name) =>
    readProperty('layout', json, name),
  ) as [CsrBlocks, BlockMaskJson['blockSize'], BlockMaskJson['rows']];
  return blockSparse(layout, { blockSize, rows });
}
