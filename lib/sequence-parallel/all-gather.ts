// All-gather attention (as in the training of Llama 3): keys and values of a few heads at a time are brought together
// from all ranks, in the order of their positions, and each rank's queries see them in one call.

import { checkInteger } from '../shape.js';
import type { HostView } from '../view.js';
import { readGroup, together } from './group.js';
import type { Channel } from './group.js';
import { HeadResults } from './head-results.js';
import { resultOver } from './local.js';
import { agree, allRows, countsOf, partOf, readRequest, rowAxis, sinksOf } from './request.js';
import type { ParallelOptions, ParallelResult, Request, Whole } from './request.js';
import { cumulative, emptyLike, inRow, rowsAt, scatter } from './rows.js';

/** Options of {@link allGatherAttention}. */
export interface AllGatherOptions<Lse extends boolean | undefined = boolean | undefined> extends ParallelOptions<Lse> {
  /** Key/value heads that are brought together at a time, while the next ones are on their way. Default 1. */
  headsStep?: number | undefined;
}

export function allGatherAttention(
  group: unknown,
  tensors: readonly [unknown, unknown, unknown],
  options: unknown,
): Promise<ParallelResult> {
  return together(readGroup(group), async (channel) => {
    let headsStep = 1;
    const { request, whole } = await agree(channel, 'allGatherAttention', () => {
      const read = readRequest(tensors, options, ['sharding', 'headsStep']);
      headsStep = readHeadsStep(read.options.given['headsStep']);
      return { ...read, detail: `headsStep ${headsStep}` };
    });
    return await allGather(channel, request, whole, headsStep);
  });
}

export async function allGather(
  channel: Channel,
  request: Request,
  whole: Whole,
  headsStep: number,
): Promise<ParallelResult> {
  const { query, headsQ, headsKv } = request.geometry;
  const results = new HeadResults(request);
  const rows = whole.rows[channel.rank]!;
  const columns = allRows(whole.keys);
  const part = partOf(request, whole, rows, columns);
  const share = headsQ / headsKv;
  let coming = gather(channel, request, whole, 0, headsStep);
  for (let first = 0; first < headsKv; first += headsStep) {
    const [key, value] = await coming;
    const next = first + headsStep;
    coming = next < headsKv ? gather(channel, request, whole, next, headsStep) : coming;
    coming.catch(() => {}); // heard of in the next round
    const heads = { start: first * share, step: 1, count: key.shape[1]! * share };
    const block = {
      query: rowsAt(query, 1, heads),
      key,
      value,
      queries: countsOf(rows),
      keys: whole.keys,
      part: { ...part, whole: channel.size === 1, head: heads.start, headKv: first },
    };
    const own = { ...request, sinks: sinksOf(request, heads) };
    const { output, lse } = await resultOver(channel, own, block);
    results.put(heads, output, lse);
  }
  return results.finished();
}

/** Throws ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE. */
export function readHeadsStep(value: unknown): number {
  return checkInteger('options.headsStep', value ?? 1, 1, Number.MAX_SAFE_INTEGER);
}

/** Keys and values of some heads, of all ranks. */
async function gather(
  channel: Channel,
  { geometry }: Request,
  whole: Whole,
  first: number,
  headsStep: number,
): Promise<readonly [HostView, HostView]> {
  const heads = { start: first, step: 1, count: Math.min(headsStep, geometry.headsKv - first) };
  const own = [geometry.key, geometry.value].map((view) => rowsAt(view, 1, heads));
  for (const peer of channel.others()) void channel.send(peer, 'heads', '', own);
  const axis = rowAxis(geometry);
  const starts = cumulative(whole.keys);
  const targets = own.map((view) => emptyLike(view, axis, starts.at(-1)!, 'message'));
  const place = (rank: number, views: readonly HostView[]): void => {
    const runs = inRow(whole.columns[rank]!, starts);
    views.forEach((view, index) => scatter(view, targets[index]!, axis, runs));
  };
  place(channel.rank, own);
  for (const peer of channel.others()) {
    const { tensors, release } = await channel.receive(peer, 'heads');
    place(peer, tensors);
    release();
  }
  return [targets[0]!, targets[1]!];
}
