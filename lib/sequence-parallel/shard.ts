// shard and unshard: a tensor's rows as ranks hold them, and back.

import { invalidType, invalidValue, shapeMismatch } from '../errors.js';
import { readCumulative, snapshotLengths } from '../lengths.js';
import type { LengthsInput } from '../lengths.js';
import { choice } from '../options.js';
import { checkInteger } from '../shape.js';
import { isArray, orElse, readLength, readList, readProperty, readSnapshot } from '../snapshot.js';
import { readTensor, tensorOf } from '../tensor.js';
import type { Tensor, TensorInput } from '../tensor.js';
import { cumulative, emptyLike, gathered, inRow, scatter } from './rows.js';
import { countOf, joined, placed, runsOf, shardings } from './runs.js';
import type { Run, Sharding } from './runs.js';

/** A rank and the number of ranks; a {@link Group} is one. */
export interface RankOf {
  readonly rank: number;
  readonly size: number;
}

/** Options of {@link shard} and {@link unshard}. */
export interface ShardOptions {
  /** Default 'contiguous'. */
  readonly sharding?: Sharding | undefined;
  /** The axis of rows. Default 2, as in [B, H, S, D]; with `cuSeqlens` 0, as in [total, H, D]. */
  readonly axis?: number | undefined;
  /** Of the whole: where its sequences begin and end on the axis. Each of them is dealt out to all ranks. */
  readonly cuSeqlens?: LengthsInput | undefined;
}

/**
 * The rows that a rank holds: a view of the tensor where they are one run (always with 'contiguous' and 'striped', where
 * nothing is ragged), else a copy.
 *
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_OUT_OF_RANGE`, `ERR_UNKNOWN_OPTION`.
 */
export function shard(tensor: TensorInput, place: RankOf, options?: ShardOptions): Tensor {
  const view = readTensor(tensor, 'tensor');
  const { rank, size } = readPlace(place);
  const { axis, sharding, starts } = readShardOptions(options, view.shape, view.shape);
  return tensorOf(gathered(view, axis, rowsOf(sharding, starts, rank, size), 'shard'));
}

/**
 * The whole, from the shards of all ranks in order, as a new tensor. Contiguous shards may be of any lengths where nothing
 * is ragged.
 *
 * @throws AttentionError as {@link shard} does, and `ERR_SHAPE_MISMATCH`.
 */
export function unshard(shards: readonly TensorInput[], options?: ShardOptions): Tensor {
  const empty = !isArray('shards', shards) || readLength('shards', shards) === 0;
  if (empty) throw invalidType('shards', 'an array of tensors', shards);
  const views = readList('shards', shards, readTensor);
  const first = views[0]!;
  const size = views.length;
  const rank = first.shape.length;
  const total = (axis: number): number => views.reduce((sum, { shape }) => sum + (shape[axis] ?? 0), 0);
  const whole = first.shape.map((_, axis) => total(axis));
  const { axis, sharding, starts, ragged } = readShardOptions(options, first.shape, whole);
  const rows = ragged
    ? views.map((_, n) => rowsOf(sharding, starts, n, size))
    : placed(
        'shards',
        sharding,
        views.map(({ shape }) => [shape[axis] ?? 0]),
      ).map((sequences) => sequences[0]!);
  const target = emptyLike(first, axis, whole[axis]!, 'unshard');
  views.forEach((view, n) => {
    const expected = first.shape.map((count, index) => (index === axis ? countOf(rows[n]!) : count));
    if (view.shape.length !== rank || view.shape.some((count, index) => count !== expected[index])) {
      throw shapeMismatch(`shards[${n}]`, `[${expected.join(', ')}]`, `[${view.shape.join(', ')}]`);
    }
    if (view.dtype !== first.dtype) throw invalidValue(`shards[${n}]`, `dtype '${first.dtype}'`, `'${view.dtype}'`);
    scatter(view, target, axis, rows[n]!);
  });
  return tensorOf(target);
}

/** Cumulative lengths of what a rank holds of a ragged batch: its `cuSeqlensQ` and `cuSeqlensKv`. */
export function shardLengths(
  cuSeqlens: LengthsInput,
  place: RankOf,
  options?: Pick<ShardOptions, 'sharding'>,
): number[] {
  const { rank, size } = readPlace(place);
  const given = readSnapshot('options', options, ['sharding']);
  const sharding = choice('options.sharding', given['sharding'], shardings);
  const starts = readStarts('cuSeqlens', cuSeqlens);
  return [...cumulative(lengthsOf(starts).map((length) => countOf(runsOf(sharding, length, rank, size))))];
}

function readPlace(value: unknown): RankOf {
  if (typeof value !== 'object' || value === null) throw invalidType('place', '{ rank, size } or a Group', value);
  const size = checkInteger('place.size', readProperty('place', value, 'size'), 1, 2 ** 20);
  return { size, rank: checkInteger('place.rank', readProperty('place', value, 'rank'), 0, size - 1) };
}

function readShardOptions(
  options: unknown,
  shape: readonly number[],
  whole: readonly number[],
): { axis: number; sharding: Sharding; starts: readonly number[]; ragged: boolean } {
  const given = readSnapshot('options', options, ['sharding', 'axis', 'cuSeqlens']);
  const ragged = given['cuSeqlens'] !== undefined;
  const axis = checkInteger('options.axis', orElse(given['axis'], ragged ? 0 : 2), 0, shape.length - 1);
  const sharding = choice('options.sharding', given['sharding'], shardings);
  const starts = ragged ? readStarts('options.cuSeqlens', given['cuSeqlens'], whole[axis]!) : [0, whole[axis]!];
  return { axis, sharding, starts, ragged };
}

function readStarts(argument: string, value: unknown, total?: number): readonly number[] {
  const end = total ?? snapshotLengths(value, argument).at(-1) ?? 0;
  return Array.from(readCumulative(value, end, argument));
}

function lengthsOf(starts: readonly number[]): readonly number[] {
  return starts.slice(1).map((end, b) => end - starts[b]!);
}

/** Of sequences one behind the other. */
function rowsOf(sharding: Sharding, starts: readonly number[], rank: number, size: number): readonly Run[] {
  return joined(
    inRow(
      lengthsOf(starts).map((length) => runsOf(sharding, length, rank, size)),
      starts,
    ),
  );
}
