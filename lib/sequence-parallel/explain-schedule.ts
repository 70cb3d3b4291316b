// explainSchedule: what each rank would compute and be sent, round by round, from the code that would do it.

import { floatDtypes } from '../dtype.js';
import type { FloatDtype } from '../dtype.js';
import { quantity, row } from '../explain.js';
import type { Explanation } from '../explain.js';
import { formatShape, shapeMismatch } from '../errors.js';
import { choice } from '../options.js';
import { guarded } from '../prepare.js';
import { checkInteger, checkShape } from '../shape.js';
import { readSnapshot } from '../snapshot.js';
import { Tensor } from '../tensor.js';
import { readHeadsStep } from './all-gather.js';
import { readCosts } from './costs.js';
import type { GroupCosts } from './costs.js';
import { explainBlock } from './explain-block.js';
import { predict, schedules } from './predict.js';
import type { Schedule, SchedulePredictions } from './predict.js';
import { countsOf, readRequest } from './request.js';
import type { ParallelOptions, Request, Whole } from './request.js';
import { runsOf } from './runs.js';
import { queriesOf, stepsOf } from './steps.js';
import type { Step } from './steps.js';

/** Options of {@link predictSchedules}: what time, work and bytes depend on. */
export interface PredictOptions extends Pick<ParallelOptions, 'mask' | 'score' | 'align' | 'sharding' | 'threads'> {
  /** Default 'float32'. */
  readonly dtype?: FloatDtype | undefined;
  /** Of {@link allGatherAttention}. Default 1. */
  readonly headsStep?: number | undefined;
  /** Of each rank. Default: see {@link GroupCosts}. */
  readonly costs?: GroupCosts | undefined;
}

/** Options of {@link explainSchedule}. */
export interface ScheduleOptions extends PredictOptions {
  /** 'ring' with stripes is {@link stripedAttention}, 'auto' is {@link parallelAttention}. Default 'ring'. */
  readonly schedule?: Schedule | 'auto' | undefined;
}

/** One call of a rank, and what has to come in for it. */
export interface ScheduleRound {
  /** Bytes that come from other ranks for this round. */
  readonly receivedBytes: number;
  /** The call; null where the mask leaves nothing to do. */
  readonly work: Explanation | null;
}

export interface ScheduleRank {
  readonly rounds: readonly ScheduleRound[];
  readonly receivedBytes: number;
  readonly flops: number;
  /** Tiles computed, full or partial. */
  readonly tiles: number;
}

/** What {@link explainSchedule} returns; `toString()` is for reading. */
export interface ScheduleExplanation {
  readonly schedule: Schedule;
  /** What each schedule would take, and which one 'auto' is. */
  readonly predicted: SchedulePredictions;
  readonly ranks: readonly ScheduleRank[];
  /** Tiles of the busiest rank over those of the mean; 1 where all have the same to do. */
  readonly balance: number;
  toString(): string;
}

export function predictSchedules(size: unknown, shapes: readonly unknown[], options: unknown): SchedulePredictions {
  return guarded(() => {
    const { request, whole, costs, headsStep } = readPlan(size, shapes, options, []);
    return predict(request, whole, costs, headsStep);
  });
}

export function explainSchedule(size: unknown, shapes: readonly unknown[], options: unknown): ScheduleExplanation {
  return guarded(() => {
    const { request, whole, costs, headsStep, given } = readPlan(size, shapes, options, ['schedule']);
    const wanted = choice('options.schedule', given['schedule'], [...schedules, 'auto'] as const);
    const predicted = predict(request, whole, costs, headsStep);
    const schedule = wanted === 'auto' ? predicted.chosen : wanted;
    const ranks = whole.rows.map((_, rank) => {
      const steps = stepsOf(schedule, request, whole, rank, headsStep);
      const shared = schedule === 'tree' && wanted === 'auto' ? [queriesOf(request, whole, rank)] : [];
      return rankOf([...shared, ...steps]);
    });
    return new ScheduleAccount(schedule, predicted, ranks);
  });
}

/** Sizes and options, as they would be on the ranks of a group. */
function readPlan(size: unknown, shapes: readonly unknown[], options: unknown, more: readonly string[]) {
  const ranks = checkInteger('size', size, 1, 4096);
  const names = ['dtype', 'headsStep', 'costs', 'mask', 'score', 'align', 'sharding', 'threads', ...more];
  const { dtype, headsStep, costs, schedule, ...rest } = readSnapshot('options', options, names);
  const type = choice<FloatDtype>('options.dtype', dtype, floatDtypes);
  const tensors = shapes.map((shape, index) => withoutMemory(['q', 'k', 'v'][index]!, shape, type));
  const request = readRequest([tensors[0], tensors[1], tensors[2]], rest, ['sharding']);
  return {
    request,
    whole: dealt(request, ranks),
    costs: readCosts('options.costs', costs),
    headsStep: readHeadsStep(headsStep),
    given: { schedule },
  };
}

/** A tensor of which only the shape matters. */
function withoutMemory(argument: string, shape: unknown, dtype: FloatDtype): Tensor {
  const sizes = checkShape(argument, shape);
  if (sizes.length !== 4) throw shapeMismatch(argument, '[B, H, S, D]', formatShape(sizes));
  const dim = Math.min(sizes[3]!, 1024);
  const data = dtype === 'float32' ? new Float32Array(dim) : new Uint16Array(dim);
  return Tensor.from(data, sizes, { dtype, strides: [0, 0, 0, 1] });
}

/** One sequence, dealt out to ranks. */
function dealt({ geometry, sharding }: Request, size: number): Whole {
  const among = (length: number) =>
    Array.from({ length: size }, (_, rank) => [runsOf(sharding, length, rank, size)] as const);
  const [rows, columns] = [among(geometry.queries), among(geometry.keys)];
  const counts = rows.map((own, rank) => ({ queries: countsOf(own), keys: countsOf(columns[rank]!) }));
  return { queries: [geometry.queries], keys: [geometry.keys], rows, columns, counts };
}

function rankOf(steps: readonly Step[]): ScheduleRank {
  const rounds = steps.map(({ receivedBytes, block, request, headsQ, headsKv }): ScheduleRound => {
    return { receivedBytes, work: block && explainBlock(request, block, headsQ, headsKv) };
  });
  const sum = (of: (round: ScheduleRound) => number): number => rounds.reduce((all, round) => all + of(round), 0);
  return {
    rounds,
    receivedBytes: sum((round) => round.receivedBytes),
    flops: sum(({ work }) => work?.flops ?? 0),
    tiles: sum(({ work }) => (work ? work.tiles.full + work.tiles.partial : 0)),
  };
}

class ScheduleAccount implements ScheduleExplanation {
  readonly schedule: Schedule;
  readonly predicted: SchedulePredictions;
  readonly ranks: readonly ScheduleRank[];
  readonly balance: number;

  constructor(schedule: Schedule, predicted: SchedulePredictions, ranks: readonly ScheduleRank[]) {
    const tiles = ranks.map((rank) => rank.tiles);
    const mean = tiles.reduce((sum, one) => sum + one, 0) / ranks.length;
    this.schedule = schedule;
    this.predicted = predicted;
    this.ranks = ranks;
    this.balance = mean === 0 ? 1 : Math.max(...tiles) / mean;
  }

  toString(): string {
    const lines = this.ranks.map(({ rounds, receivedBytes, flops, tiles }, rank) => {
      const idle = rounds.filter(({ work }) => work === null).length;
      const text = `${tiles} tiles, ${quantity(flops, 'FLOP', 1000)}, ${quantity(receivedBytes, 'B', 1024)} in`;
      return row(`rank ${rank}`, `${rounds.length - idle} of ${rounds.length} rounds: ${text}`);
    });
    return [`${this.ranks.length} ranks, the busiest ${this.balance.toFixed(2)} times the mean`, ...lines].join('\n');
  }
}
