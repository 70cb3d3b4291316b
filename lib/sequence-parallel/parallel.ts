// Attention over a group by the schedule that is expected to be quickest, or by one that is named. Rank 0 chooses and
// tells the others: whatever they reckon, all do the same.

import type { BoundProgram } from '../bound-program.js';
import { choice } from '../options.js';
import { readTensor, tensorOf } from '../tensor.js';
import { allGather, readHeadsStep } from './all-gather.js';
import type { AllGatherOptions } from './all-gather.js';
import { readCosts } from './costs.js';
import type { MeasuredCosts, GroupCosts } from './costs.js';
import { readGroup, together } from './group.js';
import type { Channel } from './group.js';
import { maxParts } from './moved-programs.js';
import { predict, schedules } from './predict.js';
import type { Schedule } from './predict.js';
import { agree, allRows, readRequest, rowAxis } from './request.js';
import type { ParallelResult, Request, Whole } from './request.js';
import { ring } from './ring.js';
import { cumulative, emptyLike, inRow, scatter, taken } from './rows.js';
import { joined } from './runs.js';
import { tree } from './tree.js';
import { ulysses } from './ulysses.js';

/** Options of {@link parallelAttention}. */
export interface ScheduledOptions<Lse extends boolean | undefined = boolean | undefined> extends AllGatherOptions<Lse> {
  /** Default 'auto': the one that {@link predictSchedules} chooses with these costs. */
  schedule?: Schedule | 'auto' | undefined;
  /** What computing and sending cost. Rank 0's count. */
  costs?: GroupCosts | undefined;
}

const wanted = ['auto', ...schedules] as const;

export function parallelAttention(
  group: unknown,
  tensors: readonly [unknown, unknown, unknown],
  options: unknown,
): Promise<ParallelResult> {
  return together(readGroup(group), async (channel) => {
    let plan: { wish: Schedule | 'auto'; headsStep: number; costs: MeasuredCosts } | undefined;
    const { request, whole } = await agree(channel, 'parallelAttention', () => {
      const read = readRequest(tensors, options, ['sharding', 'headsStep', 'schedule', 'costs']);
      const { schedule, headsStep, costs } = read.options.given;
      const wish = choice('options.schedule', schedule, wanted);
      plan = { wish, headsStep: readHeadsStep(headsStep), costs: readCosts('options.costs', costs) };
      return { ...read, detail: `schedule '${wish}', headsStep ${plan.headsStep}` };
    });
    const { wish, headsStep, costs } = plan!;
    const schedule = wish === 'auto' ? await toldBy0(channel, request, whole, headsStep, costs) : wish;
    if (schedule === 'allGather') return await allGather(channel, request, whole, headsStep);
    return await { ring, tree: treeOfShards, ulysses }[schedule](channel, request, whole);
  });
}

async function toldBy0(
  channel: Channel,
  request: Request,
  whole: Whole,
  headsStep: number,
  costs: MeasuredCosts,
): Promise<Schedule> {
  if (channel.rank !== 0) return (await channel.receive(0, 'schedule')).note as Schedule;
  const schedule = chosen(request, whole, headsStep, costs);
  for (const peer of channel.others()) void channel.send(peer, 'schedule', schedule, []);
  return schedule;
}

/** Of one mask: the latest choices. */
const known = new WeakMap<BoundProgram, Map<string, Schedule>>();

/** Layers of a model ask again and again; without a mask there is little to find out. */
function chosen(request: Request, whole: Whole, headsStep: number, costs: MeasuredCosts): Schedule {
  const choose = (): Schedule => predict(request, whole, costs, headsStep).chosen;
  if (request.mask === null) return choose();
  let choices = known.get(request.mask);
  if (choices === undefined) known.set(request.mask, (choices = new Map()));
  const { options, sharding, geometry } = request;
  const { batch, headsQ, headsKv, dimQk, dimV, query, key } = geometry;
  const sizes = [batch, headsQ, headsKv, dimQk, dimV, query.dtype, key.dtype, options.align, sharding, headsStep];
  const asked = JSON.stringify([sizes, whole.counts, costs]);
  const schedule = choices.get(asked) ?? choose();
  if (choices.size >= maxParts) choices.clear();
  choices.set(asked, schedule);
  return schedule;
}

/** A tree over queries that are dealt out: all ranks get all of them, and each keeps its own rows of the result. */
async function treeOfShards(channel: Channel, request: Request, whole: Whole): Promise<ParallelResult> {
  const { geometry, layout, options } = request;
  const { ragged, query } = geometry;
  const starts = cumulative(whole.queries);
  const axis = rowAxis(geometry);
  const all = emptyLike(query, axis, starts.at(-1)!, 'message');
  for (const peer of channel.others()) void channel.send(peer, 'queries', '', [query]);
  for (let rank = 0; rank < channel.size; rank += 1) {
    const runs = inRow(whole.rows[rank]!, starts);
    if (rank === channel.rank) {
      scatter(query, all, axis, runs);
      continue;
    }
    const { tensors, release } = await channel.receive(rank, 'queries');
    scatter(tensors[0]!, all, axis, runs);
    release();
  }
  const shared = { ...request, geometry: { ...geometry, query: all, queries: all.shape[axis]! } };
  const rows = whole.rows.map(() => allRows(whole.queries));
  const { output, lse } = await tree(channel, shared, { ...whole, rows });
  const own = joined(inRow(whole.rows[channel.rank]!, starts));
  const mine = tensorOf(taken(readTensor(output, 'output'), layout === 'bshd' && !ragged ? 1 : axis, own, 'output'));
  if (!options.lse) return { output: mine };
  return { output: mine, lse: tensorOf(taken(readTensor(lse, 'lse'), ragged ? 1 : 2, own, 'lse')) };
}
