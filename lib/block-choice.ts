// Blocks chosen by scores: pooled queries and keys say which blocks of keys matter to a block of queries.

import { BlockMask } from './block-mask.js';
import { layoutOfLines } from './block-layout.js';
import { readLayoutShape } from './block-lists.js';
import { ours } from './class-face.js';
import { denseElements, denseFloat32 } from './dense.js';
import { describe, formatShape, invalidType, invalidValue, outOfRange, shapeMismatch } from './errors.js';
import { allocate } from './memory.js';
import { choice } from './options.js';
import type { LayoutName } from './options.js';
import { checkBlock, checkInteger } from './shape.js';
import { orElse, readSnapshot } from './snapshot.js';
import { Tensor, readTensor } from './tensor.js';
import type { TensorInput } from './tensor.js';
import type { HostView } from './view.js';

/** How the vectors of a block become one, component by component. */
export type Pooling = 'mean' | 'max';

const mostScores = 2 ** 31;

export interface PooledScoresOptions {
  /** Queries and keys of a block, or one number for both. Queries in blocks of 1 are themselves. */
  readonly blockSize: number | readonly [number, number];
  /** Default 'mean'. */
  readonly queries?: Pooling | undefined;
  readonly keys?: Pooling | undefined;
  /** Factor of q·k. Default 1/sqrt(D). */
  readonly scale?: number | undefined;
  /** Of q and k. Default 'bhsd'. */
  readonly layout?: LayoutName | undefined;
}

/**
 * Scores of blocks: scale · pooled query · pooled key, float32 [B, Hq, rows, columns]. Query heads of a group share the
 * keys of their head. Computed on the calling thread, with rows · columns · D multiplications a head.
 *
 * @param q [B, Hq, Nq, D] or, with layout 'bshd', [B, Nq, Hq, D].
 * @param k [B, Hkv, Nkv, D] or [B, Nkv, Hkv, D].
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_SHAPE_MISMATCH`, `ERR_OUT_OF_RANGE`,
 *   `ERR_OUT_OF_MEMORY`, `ERR_UNKNOWN_OPTION`.
 */
export function pooledScores(q: TensorInput, k: TensorInput, options: PooledScoresOptions): Tensor {
  const given = readSnapshot('options', options, ['blockSize', 'queries', 'keys', 'scale', 'layout']);
  const [sizeQ, sizeK] = checkBlock('options.blockSize', given['blockSize']);
  const poolings = ['mean', 'max'] as const;
  const bshd = choice('options.layout', given['layout'], ['bhsd', 'bshd']) === 'bshd';
  // Both are read before either's memory is looked at: a getter of one may take the other's away.
  const [queries, keys] = [readTensor(q, 'query'), readTensor(k, 'key')];
  const query = rowsOf(queries, 'query', bshd);
  const key = rowsOf(keys, 'key', bshd);
  if (key.dim !== query.dim) throw shapeMismatch('key', `${query.dim} components`, `${key.dim}`);
  if (key.batch !== query.batch) throw shapeMismatch('key', `${query.batch} sequences`, `${key.batch}`);
  if (key.heads === 0 || query.heads % key.heads !== 0) {
    throw shapeMismatch('key', `a number of heads that divides the query's ${query.heads}`, `${key.heads}`);
  }
  const scale = orElse(given['scale'], 1 / Math.sqrt(query.dim));
  if (typeof scale !== 'number') throw invalidType('options.scale', 'a number', scale);
  if (!Number.isFinite(scale)) throw outOfRange('options.scale', 'a finite number', scale);
  const pooledQ = pool(query, sizeQ, choice('options.queries', given['queries'], poolings));
  const pooledK = pool(key, sizeK, choice('options.keys', given['keys'], poolings));
  const [rows, columns] = [Math.ceil(query.rows / sizeQ), Math.ceil(key.rows / sizeK)];
  const { batch, heads, dim } = query;
  const count = batch * heads * rows * columns;
  if (count > mostScores) {
    throw outOfRange('options.blockSize', `blocks so large that there are at most ${mostScores} scores`, count);
  }
  const scores = allocate('float32', count, 'output') as Float32Array;
  let at = 0;
  for (let b = 0; b < batch; b += 1) {
    for (let h = 0; h < heads; h += 1) {
      const first = (b * key.heads + Math.floor((h * key.heads) / heads)) * columns * dim;
      for (let r = 0; r < rows; r += 1) {
        const from = ((b * heads + h) * rows + r) * dim;
        for (let c = 0; c < columns; c += 1) {
          const other = first + c * dim;
          let sum = 0;
          for (let d = 0; d < dim; d += 1) sum += pooledQ[from + d]! * pooledK[other + d]!;
          scores[at++] = sum * scale;
        }
      }
    }
  }
  return Tensor.from(scores, [batch, heads, rows, columns]);
}

export interface ChooseBlocksOptions {
  /** Queries and keys of the blocks that the scores are about. */
  readonly blockSize: number | readonly [number, number];
  /** How many blocks of keys a block of queries sees, those forced among them. This or `threshold`. */
  readonly topK?: number | undefined;
  /** The blocks of highest score whose softmax weights add up to so much, in (0, 1]; those forced come first. */
  readonly threshold?: number | undefined;
  /** The first blocks of keys, which all see. Default 0. */
  readonly first?: number | undefined;
  /**
   * Blocks that are seen by their place: 1 (default) those of the queries' own positions, n these and n − 1 more on each
   * side; 0 none.
   */
  readonly local?: number | undefined;
  /** No blocks that begin after a block's last query. Inside them, `and` with `causal()`. Default false. */
  readonly causal?: boolean | undefined;
  /**
   * Position of the first query that the scores are about. Given, blocks go by the rows of a call; left out, they go by
   * position, from 0.
   */
  readonly start?: number | undefined;
}

/**
 * The blocks of keys that score highest for each block of queries, by number or by weight. With {@link pooledScores} it
 * is routing as in MoBA (Lu et al. 2025), SpargeAttn (Zhang et al. 2025) or BiFormer (Zhu et al. 2023); with scores of a
 * learned gate as in SeerAttention (Gao et al. 2024). Equal scores: the earlier block. NaN is chosen last, -Infinity
 * never.
 *
 * @param scores Float [rows, columns], [heads, rows, columns] or [batch, heads, rows, columns].
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_SHAPE_MISMATCH`, `ERR_OUT_OF_RANGE`,
 *   `ERR_OUT_OF_MEMORY`, `ERR_UNKNOWN_OPTION`.
 */
export function chooseBlocks(scores: TensorInput, options: ChooseBlocksOptions): BlockMask {
  const names = ['blockSize', 'topK', 'threshold', 'first', 'local', 'causal', 'start'];
  const given = readSnapshot('options', options, names);
  const [sizeQ, sizeK] = checkBlock('options.blockSize', given['blockSize']);
  const most = Number.MAX_SAFE_INTEGER;
  const { topK, threshold } = given;
  if ((topK === undefined) === (threshold === undefined)) {
    throw invalidValue('options.topK', 'either topK or threshold', topK === undefined ? 'neither' : 'both');
  }
  const wanted = topK === undefined ? Infinity : checkInteger('options.topK', topK, 1, most);
  const weight = threshold === undefined ? Infinity : checkThreshold(threshold);
  const first = checkInteger('options.first', orElse(given['first'], 0), 0, most);
  const local = checkInteger('options.local', orElse(given['local'], 1), 0, most);
  const causal = orElse(given['causal'], false);
  if (typeof causal !== 'boolean') throw invalidType('options.causal', 'a boolean', causal);
  const start = checkInteger('options.start', orElse(given['start'], 0), 0, 2 ** 31 - 1);
  const view = readTensor(scores, 'scores');
  if (view.dtype === 'bool') throw invalidValue('scores', 'a float dtype', describe(view.dtype));
  const [batches, heads, rows, columns] = readLayoutShape(view.shape, 'scores');
  const values = denseFloat32(view, 'scores');
  const form = { sizeQ, sizeK, rows, columns, batches, heads, byRow: given['start'] !== undefined };
  const chosen = new Uint8Array(columns);
  return new BlockMask(
    ours,
    layoutOfLines(form, (line, to) => {
      const from = start + (line % rows) * sizeQ;
      const own = [Math.floor(from / sizeK), Math.floor((from + sizeQ - 1) / sizeK)] as const;
      const end = causal ? Math.min(columns, own[1] + 1) : columns;
      chosen.fill(0);
      chosen.fill(1, 0, Math.min(first, end));
      if (local > 0) chosen.fill(1, Math.max(0, own[0] - local + 1), Math.max(0, Math.min(end, own[1] + local)));
      const line0 = line * columns;
      choose(values.subarray(line0, line0 + end), chosen, wanted, weight);
      for (let block = 0; block < end; block += 1) if (chosen[block] === 1) to.add(block);
    }),
  );
}

/** Marks blocks of highest score, until there are `wanted`, or those marked weigh `weight`. */
function choose(scores: Float32Array, chosen: Uint8Array, wanted: number, weight: number): void {
  let count = 0;
  let greatest = -Infinity;
  for (let n = 0; n < scores.length; n += 1) {
    count += chosen[n]!;
    if (scores[n]! > greatest) greatest = scores[n]!;
  }
  const weightOf = (n: number): number => {
    const score = scores[n]!;
    if (Number.isNaN(score) || score === -Infinity) return 0;
    return score === greatest ? 1 : Math.exp(score - greatest);
  };
  let all = 0;
  let has = 0;
  if (weight !== Infinity) {
    for (let n = 0; n < scores.length; n += 1) {
      const own = weightOf(n);
      all += own;
      if (chosen[n] === 1) has += own;
    }
  }
  const enough = (): boolean => count >= wanted || (weight !== Infinity && has >= weight * all);
  if (enough()) return;
  const order = new Uint32Array(scores.length)
    .map((_, n) => n)
    .filter((n) => chosen[n] === 0 && scores[n] !== -Infinity);
  order.sort((a, b) => {
    const [x, y] = [scores[a]!, scores[b]!];
    if (x > y) return -1;
    if (y > x) return 1;
    return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b;
  });
  for (const n of order) {
    if (enough()) return;
    chosen[n] = 1;
    count += 1;
    if (weight !== Infinity) has += weightOf(n);
  }
}

function checkThreshold(value: unknown): number {
  if (typeof value !== 'number') throw invalidType('options.threshold', 'a number in (0, 1]', value);
  if (!(value > 0 && value <= 1)) throw outOfRange('options.threshold', 'a number in (0, 1]', value);
  return value;
}

interface Rows {
  readonly data: Float32Array;
  readonly batch: number;
  readonly heads: number;
  readonly rows: number;
  readonly dim: number;
  /** Elements from one to the next. */
  readonly strides: readonly [number, number, number, number];
}

function rowsOf(view: HostView, argument: string, bshd: boolean): Rows {
  if (view.dtype === 'bool') throw invalidValue(argument, 'a float dtype', describe(view.dtype));
  if (view.shape.length !== 4) throw shapeMismatch(argument, 'four axes', formatShape(view.shape));
  const data =
    view.dtype === 'float32' ? (denseElements(view, argument) as Float32Array) : denseFloat32(view, argument);
  const [batch, second, third, dim] = view.shape as readonly [number, number, number, number];
  const [heads, rows] = bshd ? [third, second] : [second, third];
  const line = bshd ? [dim, heads * dim] : [rows * dim, dim];
  return { data, batch, heads, rows, dim, strides: [heads * rows * dim, line[0]!, line[1]!, 1] };
}

/** [batch, heads, blocks, dim]; a last block that is shorter is pooled over what it has. */
function pool({ data, batch, heads, rows, dim, strides }: Rows, size: number, pooling: Pooling): Float32Array {
  const blocks = Math.ceil(rows / size);
  const result = allocate('float32', batch * heads * blocks * dim, 'output').fill(0) as Float32Array;
  for (let matrix = 0; matrix < batch * heads; matrix += 1) {
    const from = Math.floor(matrix / heads) * strides[0] + (matrix % heads) * strides[1];
    for (let row = 0; row < rows; row += 1) {
      const to = (matrix * blocks + Math.floor(row / size)) * dim;
      const at = from + row * strides[2];
      if (pooling === 'mean') {
        const share = 1 / Math.min(size, rows - Math.floor(row / size) * size);
        for (let d = 0; d < dim; d += 1) result[to + d]! += data[at + d]! * share;
      } else if (row % size === 0) {
        for (let d = 0; d < dim; d += 1) result[to + d] = data[at + d]!;
      } else {
        for (let d = 0; d < dim; d += 1) result[to + d] = Math.max(result[to + d]!, data[at + d]!);
      }
    }
  }
  return result;
}
