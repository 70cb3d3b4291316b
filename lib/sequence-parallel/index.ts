// Attention over several ranks, each of which holds a part of the sequence: what users call.

import type { TensorInput } from '../tensor.js';
import type { AllGatherOptions } from './all-gather.js';
import type { MeasuredCosts } from './costs.js';
import type { PredictOptions, ScheduleExplanation, ScheduleOptions } from './explain-schedule.js';
import { groupOver, readTimeout } from './group.js';
import type { Group, GroupOptions } from './group.js';
import type { MeasureOptions } from './measure-costs.js';
import type { ScheduledOptions } from './parallel.js';
import type { SchedulePredictions } from './predict.js';
import type { WorkerSeat } from './seats.js';
import type { ParallelOptions, ParallelResult } from './request.js';

export type { AllGatherOptions } from './all-gather.js';
export type { GroupCosts, MeasuredCosts } from './costs.js';
export type {
  PredictOptions,
  ScheduleExplanation,
  ScheduleOptions,
  ScheduleRank,
  ScheduleRound,
} from './explain-schedule.js';
export { Group, threadGroup } from './group.js';
export type { GroupOptions, Traffic } from './group.js';
export type { MeasureOptions } from './measure-costs.js';
export type { ScheduledOptions } from './parallel.js';
export type { Schedule, SchedulePrediction, SchedulePredictions } from './predict.js';
export type { ParallelOptions, ParallelResult } from './request.js';
export type { Sharding } from './runs.js';
export type { WorkerSeat } from './seats.js';
export { shard, shardLengths, unshard } from './shard.js';
export type { RankOf, ShardOptions } from './shard.js';

type Schedules = typeof import('./schedules.js');
let loaded: Schedules | undefined;

/** Not before they are needed: most programs have one device. */
function schedules(): Schedules {
  return (loaded ??= require('./schedules.js') as Schedules);
}

/**
 * This process's end of a group over all processes that `mpirun -n P node script.js` started, on one machine or many. All
 * of them call it, as often and in the same order. What a group over threads does, it does; messages are copied, and
 * move between turns of the event loop, so that none of them may be held up for longer than the timeout.
 *
 * Needs an addon that is built for the MPI at hand (`npm run build:mpi`), and the main thread of its process. A process
 * that ends waits for the others, while they give signs of life. One that has lost another cannot form new groups.
 *
 * Never throws: rejects with AttentionError `ERR_LOAD_FAILED` where the addon has not been built or does not load,
 * `ERR_UNSUPPORTED` where mpirun has not started the process, or in a worker, `ERR_GROUP_FAILED` where some process does
 * not come within the timeout, `ERR_OUT_OF_RANGE`, `ERR_INVALID_ARG_TYPE`, `ERR_UNKNOWN_OPTION`.
 */
export async function mpiGroup(options?: GroupOptions): Promise<Group> {
  const timeout = readTimeout(options);
  return groupOver(await (require('./mpi.js') as typeof import('./mpi.js')).mpiEngine(timeout));
}

/** Not before they are needed: `node:worker_threads` is. */
function seats(): typeof import('./seats.js') {
  return require('./seats.js') as typeof import('./seats.js');
}

/**
 * The places of a group whose ranks are in different threads of this process. Each goes to the worker that is to be that
 * rank, by `new Worker(file, { workerData: seat, transferList: seat.ports })` or `postMessage`; there {@link joinGroup}
 * takes it. One may stay in this thread.
 *
 * Tensors in shared memory (`SharedArrayBuffer`) stay where they are, and must not be written before the calls of all ranks
 * settle; others are copied once on their way. Computing uses the threads of the process, as ever.
 *
 * @param size Number of ranks, 1 to 256.
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE`, `ERR_UNKNOWN_OPTION`.
 */
export function workerSeats(size: number, options?: GroupOptions): WorkerSeat[] {
  return seats().workerSeats(size, readTimeout(options));
}

/**
 * Takes a place in a group: this thread's end of it. Its operations end with `ERR_GROUP_FAILED` where the thread of a rank
 * that they wait for has ended, at once, or has not taken its place within the timeout.
 *
 * @param seat As it came to this thread.
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE` (a seat that has been taken).
 */
export function joinGroup(seat: WorkerSeat): Group {
  return groupOver(seats().workerEngine(seat));
}

type Flag = boolean | undefined;

/**
 * Attention of this rank's queries to the keys of all ranks, which go round: each rank holds one shard of queries, keys
 * and values, computes with its own keys first, then with those of the rank before, and so on. Memory is that of two
 * shards. Rows that no query of this rank sees do not travel, so that a window costs its width and nothing else.
 *
 * Every mask and score means what it means on one device, and the result is that of {@link attention} on one device
 * within its accuracy; bits are the same in every run with the same number of ranks and the same shards.
 *
 * @param group This rank's end. All ranks call at the same time, with shards of the same sequence and the same options.
 * @param q This rank's queries, [B, Hq, n, Dqk] (or 'bshd', or ragged: rows of each sequence), as {@link shard} makes
 *   them.
 * @param k Its keys [B, Hkv, m, Dqk].
 * @param v Its values [B, Hkv, m, Dv].
 *
 * Never throws: rejects as {@link attention} does, and with `ERR_GROUP_FAILED`.
 */
export async function ringAttention<Lse extends Flag = undefined>(
  group: Group,
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options?: ParallelOptions<Lse>,
): Promise<ParallelResult<Lse>> {
  return schedules().ringAttention(group, [q, k, v], options) as Promise<ParallelResult<Lse>>;
}

/**
 * {@link ringAttention} with rows dealt out one by one: rank r has rows r, r + P, r + 2P, …, so that under a causal mask
 * all ranks have the same to do.
 */
export async function stripedAttention<Lse extends Flag = undefined>(
  group: Group,
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options?: Omit<ParallelOptions<Lse>, 'sharding'>,
): Promise<ParallelResult<Lse>> {
  return schedules().stripedAttention(group, [q, k, v], options) as Promise<ParallelResult<Lse>>;
}

/**
 * Attention of the same few queries on all ranks to keys that are sharded, as in decoding: what travels is a partial for
 * each query, 2 (P − 1) · B · Hq · Nq · (Dv + 2) numbers in all, however long the sequence is.
 *
 * @param q All queries, [B, Hq, Nq, Dqk] and so on, the same on every rank.
 * @param k This rank's keys [B, Hkv, m, Dqk].
 * @param v Its values [B, Hkv, m, Dv].
 * @returns The whole result, with the same bits on every rank.
 *
 * Never throws: rejects as {@link ringAttention} does.
 */
export async function treeAttention<Lse extends Flag = undefined>(
  group: Group,
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options?: ParallelOptions<Lse>,
): Promise<ParallelResult<Lse>> {
  return schedules().treeAttention(group, [q, k, v], options) as Promise<ParallelResult<Lse>>;
}

/**
 * Attention of this rank's queries to the keys of all ranks, brought together head by head. Memory is that of whole
 * sequences, of `headsStep` key/value heads; the result has nothing to merge.
 *
 * Arguments, sharding and errors are those of {@link ringAttention}.
 */
export async function allGatherAttention<Lse extends Flag = undefined>(
  group: Group,
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options?: AllGatherOptions<Lse>,
): Promise<ParallelResult<Lse>> {
  return schedules().allGatherAttention(group, [q, k, v], options) as Promise<ParallelResult<Lse>>;
}

/**
 * Attention by heads: every rank gets all rows of some query heads, and of the key/value heads that they go with, and
 * gives back each rank's rows of the result. The number of ranks need not divide that of heads; past the number of query
 * heads, ranks have nothing to do.
 *
 * Arguments, sharding and errors are those of {@link ringAttention}.
 */
export async function ulyssesAttention<Lse extends Flag = undefined>(
  group: Group,
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options?: ParallelOptions<Lse>,
): Promise<ParallelResult<Lse>> {
  return schedules().ulyssesAttention(group, [q, k, v], options) as Promise<ParallelResult<Lse>>;
}

/**
 * Attention of this rank's queries to the keys of all ranks by the schedule that is expected to be the quickest for
 * these shapes, this mask, this number of ranks and what computing and sending cost; or by one that is named. All ranks
 * take the same one. With 'tree' the queries of all ranks are brought together first.
 *
 * Arguments, sharding and errors are those of {@link ringAttention}.
 */
export async function parallelAttention<Lse extends Flag = undefined>(
  group: Group,
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options?: ScheduledOptions<Lse>,
): Promise<ParallelResult<Lse>> {
  return schedules().parallelAttention(group, [q, k, v], options) as Promise<ParallelResult<Lse>>;
}

/**
 * What computing and sending cost the ranks of a group, measured in a second or so on all of them at once: of each
 * number that of the slowest rank, the same for all. A group of one rank leaves `latency` and `bandwidth` as they are
 * by default.
 *
 * @param group This rank's end. All ranks call at the same time.
 *
 * Never throws: rejects with `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_OUT_OF_RANGE`, `ERR_UNKNOWN_OPTION`,
 * `ERR_GROUP_FAILED`.
 */
export async function measureCosts(group: Group, options?: MeasureOptions): Promise<MeasuredCosts> {
  return schedules().measureCosts(group, options) as Promise<MeasuredCosts>;
}

/**
 * How long each schedule of {@link parallelAttention} would take on a group, and which one it would choose, before
 * there is a group or a tensor. A few ranks and rounds are looked at, and 32768 queries of each at most, whatever the
 * sizes are; those between are taken to be alike. Waiting for other ranks is not counted where they have more to do.
 *
 * @param size Number of ranks.
 * @param q Shape of the whole query [B, Hq, Nq, Dqk].
 * @param k Shape of the whole key [B, Hkv, Nkv, Dqk].
 * @param v Shape of the whole value [B, Hkv, Nkv, Dv].
 * @throws AttentionError as {@link explainSchedule} does.
 */
export function predictSchedules(
  size: number,
  q: readonly number[],
  k: readonly number[],
  v: readonly number[],
  options?: PredictOptions,
): SchedulePredictions {
  return schedules().predictSchedules(size, [q, k, v], options);
}

/**
 * What each rank of a group would compute and receive, before there is a group or a tensor. Every rank's calls are
 * planned here, one after the other: time grows with the square of `size`.
 *
 * @param size Number of ranks.
 * @param q Shape of the whole query [B, Hq, Nq, Dqk].
 * @param k Shape of the whole key [B, Hkv, Nkv, Dqk].
 * @param v Shape of the whole value [B, Hkv, Nkv, Dv].
 * @throws AttentionError as the schedule's function rejects with.
 */
export function explainSchedule(
  size: number,
  q: readonly number[],
  k: readonly number[],
  v: readonly number[],
  options?: ScheduleOptions,
): ScheduleExplanation {
  return schedules().explainSchedule(size, [q, k, v], options);
}
