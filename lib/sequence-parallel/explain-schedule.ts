// explainSchedule: what each rank would compute and be sent, round by round, from the code that would do it.

import { floatDtypes, sizeOf } from '../dtype.js';
import type { FloatDtype } from '../dtype.js';
import { explainCall, quantity, row } from '../explain.js';
import type { Explanation } from '../explain.js';
import { formatShape, shapeMismatch } from '../errors.js';
import { choice } from '../options.js';
import { guarded } from '../prepare.js';
import { checkInteger, checkShape } from '../shape.js';
import { readSnapshot } from '../snapshot.js';
import { Tensor } from '../tensor.js';
import type { HostView } from '../view.js';
import { callOver, partially } from './local.js';
import type { Block } from './local.js';
import { rowsNeeded } from './needs.js';
import { allRows, countsOf, partOf, readRequest } from './request.js';
import type { ParallelOptions, Request, Whole } from './request.js';
import { countOf, restricted, runsOf } from './runs.js';
import { childrenOf } from './tree.js';
import { headsOf } from './ulysses.js';

export type Schedule = 'ring' | 'tree' | 'allGather' | 'ulysses';
const schedules: readonly Schedule[] = ['ring', 'tree', 'allGather', 'ulysses'];

/** Options of {@link explainSchedule}: the schedule, and those of its function that work and bytes depend on. */
export interface ScheduleOptions extends Pick<ParallelOptions, 'mask' | 'score' | 'align' | 'sharding' | 'threads'> {
  /** 'ring' with `sharding: 'striped'` is {@link stripedAttention}. Default 'ring'. */
  readonly schedule?: Schedule | undefined;
  /** Default 'float32'. */
  readonly dtype?: FloatDtype | undefined;
  /** Of {@link allGatherAttention}. Default 1. */
  readonly headsStep?: number | undefined;
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
  readonly ranks: readonly ScheduleRank[];
  /** Tiles of the busiest rank over those of the mean; 1 where all have the same to do. */
  readonly balance: number;
  toString(): string;
}

export function explainSchedule(size: unknown, shapes: readonly unknown[], options: unknown): ScheduleExplanation {
  return guarded(() => {
    const ranks = checkInteger('size', size, 1, 4096);
    const { schedule, dtype, headsStep, ...rest } = readSnapshot('options', options, [
      'schedule',
      'dtype',
      'headsStep',
      'mask',
      'score',
      'align',
      'sharding',
      'threads',
    ]);
    const type = choice<FloatDtype>('options.dtype', dtype, floatDtypes);
    const tensors = shapes.map((shape, index) => withoutMemory(['q', 'k', 'v'][index]!, shape, type));
    const request = readRequest([tensors[0], tensors[1], tensors[2]], rest, ['sharding']);
    const step = checkInteger('options.headsStep', headsStep ?? 1, 1, Number.MAX_SAFE_INTEGER);
    return account(request, choice('options.schedule', schedule, schedules), ranks, step);
  });
}

/** A tensor of which only the shape matters. */
function withoutMemory(argument: string, shape: unknown, dtype: FloatDtype): Tensor {
  const sizes = checkShape(argument, shape);
  if (sizes.length !== 4) throw shapeMismatch(argument, '[B, H, S, D]', formatShape(sizes));
  const dim = Math.min(sizes[3]!, 1024);
  const data = dtype === 'float32' ? new Float32Array(dim) : new Uint16Array(dim);
  return Tensor.from(data, sizes, { dtype, strides: [0, 0, 0, 1] });
}

/** One call to come: what it waits for, and the request that it is a part of. */
interface Step {
  readonly receivedBytes: number;
  readonly block: Omit<Block, 'query' | 'key' | 'value'> | null;
  readonly request: Request;
  readonly headsQ: number;
  readonly headsKv: number;
}

function account(request: Request, schedule: Schedule, size: number, headsStep: number): ScheduleExplanation {
  const { geometry, sharding } = request;
  const dealt = (length: number) =>
    Array.from({ length: size }, (_, rank) => [runsOf(sharding, length, rank, size)] as const);
  const columns = dealt(geometry.keys);
  const rows = schedule === 'tree' ? columns.map(() => allRows([geometry.queries])) : dealt(geometry.queries);
  const whole: Whole = {
    queries: [geometry.queries],
    keys: [geometry.keys],
    rows,
    columns,
    counts: rows.map((own, rank) => ({ queries: countsOf(own), keys: countsOf(columns[rank]!) })),
  };
  const steps = { ring: ringSteps, tree: treeSteps, allGather: gatherSteps, ulysses: ulyssesSteps }[schedule];
  const ranks = rows.map((_, rank) => rankOf(steps(request, whole, rank, headsStep)));
  const tiles = ranks.map((rank) => rank.tiles);
  const mean = tiles.reduce((sum, one) => sum + one, 0) / size;
  return new ScheduleAccount(ranks, mean === 0 ? 1 : Math.max(...tiles) / mean);
}

function rankOf(steps: readonly Step[]): ScheduleRank {
  const rounds = steps.map(({ receivedBytes, block, request, headsQ, headsKv }): ScheduleRound => {
    if (block === null) return { receivedBytes, work: null };
    const { query, key, value } = request.geometry;
    const [queries, keys] = [block.queries[0]!, block.keys[0]!];
    const sized = (view: HostView, heads: number, count: number): HostView => ({
      ...view,
      shape: [view.shape[0]!, heads, count, view.shape[3]!],
    });
    const tensors = {
      query: sized(query, headsQ, queries),
      key: sized(key, headsKv, keys),
      value: sized(value, headsKv, keys),
    };
    return { receivedBytes, work: explainCall(callOver(request, { ...tensors, ...block }, 'reserve')) };
  });
  const sum = (of: (round: ScheduleRound) => number): number => rounds.reduce((all, round) => all + of(round), 0);
  return {
    rounds,
    receivedBytes: sum((round) => round.receivedBytes),
    flops: sum(({ work }) => work?.flops ?? 0),
    tiles: sum(({ work }) => (work ? work.tiles.full + work.tiles.partial : 0)),
  };
}

/** Bytes of `count` rows of keys and values of some heads. */
function pairBytes({ geometry }: Request, heads: number, count: number): number {
  const { batch, dimQk, dimV, key, value } = geometry;
  return batch * heads * count * (dimQk * sizeOf[key.dtype] + dimV * sizeOf[value.dtype]);
}

function ringSteps(given: Request, whole: Whole, rank: number): Step[] {
  const { headsQ, headsKv } = given.geometry;
  const request = partially(given);
  const size = whole.rows.length;
  const rows = whole.rows[rank]!;
  return Array.from({ length: size }, (_, round) => {
    const source = (rank - round + size) % size;
    const needs = rowsNeeded(request, whole, rank, source);
    const columns = whole.columns[source]!.map((runs, b) => (round === 0 ? runs : restricted(runs, needs[b]!)));
    const keys = countsOf(columns);
    const receivedBytes = round === 0 ? 0 : pairBytes(request, headsKv, keys[0]!);
    const part = partOf(request, whole, rows, columns);
    const nothing = round > 0 && keys[0] === 0;
    return {
      receivedBytes,
      block: nothing ? null : { queries: countsOf(rows), keys, part },
      request,
      headsQ,
      headsKv,
    };
  });
}

function treeSteps(given: Request, whole: Whole, rank: number): Step[] {
  const { batch, headsQ, headsKv, queries, dimV } = given.geometry;
  const request = partially(given);
  const [rows, columns] = [whole.rows[rank]!, whole.columns[rank]!];
  const messages = childrenOf(rank, whole.rows.length).length + (rank === 0 ? 0 : 1);
  const block = { queries: countsOf(rows), keys: countsOf(columns), part: partOf(request, whole, rows, columns) };
  const receivedBytes = messages * batch * headsQ * queries * (dimV + 2) * sizeOf.float32;
  return [{ receivedBytes, block, request, headsQ, headsKv }];
}

function gatherSteps(request: Request, whole: Whole, rank: number, headsStep: number): Step[] {
  const { headsQ, headsKv } = request.geometry;
  const share = headsQ / headsKv;
  const [rows, columns] = [whole.rows[rank]!, allRows(whole.keys)];
  const part = partOf(request, whole, rows, columns);
  const missing = whole.keys[0]! - countOf(whole.columns[rank]![0]!);
  const steps: Step[] = [];
  for (let first = 0; first < headsKv; first += headsStep) {
    const heads = Math.min(headsStep, headsKv - first);
    steps.push({
      receivedBytes: pairBytes(request, heads, missing),
      block: {
        queries: countsOf(rows),
        keys: whole.keys,
        part: { ...part, whole: whole.rows.length === 1, head: first * share, headKv: first },
      },
      request,
      headsQ: heads * share,
      headsKv: heads,
    });
  }
  return steps;
}

function ulyssesSteps(request: Request, whole: Whole, rank: number): Step[] {
  const { batch, headsQ, headsKv, dimQk, dimV, query } = request.geometry;
  const size = whole.rows.length;
  const queries = countOf(whole.rows[rank]![0]!);
  const missingQ = whole.queries[0]! - queries;
  const missingKv = whole.keys[0]! - countOf(whole.columns[rank]![0]!);
  const part = partOf(request, whole, allRows(whole.queries), allRows(whole.keys));
  const own = headsOf(headsQ, headsKv, rank, size);
  const steps = own.map((heads): Step => {
    const rows = batch * heads.query.count * missingQ * dimQk * sizeOf[query.dtype];
    return {
      receivedBytes: rows + pairBytes(request, heads.key.count, missingKv),
      block: {
        queries: whole.queries,
        keys: whole.keys,
        part: { ...part, whole: true, head: heads.query.start, headKv: heads.key.start },
      },
      request,
      headsQ: heads.query.count,
      headsKv: heads.key.count,
    };
  });
  // Then the results come back that other ranks have.
  const elsewhere = headsQ - own.reduce((sum, heads) => sum + heads.query.count, 0);
  const receivedBytes = batch * elsewhere * queries * dimV * sizeOf[query.dtype];
  return [...steps, { receivedBytes, block: null, request, headsQ: 0, headsKv: 0 }];
}

class ScheduleAccount implements ScheduleExplanation {
  readonly ranks: readonly ScheduleRank[];
  readonly balance: number;

  constructor(ranks: readonly ScheduleRank[], balance: number) {
    this.ranks = ranks;
    this.balance = balance;
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
