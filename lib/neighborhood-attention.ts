// Neighborhood attention over tensors that have the axes of their grid.

import { attention, attentionSync } from './attention.js';
import type { AttentionResult } from './attention.js';
import { denseElements } from './dense.js';
import { formatShape, invalidValue, shapeMismatch, unsupported } from './errors.js';
import { perAxis } from './grid-axes.js';
import { biasOnGrid } from './grid-bias.js';
import { readItems } from './grids.js';
import type { Mask, MaskItem } from './masks.js';
import { allocate } from './memory.js';
import { makeNeighborhood, readAxes, readBorder } from './neighborhood.js';
import type { CheckedNeighborhood, NeighborhoodWindow } from './neighborhood.js';
import type { AttentionOptions } from './options.js';
import { guarded } from './prepare.js';
import { compose, readScore } from './scores.js';
import type { Score } from './scores.js';
import { contiguousStrides, countOf, reshapedStrides, sameShape } from './shape.js';
import { orElse, readSnapshot } from './snapshot.js';
import { readTensor, tensorOf } from './tensor.js';
import type { Tensor, TensorInput } from './tensor.js';
import type { HostView } from './view.js';

/** Options of {@link neighborhoodAttention}: those of {@link neighborhood}, and some of {@link attention}'s. */
export interface NeighborhoodAttentionOptions
  extends
    NeighborhoodWindow,
    Pick<
      AttentionOptions,
      'scale' | 'score' | 'softcap' | 'sinks' | 'normalizer' | 'outputDtype' | 'threads' | 'device' | 'signal'
    > {
  /**
   * A bias for each head and relative place, [H, ...(2R + 1)], as {@link gridBias} takes it; added after `score`, and
   * not where an extra key is seen. Copied by every call: of calls in a loop, `score: gridBias(…)` made once is faster.
   */
  readonly relativeBias?: TensorInput | undefined;
  /** More masks, all of which must allow too; positions as scores see them. */
  readonly mask?: MaskItem | readonly MaskItem[] | undefined;
  /** Keys of register or text tokens, [B, n, Hkv, D], which every query sees in the same softmax; with `extraValue`. */
  readonly extraKey?: TensorInput | undefined;
  /** Their values, [B, n, Hkv, Dv]. Together with the grid's they are copied, n + cells rows of each. */
  readonly extraValue?: TensorInput | undefined;
  /** Also ln Σ exp(score) of each row, float32 [B, H, ...grid]. */
  readonly lse?: boolean | undefined;
}

/** What {@link neighborhoodAttention} gives. */
export interface NeighborhoodAttentionResult {
  /** [B, ...grid, H, Dv]. */
  readonly output: Tensor;
  /** [B, H, ...grid], where it was asked for. */
  readonly lse?: Tensor;
}

const windowNames = ['window', 'stride', 'dilation', 'causal', 'border'];
const callNames = [
  'scale',
  'score',
  'softcap',
  'sinks',
  'normalizer',
  'outputDtype',
  'threads',
  'device',
  'signal',
  'lse',
];
const gridNames = ['relativeBias', 'mask', 'extraKey', 'extraValue'];

/**
 * Attention of each cell of a grid to its neighbours: {@link attention} with the mask {@link neighborhood}, on tensors
 * with the grid's own axes. Scores see positions: cell n is at n, behind the extra keys if there are any.
 *
 * @param q Queries [B, ...grid, H, D] with a grid of one to three axes.
 * @param k Keys [B, ...grid, Hkv, D]; H is a multiple of Hkv.
 * @param v Values [B, ...grid, Hkv, Dv].
 *
 * With `extraKey` all keys and values are copied on the calling thread before the work begins.
 *
 * Never throws: rejects as {@link attention} and {@link neighborhood} do.
 */
export async function neighborhoodAttention(
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options: NeighborhoodAttentionOptions,
): Promise<NeighborhoodAttentionResult> {
  const call = guarded(() => prepare(q, k, v, options));
  return shaped(call, await attention(call.query, call.key, call.value, call.options));
}

/** {@link neighborhoodAttention} on the calling thread (and the pool's); throws what that rejects with. */
export function neighborhoodAttentionSync(
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options: NeighborhoodAttentionOptions,
): NeighborhoodAttentionResult {
  const call = guarded(() => prepare(q, k, v, options));
  return shaped(call, attentionSync(call.query, call.key, call.value, call.options));
}

interface GridCall {
  readonly grid: readonly number[];
  readonly query: Tensor;
  readonly key: Tensor;
  readonly value: Tensor;
  readonly options: AttentionOptions;
}

function prepare(q: unknown, k: unknown, v: unknown, given: unknown): GridCall {
  const options = readSnapshot('options', given, [...windowNames, ...callNames, ...gridNames]);
  const query = readTensor(q, 'query');
  const rank = query.shape.length - 3;
  if (rank < 1 || rank > 3) {
    throw shapeMismatch('query', '[B, ...grid, H, D] with a grid of one to three axes', formatShape(query.shape));
  }
  const grid = query.shape.slice(1, 1 + rank);
  const cells = flat(q, 'query', grid);
  const [key, value] = [flat(k, 'key', grid), flat(v, 'value', grid)];
  const { extraKey, extraValue } = options;
  if ((extraKey === undefined) !== (extraValue === undefined)) {
    const missing = extraKey === undefined ? 'extraKey' : 'extraValue';
    throw invalidValue(`options.${missing}`, 'a tensor, as the other of extraKey and extraValue is given', 'undefined');
  }
  const before = extraKey === undefined ? undefined : readTensor(extraKey, 'options.extraKey');
  const after = extraValue === undefined ? undefined : readTensor(extraValue, 'options.extraValue');
  const extra = before?.shape[1] ?? 0;
  const near = maskFor({ axes: readAxes(options, grid), clamped: readBorder(options['border']), origin: extra });
  const more = options['mask'];
  const mask = more === undefined ? near : [...readItems(more).map(([, item]) => item as MaskItem), near];
  const call = Object.fromEntries(callNames.map((name) => [name, options[name]]));
  const score = scoreOf(options, { grid, origin: extra, heads: cells.shape[2]! });
  return {
    grid,
    query: tensorOf(cells),
    key: tensorOf(before ? joined(before, key, 'options.extraKey') : key),
    value: tensorOf(after ? joined(after, value, 'options.extraValue', extra) : value),
    options: { ...call, mask, score, layout: 'bshd' } as AttentionOptions,
  };
}

/** Masks of the latest calls, the latest last: a plan is kept for as long as its mask is the same one. */
const masks = new Map<string, Mask>();
const maxMasks = 16;

function maskFor(wanted: CheckedNeighborhood): Mask {
  const key = [wanted.clamped, wanted.origin, ...wanted.axes.flatMap((axis) => Object.values(axis))].join();
  const found = masks.get(key) ?? makeNeighborhood(wanted);
  masks.delete(key);
  masks.set(key, found);
  if (masks.size > maxMasks) masks.delete(masks.keys().next().value!);
  return found;
}

/** The score of a call, with its relative bias. */
function scoreOf(
  options: Readonly<Record<string, unknown>>,
  { grid, origin, heads }: { grid: readonly number[]; origin: number; heads: number },
): Score | undefined {
  const score = options['score'] as Score | undefined;
  if (options['relativeBias'] === undefined) return score;
  const argument = 'options.relativeBias';
  const table = readTensor(options['relativeBias'], argument);
  if (table.shape[0] !== heads)
    throw shapeMismatch(argument, `[${heads}, …], a table a head`, formatShape(table.shape));
  const dilations = perAxis('options.dilation', orElse(options['dilation'], 1), grid.length);
  const bias = biasOnGrid(argument, table, { grid, origin, dilations });
  return readScore(score) === null ? bias : compose(score!, bias);
}

/** [B, ...grid, H, D] as [B, cells, H, D]. */
function flat(input: unknown, argument: string, grid: readonly number[]): HostView {
  const view = readTensor(input, argument);
  const rank = grid.length;
  const own = view.shape.slice(1, 1 + rank);
  if (view.shape.length !== rank + 3 || own.some((length, axis) => length !== grid[axis])) {
    throw shapeMismatch(argument, `[B, ${grid.join(', ')}, H, D]`, formatShape(view.shape));
  }
  const shape = [view.shape[0]!, countOf(grid), view.shape[rank + 1]!, view.shape[rank + 2]!];
  const strides = reshapedStrides(view.shape, view.strides, shape);
  if (strides === null) {
    throw unsupported(argument, 'axes of the grid that are one behind the other in memory', formatShape(view.strides));
  }
  return { ...view, shape, strides };
}

/** Rows of extra tokens, any number or `tokens`, and of the grid's cells, one after the other. */
function joined(extra: HostView, cells: HostView, argument: string, tokens?: number): HostView {
  const [batch, count, heads, dim] = cells.shape as readonly [number, number, number, number];
  const rows = extra.shape[1]!;
  const fits = extra.shape.length === 4 && sameShape(extra.shape, [batch, tokens ?? rows, heads, dim]);
  if (!fits) throw shapeMismatch(argument, formatShape([batch, tokens ?? 'n', heads, dim]), formatShape(extra.shape));
  if (extra.dtype !== cells.dtype) throw invalidValue(argument, `dtype '${cells.dtype}'`, `'${extra.dtype}'`);
  const shape = [batch, rows + count, heads, dim];
  const data = allocate(cells.dtype, countOf(shape), argument);
  const parts = [
    [denseElements(extra, argument), rows * heads * dim],
    [denseElements(cells, argument), count * heads * dim],
  ] as const;
  let to = 0;
  for (let b = 0; b < batch; b += 1) {
    for (const [elements, size] of parts) {
      data.set(elements.subarray(b * size, (b + 1) * size), to);
      to += size;
    }
  }
  return { data, dtype: cells.dtype, shape, strides: contiguousStrides(shape), offset: 0 };
}

function shaped({ grid }: GridCall, { output, lse }: AttentionResult<boolean>): NeighborhoodAttentionResult {
  const [batch, , heads, dim] = output.shape as readonly [number, number, number, number];
  const result = { output: output.reshape([batch, ...grid, heads, dim]) };
  return lse ? { ...result, lse: lse.reshape([batch, heads, ...grid]) } : result;
}
