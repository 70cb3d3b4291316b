// Layouts of published patterns: which blocks of keys each block of queries sees, by a rule.

import { BlockMask } from './block-mask.js';
import { LineWriter, layoutOfLines, mostBlocks } from './block-layout.js';
import { ours } from './class-face.js';
import { invalidType, shapeMismatch } from './errors.js';
import { checkInteger } from './shape.js';
import { isArray, orElse, readElement, readList, readSnapshot } from './snapshot.js';

const farthest = 2 ** 31 - 1;

export interface LocalGlobalOptions {
  /** Positions that the layout covers. */
  readonly length: number;
  /** Tokens of a block, on both sides. */
  readonly blockSize: number;
  /** Blocks before and after its own that a block sees. */
  readonly before: number;
  readonly after: number;
  /** The first blocks, which all see and which see all (global tokens). Default 0. */
  readonly first?: number | undefined;
  /** Also every so many-th block, counted from its own. Default: none. */
  readonly every?: number | undefined;
  /** Also so many others, drawn for each block of queries and each head. Default 0. */
  readonly random?: number | undefined;
  /** What they are drawn by: the same seed gives the same blocks. Default 0. */
  readonly seed?: number | undefined;
  /** Heads that draw blocks of their own. Default 1: all alike. */
  readonly heads?: number | undefined;
  /** No blocks after the own one. Inside it, `and` with `causal()`. Default false. */
  readonly causal?: boolean | undefined;
}

/**
 * Local blocks with global, strided and random ones: the block forms of Sparse Transformers (Child et al. 2019: `every`
 * with `causal`), Longformer (Beltagy et al. 2020: `first`), BigBird (Zaheer et al. 2020: `first` and `random`), and,
 * with `causal`, the A-shape of MInference (Jiang et al. 2024) and StreamingLLM (Xiao et al. 2024).
 *
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE`, `ERR_UNKNOWN_OPTION`.
 */
export function localGlobal(options: LocalGlobalOptions): BlockMask {
  const names = ['length', 'blockSize', 'before', 'after', 'first', 'every', 'random', 'seed', 'heads', 'causal'];
  const given = readSnapshot('options', options, names);
  const count = (name: string, value: unknown): number => checkInteger(`options.${name}`, value, 0, farthest);
  const { size, blocks } = readCover(given);
  const [before, after] = [count('before', given['before']), count('after', given['after'])];
  const first = count('first', orElse(given['first'], 0));
  const every = given['every'] === undefined ? 0 : checkInteger('options.every', given['every'], 1, farthest);
  const random = count('random', orElse(given['random'], 0));
  const seed = count('seed', orElse(given['seed'], 0));
  const heads = checkInteger('options.heads', orElse(given['heads'], 1), 1, mostBlocks);
  const causal = orElse(given['causal'], false);
  if (typeof causal !== 'boolean') throw invalidType('options.causal', 'a boolean', causal);
  let draw: Draw | undefined;
  return blockMaskOf([size, size], [blocks, blocks], heads, random === 0, (h, r, to) => {
    const end = causal ? r + 1 : blocks;
    if (r < first) return to.range(0, end);
    if (random > 0) draw ??= new Draw(blocks, seed);
    const fixed = draw?.startLine() ?? to;
    const from = Math.max(0, r - before);
    fixed.range(0, Math.min(first, end));
    if (every > 0) fixed.steps(r % every, from, every);
    fixed.range(from, Math.min(end, r + after + 1));
    if (every > 0) fixed.steps(r % every, end, every);
    draw?.endLine(h, r, end, random, to);
  });
}

export interface ShardedStridesOptions {
  /** Positions that the layout covers. */
  readonly length: number;
  /** Tokens of a block, on both sides. */
  readonly blockSize: number;
  readonly heads: number;
  /** Blocks of the local band, the own one among them. */
  readonly local: number;
  /** Of the blocks before, every so many-th: other ones for other heads. */
  readonly stride: number;
  /** Blocks from one head's to the next one's. Default: max(1, ⌊stride / heads⌋); with `heads >= stride` all heads together see everything. */
  readonly step?: number | undefined;
}

/**
 * S2-Attention (Lin et al. 2024; Phi-3-small): each head sees a local band and a shard of the context of its own. Blocks
 * c <= r with r - c < local, or (c + h·step + 1) mod stride = 0.
 *
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE`, `ERR_UNKNOWN_OPTION`.
 */
export function shardedStrides(options: ShardedStridesOptions): BlockMask {
  const given = readSnapshot('options', options, ['length', 'blockSize', 'heads', 'local', 'stride', 'step']);
  const { size, blocks } = readCover(given);
  const heads = checkInteger('options.heads', given['heads'], 1, mostBlocks);
  const local = checkInteger('options.local', given['local'], 0, farthest);
  const stride = checkInteger('options.stride', given['stride'], 1, farthest);
  const spread = Math.max(1, Math.floor(stride / heads));
  const step = checkInteger('options.step', orElse(given['step'], spread), 0, farthest);
  return blockMaskOf([size, size], [blocks, blocks], heads, true, (h, r, to) => {
    const near = Math.max(0, r - local + 1);
    to.steps(stride - 1 - ((h * step) % stride), near, stride);
    to.range(near, r + 1);
  });
}

export interface VerticalSlashOptions {
  /** Positions that the layout covers. */
  readonly length: number;
  /** Queries of a block; keys are listed one by one. */
  readonly blockSize: number;
  /** Keys that all later queries see: a list, or one for each head. */
  readonly vertical: readonly number[] | readonly (readonly number[])[];
  /** Distances i - j >= 0 of the diagonals: a list, or one for each head. */
  readonly slash: readonly number[] | readonly (readonly number[])[];
}

/**
 * The vertical-slash pattern of MInference (Jiang et al. 2024): a block of queries sees the keys `vertical`, and those
 * that one of its queries has at a distance of `slash`, none of them after its last query. Use it with `causal()`.
 *
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE`, `ERR_SHAPE_MISMATCH`, `ERR_UNKNOWN_OPTION`.
 */
export function verticalSlash(options: VerticalSlashOptions): BlockMask {
  const given = readSnapshot('options', options, ['length', 'blockSize', 'vertical', 'slash']);
  const { size, blocks, length } = readCover(given);
  const vertical = readPerHead('options.vertical', given['vertical'], length);
  const slash = readPerHead('options.slash', given['slash'], length);
  const heads = Math.max(vertical.length, slash.length);
  for (const [name, lists] of [['vertical', vertical] as const, ['slash', slash] as const]) {
    if (lists.length === 1 || lists.length === heads) continue;
    throw shapeMismatch(`options.${name}`, `a list for each of ${heads} heads`, `${lists.length} lists`);
  }
  const keys = vertical.map((list) => Int32Array.from(list).sort());
  const distances = slash.map((list) => Int32Array.from(list).sort().reverse()); // so that keys ascend
  return blockMaskOf([size, 1], [blocks, length], heads, true, (h, r, to) => {
    const end = Math.min((r + 1) * size, length);
    const own = keys[h % keys.length]!;
    let next = 0;
    for (const distance of distances[h % distances.length]!) {
      const from = Math.max(0, r * size - distance);
      for (; next < own.length && own[next]! < from; next += 1) to.add(own[next]!);
      to.range(from, end - distance);
    }
    for (; next < own.length && own[next]! < end; next += 1) to.add(own[next]!);
  });
}

type Lines = (head: number, row: number, to: LineWriter) => void;
/** Of queries and of keys. */
type Sides = readonly [number, number];

function blockMaskOf([sizeQ, sizeK]: Sides, [rows, columns]: Sides, heads: number, quick: boolean, lines: Lines) {
  const form = { sizeQ, sizeK, rows, columns, batches: 1, heads, byRow: false };
  const ofLine = (line: number, to: LineWriter): void => lines(Math.floor(line / rows), line % rows, to);
  return new BlockMask(ours, layoutOfLines(form, ofLine, quick));
}

function readCover(given: Readonly<Record<string, unknown>>): { size: number; blocks: number; length: number } {
  const length = checkInteger('options.length', given['length'], 1, farthest);
  const size = checkInteger('options.blockSize', given['blockSize'], 1, farthest);
  return { size, blocks: Math.ceil(length / size), length };
}

function readPerHead(name: string, value: unknown, length: number): readonly (readonly number[])[] {
  if (!isArray(name, value)) throw invalidType(name, 'a list of integers, or one for each head', value);
  const keysOf = (list: unknown, which: string): readonly number[] => {
    if (!isArray(which, list)) throw invalidType(which, 'a list of integers', list);
    return readList(which, list, (key, place) => checkInteger(place, key, 0, length - 1));
  };
  return isArray(`${name}[0]`, readElement(name, value, 0)) ? readList(name, value, keysOf) : [keysOf(value, name)];
}

/** Lines to which blocks drawn at random are added. */
class Draw {
  readonly #fixed = new LineWriter();
  readonly #seed: number;
  /** Ranks drawn for the line under way, and of each the number of the line that it was last drawn for. */
  readonly #drawn: Int32Array;
  readonly #lineOf: Int32Array;
  #lines = 0;

  constructor(blocks: number, seed: number) {
    this.#seed = seed;
    this.#drawn = new Int32Array(blocks);
    this.#lineOf = new Int32Array(blocks);
  }

  /** Takes what the line has anyway. */
  startLine(): LineWriter {
    this.#fixed.clear();
    return this.#fixed;
  }

  /** Writes that, and `more` of the other blocks before `end`, or all. */
  endLine(head: number, row: number, end: number, more: number, to: LineWriter): void {
    const fixed = this.#fixed;
    const others = end - fixed.count;
    if (more >= others) return to.range(0, end);
    const ranks = this.#ranks(others, more, generator(this.#seed, head, row));
    // The block of rank n among the others has n of them before it, and some that are written anyway.
    let before = 0;
    for (const rank of ranks) {
      for (; before < fixed.count && fixed.at(before) <= rank + before; before += 1) to.add(fixed.at(before));
      to.add(rank + before);
    }
    for (; before < fixed.count; before += 1) to.add(fixed.at(before));
  }

  /** `count` different integers below `end`, ascending, each set of them as likely as others (Floyd). */
  #ranks(end: number, count: number, next: () => number): Int32Array {
    this.#lines += 1;
    const ranks = this.#drawn.subarray(0, count);
    for (let n = 0; n < count; n += 1) {
      const last = end - count + n;
      const drawn = Math.floor(next() * (last + 1));
      const rank = this.#lineOf[drawn] === this.#lines ? last : drawn;
      this.#lineOf[rank] = this.#lines;
      ranks[n] = rank;
    }
    return ranks.sort();
  }
}

/** Numbers in [0, 1) by the seed, the head and the row: a Weyl sequence whose bits are mixed. */
function generator(seed: number, head: number, row: number): () => number {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(head + 1, 0x85ebca6b) ^ Math.imul(row + 1, 0xc2b2ae35)) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}
