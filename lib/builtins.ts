// The patterns of this package: a line or two of program each, with what it computes and where it comes from. Nothing
// elsewhere knows them: kernels see programs.

import { AttentionError, describe, invalidType, invalidValue, shapeMismatch } from './errors.js';
import { builtInMask } from './masks.js';
import type { Mask } from './masks.js';
import { readParameter } from './parameters.js';
import type { NestedNumbers, Parameter, TableArray } from './parameters.js';
import { builtInScore } from './scores.js';
import type { Score } from './scores.js';
import { checkInteger } from './shape.js';
import { orElse, reading, readSnapshot } from './snapshot.js';
import type { TensorInput } from './tensor.js';

/** A table with one axis. */
export type Row = TableArray | readonly number[];
/** A table with two axes. */
export type Grid2 = NestedNumbers | { readonly data: Row; readonly shape: readonly number[] } | TensorInput;

/** Positions lie below this. */
const farthest = 2 ** 31 - 1;

// --- masks -------------------------------------------------------------------------------------------------------------

let causalMask: Mask | undefined;

/** Keys at the query's own position and before: j <= i. */
export function causal(): Mask {
  return (causalMask ??= builtInMask('causal()', '(i, j) => j <= i'));
}

/**
 * Keys at most `left` positions before the query and at most `right` after it, both inclusive:
 * i - left <= j <= i + right. So a query sees at most left + 1 + right keys, itself among them. With right = 0 the
 * sliding window of Longformer's and Mistral's decoders ("a window of W tokens" is left = W - 1).
 *
 * @param left Integer >= 0; `null` or `Infinity` for no bound on that side.
 * @param right The same for the other side; 0 gives a causal window. There is no default: libraries differ in it.
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE`.
 */
export function slidingWindow(left: number | null, right: number | null): Mask {
  const before = checkReach('left', left);
  const after = checkReach('right', right);
  const label = `slidingWindow(${describe(left)}, ${describe(right)})`;
  if (before === null && after === null) return builtInMask(label, '() => true');
  if (before === null) return builtInMask(label, '(i, j, { right }) => j - i <= right', { right: after });
  if (after === null) return builtInMask(label, '(i, j, { left }) => i - j <= left', { left: before });
  const program = '(i, j, { left, right }) => i - j <= left && j - i <= right';
  return builtInMask(label, program, { left: before, right: after });
}

/**
 * A prefix that every query sees whole, and causal attention after it: j < prefix || j <= i (the prefix LM of T5 and
 * UniLM).
 *
 * @param prefix Its length, or the lengths [B] of the sequences of a batch.
 */
export function prefixLm(prefix: number | Row): Mask {
  if (typeof prefix === 'number') {
    const length = checkInteger('prefix', prefix, 0, farthest);
    return builtInMask(`prefixLm(${length})`, '(i, j, { prefix }) => j <= i || j < prefix', { prefix: length });
  }
  const parameters = { prefix: integers('prefix', prefix, 1) };
  return builtInMask('prefixLm(lengths)', '(i, j, { b, prefix }) => j <= i || j < prefix(b)', parameters);
}

/**
 * Packed documents: a query sees the keys of its own, ids(i) = ids(j). Ids need not be sorted, or lie next to each other.
 *
 * @param ids Integers, one a position, [N]; or [B, N], a row for each sequence. `{ q, kv }`, [Nq] and [Nkv], where
 *   queries and keys are different tokens: these are indexed by row and column, whatever the alignment.
 */
export function documents(ids: Row | Grid2 | { readonly q: Row; readonly kv: Row }): Mask {
  if (typeof ids === 'object' && ids !== null && reading('ids', () => 'q' in ids && 'kv' in ids)) {
    const { q, kv } = readSnapshot('ids', ids, ['q', 'kv']);
    const parameters = { q: integers('ids.q', q, 1), kv: integers('ids.kv', kv, 1) };
    return builtInMask('documents({ q, kv })', '(i, j, { row, col, q, kv }) => q(row) === kv(col)', parameters);
  }
  const table = readTable('ids', ids, 'mask');
  const perBatch = table.kind.rank === 2;
  const program = perBatch ? '(i, j, { b, ids }) => ids(b, i) === ids(b, j)' : '(i, j, { ids }) => ids(i) === ids(j)';
  return builtInMask('documents(ids)', program, { ids: integersOf('ids', table, perBatch ? 2 : 1) });
}

/**
 * Every `dilation`-th key, counted from the query: (i - j) mod dilation = 0. With a window it is the dilated sliding
 * window of Longformer: `and(slidingWindow(dilation * n, dilation * n), dilated(dilation))`.
 */
export function dilated(dilation: number): Mask {
  const step = checkInteger('dilation', dilation, 1, farthest);
  return builtInMask(`dilated(${step})`, '(i, j, { dilation }) => (i - j) % dilation === 0', { dilation: step });
}

/**
 * The strided pattern of Sparse Transformers (Child et al. 2019): the `stride` last keys, and before them every
 * `stride`-th.
 */
export function strided(stride: number): Mask {
  const step = checkInteger('stride', stride, 1, farthest);
  const program = '(i, j, { stride }) => j <= i && (i - j < stride || (i - j) % stride === 0)';
  return builtInMask(`strided(${step})`, program, { stride: step });
}

/**
 * Continuations of one shared prefix, laid out one after the other: positions [0, prefix) and then pieces of `length`
 * each. A token sees the prefix and its own piece, both causally (as in parallel sampling and tree verification).
 */
export function sharedPrefix(prefix: number, length: number): Mask {
  const shared = checkInteger('prefix', prefix, 0, farthest);
  const piece = checkInteger('length', length, 1, farthest);
  const program = `(i, j, { prefix, length }) =>
    j <= i && (j < prefix || Math.floor((i - prefix) / length) === Math.floor((j - prefix) / length))`;
  return builtInMask(`sharedPrefix(${shared}, ${piece})`, program, { prefix: shared, length: piece });
}

/** Options of {@link shiftedGroups}. */
export interface ShiftedGroupsOptions {
  /** Tokens of a group. */
  readonly group: number;
  /** Query heads; the second half of them have shifted groups. */
  readonly heads: number;
  /** By how much. Default: half a group. */
  readonly shift?: number | undefined;
  /** First tokens that all see (SinkLoRA). Default 0. */
  readonly sinks?: number | undefined;
}

/**
 * Groups of tokens that see each other, shifted in half of the heads (the shifted sparse attention of LongLoRA, Chen et
 * al. 2024), without its wrap-around: the first and the last shifted group are shorter. With `causal()` for decoders.
 */
export function shiftedGroups(options: ShiftedGroupsOptions): Mask {
  const given = readSnapshot('options', options, ['group', 'heads', 'shift', 'sinks']);
  const group = checkInteger('options.group', given['group'], 1, 2 ** 30);
  const heads = checkInteger('options.heads', given['heads'], 1, farthest);
  const shift = checkInteger('options.shift', orElse(given['shift'], Math.floor(group / 2)), 0, group);
  const sinks = checkInteger('options.sinks', orElse(given['sinks'], 0), 0, farthest);
  const program = `(i, j, { h, group, half, shift, sinks }) => j < sinks
    || Math.floor((i + (h < half ? 0 : shift)) / group) === Math.floor((j + (h < half ? 0 : shift)) / group)`;
  const parameters = { group, half: Math.ceil(heads / 2), shift, sinks };
  return builtInMask(`shiftedGroups(${group}, shift ${shift})`, program, parameters);
}

/**
 * Kinds of tokens, and which kind sees which: allowed(ids(i), ids(j)).
 *
 * @param ids Integers in [0, S), one a position, [N].
 * @param allowed [S, S], a row for the query's kind; nonzero lets it see the key's.
 */
export function segments(ids: Row, allowed: Grid2): Mask {
  const parameters = { ids: integers('ids', ids, 1), allowed: integers('allowed', allowed, 2) };
  return builtInMask('segments(ids, allowed)', '(i, j, { ids, allowed }) => allowed(ids(i), ids(j)) !== 0', parameters);
}

// --- scores ------------------------------------------------------------------------------------------------------------

/**
 * Attention with linear biases (ALiBi, Press et al. 2022): s - slope(h) · |i - j|.
 *
 * @param slopes One a query head, [Hq]; or the number of query heads, for the slopes of the paper: for a power of two,
 *   2^(-8 (h + 1) / Hq); else those of the power of two below, and every other one of the next.
 */
export function alibi(slopes: number | Row | TensorInput): Score {
  const values = typeof slopes === 'number' ? paperSlopes(checkInteger('slopes', slopes, 1, 2 ** 16)) : slopes;
  const table = readTable('slopes', values, 'score');
  rank('slopes', table, 1);
  const label = typeof slopes === 'number' ? `alibi(${slopes})` : 'alibi(slopes)';
  return builtInScore(label, '(s, i, j, { h, slopes }) => s - slopes(h) * Math.abs(i - j)', {
    slopes: valuesOf(table),
  });
}

/** Options of {@link relativeBias} with the buckets of T5. */
export interface RelativeBuckets {
  /** Number of buckets. Default 32. */
  readonly buckets?: number | undefined;
  /** Distances from here on share the last bucket. Default 128. */
  readonly maxDistance?: number | undefined;
  /** Half of the buckets for keys after the query (encoders), or none (decoders). Default true. */
  readonly bidirectional?: boolean | undefined;
}

/**
 * A learned bias by relative position (Shaw et al. 2018): s + bias(h, clamp(j - i, -R, R) + R).
 *
 * @param bias [Hq, 2R + 1], the bias of distance j - i = d in column d + R; distances beyond R take the end's.
 *   With `buckets`, `maxDistance` or `bidirectional` given: the [buckets, Hq] weights of T5 (Raffel et al. 2020), whose
 *   buckets are single distances at first and grow logarithmically up to `maxDistance`.
 */
export function relativeBias(bias: Grid2, options?: RelativeBuckets): Score {
  let table = readTable('bias', bias, 'score');
  rank('bias', table, 2);
  if (options !== undefined) table = bucketTable(table, options);
  const columns = table.shape[1]!;
  if (columns % 2 !== 1) throw shapeMismatch('bias', '[Hq, 2R + 1], an odd number of distances', `${columns}`);
  const program = `(s, i, j, { h, bias, reach }) =>
    s + bias(h, Math.max(-reach, Math.min(reach, j - i)) + reach)`;
  const given = { bias: { data: Float32Array.from(table.cells!), shape: table.shape }, reach: (columns - 1) / 2 };
  return builtInScore('relativeBias(bias)', program, given);
}

/** Divides scores: s / temperature. @param value A number > 0, or one a query head, [Hq]. */
export function temperature(value: number | Row): Score {
  if (typeof value === 'number') {
    if (!(value > 0 && Math.fround(value) > 0 && Number.isFinite(Math.fround(value)))) {
      throw new AttentionError('ERR_OUT_OF_RANGE', 'temperature', 'a finite number > 0', describe(value));
    }
    return builtInScore(`temperature(${value})`, '(s, i, j, { temperature }) => s / temperature', {
      temperature: value,
    });
  }
  const table = readTable('temperature', value, 'score');
  rank('temperature', table, 1);
  const program = '(s, i, j, { h, temperature }) => s / temperature(h)';
  return builtInScore('temperature(values)', program, { temperature: valuesOf(table) });
}

/**
 * Length scaling with the logarithm of the position (the log-n attention of Qwen and Su Jianlin): a query past the
 * trained length sharpens its scores, s · max(1, ln(i + 1) / ln(trained)).
 *
 * @param trained Length that the model was trained with, >= 2.
 */
export function logLengthScaling(trained: number): Score {
  const length = checkInteger('trained', trained, 2, farthest);
  const program = '(s, i, j, { log }) => s * Math.max(1, Math.log(i + 1) / log)';
  return builtInScore(`logLengthScaling(${length})`, program, { log: Math.log(length) });
}

// --- arguments ---------------------------------------------------------------------------------------------------------

function checkReach(argument: string, value: unknown): number | null {
  if (value === null || value === Infinity) return null;
  const expected = 'an integer >= 0, or null for no bound';
  if (typeof value !== 'number') throw invalidType(argument, expected, value);
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new AttentionError('ERR_OUT_OF_RANGE', argument, expected, describe(value));
  }
  return value >= farthest ? null : value;
}

function readTable(argument: string, value: unknown, kind: 'mask' | 'score'): Parameter {
  const parameter = readParameter(argument, value, kind);
  if (parameter.cells === null) throw invalidType(argument, 'a table', value);
  return parameter;
}

function rank(argument: string, parameter: Parameter, axes: number): void {
  if (parameter.kind.rank === axes) return;
  throw shapeMismatch(argument, `a table of ${axes === 1 ? '1 axis' : `${axes} axes`}`, `${parameter.kind.rank}`);
}

/** The integers of a table with one axis. */
export function integerCells(argument: string, value: unknown): Int32Array {
  return integers(argument, value, 1).data as Int32Array;
}

/** The values of a table that has to be of integers. */
function integers(argument: string, value: unknown, axes: number): TableValues {
  return integersOf(argument, readTable(argument, value, 'mask'), axes);
}

function integersOf(argument: string, parameter: Parameter, axes: number): TableValues {
  rank(argument, parameter, axes);
  if (parameter.kind.type !== 'integer') throw invalidValue(argument, 'int32 values', 'others');
  return valuesOf(parameter);
}

/** A table as it was read: what was given may say something else when it is read again. */
function valuesOf({ cells, shape }: Parameter): TableValues {
  return { data: cells!, shape };
}

interface TableValues {
  readonly data: Int32Array | Float32Array;
  readonly shape: readonly number[];
}

function paperSlopes(heads: number): Float32Array {
  const whole = 2 ** Math.floor(Math.log2(heads));
  const slopes = Array.from({ length: whole }, (_, h) => 2 ** ((-8 * (h + 1)) / whole));
  for (let h = 0; slopes.length < heads; h += 2) slopes.push(2 ** ((-8 * (h + 1)) / (2 * whole)));
  return Float32Array.from(slopes);
}

/** T5's weights [buckets, Hq] by distance: [Hq, 2R + 1], R being the first distance of the last bucket. */
function bucketTable(weights: Parameter, options: unknown): Parameter {
  const given = readSnapshot('options', options, ['buckets', 'maxDistance', 'bidirectional']);
  const buckets = checkInteger('options.buckets', orElse(given['buckets'], 32), 2, 2 ** 16);
  const maxDistance = checkInteger('options.maxDistance', orElse(given['maxDistance'], 128), 2, 2 ** 16);
  const bidirectional = orElse(given['bidirectional'], true);
  if (typeof bidirectional !== 'boolean') throw invalidType('options.bidirectional', 'a boolean', bidirectional);
  const [rows, heads] = weights.shape as readonly [number, number];
  if (rows !== buckets) throw shapeMismatch('bias', `[buckets, Hq] with ${buckets} buckets`, `${rows} rows`);
  if (bidirectional && buckets % 2 !== 0) {
    throw invalidValue('options.buckets', 'an even number with two directions', `${buckets}`);
  }
  const columns = 2 * maxDistance + 1;
  const cells = new Float32Array(heads * columns);
  for (let d = -maxDistance; d <= maxDistance; d += 1) {
    const bucket = bucketOf(d, buckets, maxDistance, bidirectional);
    for (let h = 0; h < heads; h += 1) cells[h * columns + d + maxDistance] = weights.cells![bucket * heads + h]!;
  }
  return { kind: { type: 'real', rank: 2 }, number: 0, cells, shape: [heads, columns] };
}

/** T5's bucket of j - i: single distances in the first half, then logarithmically wider ones. */
function bucketOf(distance: number, buckets: number, maxDistance: number, bidirectional: boolean): number {
  const own = bidirectional ? buckets / 2 : buckets;
  const first = bidirectional && distance > 0 ? own : 0;
  const away = bidirectional ? Math.abs(distance) : Math.max(-distance, 0);
  const exact = Math.floor(own / 2);
  if (away < exact) return first + away;
  const growth = Math.log(Math.fround(away / exact)) / Math.log(maxDistance / exact);
  return first + Math.min(own - 1, exact + Math.floor(growth * (own - exact)));
}
