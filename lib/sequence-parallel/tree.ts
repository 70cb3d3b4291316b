// Tree attention (Shyam et al. 2024): all ranks have the same queries, each computes with its own keys, and partials are
// summed up along a tree. References of partials are integers, so that one pass serves for maximum and sums: rescaling
// is exact.

import type { SoftmaxPartial } from '../partials.js';
import { readTensor, tensorOf } from '../tensor.js';
import { readGroup, together } from './group.js';
import type { Channel } from './group.js';
import { added, finish, partialOver } from './local.js';
import { agree, countsOf, partOf, readRequest } from './request.js';
import type { ParallelResult, Request, Whole } from './request.js';
import type { HostView } from '../view.js';

export function treeAttention(
  group: unknown,
  tensors: readonly [unknown, unknown, unknown],
  options: unknown,
): Promise<ParallelResult> {
  return together(readGroup(group), async (channel) => {
    const read = (): Request => readRequest(tensors, options, ['sharding']);
    const { request, whole } = await agree(channel, 'treeAttention', read, true);
    return await tree(channel, request, whole);
  });
}

/** All ranks have the same queries. */
export async function tree(channel: Channel, request: Request, whole: Whole): Promise<ParallelResult> {
  const { query, key, value } = request.geometry;
  const [rows, columns] = [whole.rows[channel.rank]!, whole.columns[channel.rank]!];
  const own = await partialOver(channel, request, {
    query,
    key,
    value,
    queries: countsOf(rows),
    keys: countsOf(columns),
    part: partOf(request, whole, rows, columns),
  });
  const all = await sumOfAll(channel, request, own);
  const { output, lse } = await finish(channel, request, [all.partial]);
  // Others may be reading what was sent on from here.
  await channel.sent();
  all.release();
  return request.options.lse ? { output, lse } : { output };
}

/** A partial that may be in the memory of another rank until it is released. */
interface Sum {
  readonly partial: SoftmaxPartial;
  release(): void;
}

/** Ranks whose sums join this rank's, in order: 1, 2, 4, … further on, below the lowest bit of its own number. */
export function childrenOf(rank: number, size: number): number[] {
  const children: number[] = [];
  for (let step = 1; rank % (2 * step) === 0 && rank + step < size; step *= 2) children.push(rank + step);
  return children;
}

/** Up the tree to rank 0, and down again. */
async function sumOfAll(channel: Channel, request: Request, own: SoftmaxPartial): Promise<Sum> {
  const { rank, size } = channel;
  let partial = own;
  let release = (): void => {};
  const children = childrenOf(rank, size);
  for (const child of children) {
    const theirs = await channel.receive(child, 'up');
    partial = await added(channel, request, [partial, partialOf(theirs.tensors)]);
    theirs.release();
  }
  if (rank !== 0) {
    const parent = rank - (rank & -rank);
    void channel.send(parent, 'up', '', viewsOf(partial));
    const all = await channel.receive(parent, 'down');
    partial = partialOf(all.tensors);
    release = all.release;
  }
  for (const child of children.reverse()) void channel.send(child, 'down', '', viewsOf(partial));
  return { partial, release };
}

function viewsOf({ o, m, l }: SoftmaxPartial): readonly HostView[] {
  return [readTensor(o, 'o'), readTensor(m, 'm'), readTensor(l, 'l')];
}

function partialOf(views: readonly HostView[]): SoftmaxPartial {
  const [o, m, l] = views.map(tensorOf);
  return { kind: 'softmax', o: o!, m: m!, l: l! };
}
