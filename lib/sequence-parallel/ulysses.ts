// Ulysses attention (Jacobs et al. 2023): from shards of rows to shards of heads and back, all to all. Each rank computes
// whole sequences of its heads.

import type { HostView } from '../view.js';
import { readGroup, together } from './group.js';
import type { Channel } from './group.js';
import { HeadResults } from './head-results.js';
import { resultOver } from './local.js';
import { agree, allRows, partOf, readRequest, rowAxis, sinksOf } from './request.js';
import type { ParallelResult, Request, Whole } from './request.js';
import { cumulative, emptyLike, gathered, inRow, rowsAt, scatter } from './rows.js';
import { joined } from './runs.js';
import type { Run } from './runs.js';

/** Query heads that a call takes at once, and their key/value heads. */
interface Heads {
  readonly query: Run;
  readonly key: Run;
}

export function ulyssesAttention(
  group: unknown,
  tensors: readonly [unknown, unknown, unknown],
  options: unknown,
): Promise<ParallelResult> {
  return together(readGroup(group), async (channel) => {
    const read = (): Request => readRequest(tensors, options, ['sharding']);
    const { request, whole } = await agree(channel, 'ulyssesAttention', read);
    return await ulysses(channel, request, whole);
  });
}

export async function ulysses(channel: Channel, request: Request, whole: Whole): Promise<ParallelResult> {
  const { headsQ, headsKv } = request.geometry;
  const heads = Array.from({ length: channel.size }, (_, rank) => headsOf(headsQ, headsKv, rank, channel.size));
  scatterHeads(channel, request, heads);
  await compute(channel, request, whole, heads[channel.rank]!);
  const results = new HeadResults(request);
  for (let rank = 0; rank < channel.size; rank += 1) {
    for (const { query } of heads[rank]!) {
      const rows = await channel.receive(rank, 'results');
      results.put(query, rows.tensors[0]!, rows.tensors[1]);
      rows.release();
    }
  }
  return results.finished();
}

/** A rank's share of the query heads: such that query heads of one call have equally many of each key/value head. */
export function headsOf(headsQ: number, headsKv: number, rank: number, size: number): readonly Heads[] {
  const share = headsQ / headsKv;
  const end = Math.floor((headsQ * (rank + 1)) / size);
  const heads: Heads[] = [];
  for (let first = Math.floor((headsQ * rank) / size); first < end;) {
    const start = Math.floor(first / share);
    const whole = first % share === 0 ? Math.floor((end - first) / share) : 0;
    const count = whole > 0 ? whole * share : Math.min(end, (start + 1) * share) - first;
    heads.push({
      query: { start: first, step: 1, count },
      key: { start, step: 1, count: Math.max(whole, 1) },
    });
    first += count;
  }
  return heads;
}

function scatterHeads(channel: Channel, { geometry }: Request, heads: readonly (readonly Heads[])[]): void {
  const { query, key, value } = geometry;
  heads.forEach((list, rank) => {
    for (const of of list) {
      const tensors = [rowsAt(query, 1, of.query), rowsAt(key, 1, of.key), rowsAt(value, 1, of.key)];
      void channel.send(rank, 'heads', '', tensors);
    }
  });
}

/** Whole sequences of this rank's heads; each rank gets its rows of the results. */
async function compute(channel: Channel, request: Request, whole: Whole, heads: readonly Heads[]): Promise<void> {
  const { geometry } = request;
  const axis = rowAxis(geometry);
  const [startsQ, startsKv] = [cumulative(whole.queries), cumulative(whole.keys)];
  const part = partOf(request, whole, allRows(whole.queries), allRows(whole.keys));
  for (const { query: own, key: ownKv } of heads) {
    const targets: HostView[] = [];
    for (let rank = 0; rank < channel.size; rank += 1) {
      const { tensors, release } = await channel.receive(rank, 'heads');
      tensors.forEach((view, n) => {
        const starts = n === 0 ? startsQ : startsKv;
        targets[n] ??= emptyLike(view, axis, starts.at(-1)!, 'message');
        scatter(view, targets[n], axis, inRow((n === 0 ? whole.rows : whole.columns)[rank]!, starts));
      });
      release();
    }
    const [query, key, value] = targets as [HostView, HostView, HostView];
    const block = { query, key, value, queries: whole.queries, keys: whole.keys };
    const { output, lse } = await resultOver(
      channel,
      { ...request, sinks: sinksOf(request, own) },
      { ...block, part: { ...part, whole: true, head: own.start, headKv: ownKv.start } },
    );
    for (let rank = 0; rank < channel.size; rank += 1) {
      const runs = joined(inRow(whole.rows[rank]!, startsQ));
      const rows = [gathered(output, axis, runs, 'message')];
      if (lse) rows.push(gathered(lse, geometry.ragged ? 1 : 2, runs, 'message'));
      void channel.send(rank, 'results', '', rows);
    }
  }
}
