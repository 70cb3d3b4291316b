// What a rank computes itself: attention over a part of the whole, as a partial or as a finished result.

import { resultOf } from '../attention.js';
import { encodeCall } from '../call.js';
import type { AttentionCall } from '../call.js';
import { execute } from '../execution.js';
import type { Geometry } from '../geometry.js';
import { mergeOwn } from '../partials.js';
import type { MergeResult, SoftmaxPartial } from '../partials.js';
import type { Part } from '../program/relocate.js';
import { readResults } from '../results.js';
import { readTensor } from '../tensor.js';
import type { Tensor } from '../tensor.js';
import type { HostView } from '../view.js';
import type { Channel } from './group.js';
import { moved } from './moved-programs.js';
import type { Request } from './request.js';
import { cumulative } from './rows.js';

/** Rows of this call of the whole, and where they stand in it. */
export interface Block {
  readonly query: HostView;
  readonly key: HostView;
  readonly value: HostView;
  /** Rows of each sequence. */
  readonly queries: readonly number[];
  readonly keys: readonly number[];
  readonly part: Part;
}

/** Unnormalised, without sinks. */
export async function partialOver(channel: Channel, request: Request, block: Block): Promise<SoftmaxPartial> {
  return (await attend(channel, partially(request), block)) as SoftmaxPartial;
}

/** The request of a partial. */
export function partially(request: Request): Request {
  const options = { ...request.options, partial: true, lse: false, outputDtype: undefined, given: {} };
  return { ...request, options, sinks: null };
}

/** Finished: the keys are all there are. */
export async function resultOver(
  channel: Channel,
  request: Request,
  block: Block,
): Promise<{ readonly output: HostView; readonly lse: HostView | undefined }> {
  const options = { ...request.options, given: {} };
  const result = (await attend(channel, { ...request, options }, block)) as { output: Tensor; lse?: Tensor };
  return { output: readTensor(result.output, 'output'), lse: result.lse && readTensor(result.lse, 'lse') };
}

async function attend(channel: Channel, request: Request, block: Block): Promise<unknown> {
  const call = callOver(request, block, 'allocate');
  await channel.working(execute(encodeCall(call), request.options.signal));
  return resultOf(call);
}

/** The call of a block. */
export function callOver(request: Request, block: Block, obtain: 'allocate' | 'reserve'): AttentionCall {
  const { options, mask, score, sinks } = request;
  const geometry = geometryOf(request.geometry, block);
  return {
    options,
    geometry,
    visibility: { program: mask && moved(mask, block.part), grids: [] },
    score: score && moved(score, block.part),
    bias: null,
    sinks,
    results: readResults(geometry, options, obtain),
    statistics: null,
  };
}

function geometryOf(own: Geometry, { query, key, value, queries, keys }: Block): Geometry {
  const axes = own.ragged ? { heads: 1, rows: 0 } : { heads: 1, rows: 2 };
  // Calls give memory of lengths back when they are done: each has its own.
  const lengths = (counts: readonly number[]): Float64Array | null =>
    own.ragged ? Float64Array.from(cumulative(counts)) : null;
  return {
    ...own,
    query,
    key,
    value,
    headsQ: query.shape[axes.heads]!,
    headsKv: key.shape[axes.heads]!,
    queries: query.shape[axes.rows]!,
    keys: key.shape[axes.rows]!,
    lengthsQ: lengths(queries),
    lengthsKv: lengths(keys),
  };
}

/**
 * The sum of partials, in the order in which they are added, as a balanced tree: what it holds at a time grows with the
 * logarithm of their number, as does what roundings can add up to.
 */
export class PartialSum {
  readonly #request: Request;
  readonly #channel: Channel;
  readonly #kept: { readonly level: number; readonly partial: SoftmaxPartial }[] = [];

  constructor(channel: Channel, request: Request) {
    this.#channel = channel;
    this.#request = request;
  }

  async add(partial: SoftmaxPartial): Promise<void> {
    let next = { level: 0, partial };
    while (this.#kept.at(-1)?.level === next.level) {
      const before = this.#kept.pop()!;
      next = {
        level: next.level + 1,
        partial: await added(this.#channel, this.#request, [before.partial, next.partial]),
      };
    }
    this.#kept.push(next);
  }

  /** The attention that the partials sum up to, with the request's sinks. */
  async finish(): Promise<MergeResult> {
    return finish(
      this.#channel,
      this.#request,
      this.#kept.map(({ partial }) => partial),
    );
  }
}

/** Partials as one. */
export function added(
  channel: Channel,
  { options }: Request,
  partials: readonly SoftmaxPartial[],
): Promise<SoftmaxPartial> {
  return channel.working(mergeOwn(partials, { partial: true, signal: options.signal }));
}

/** Finishes partials over all keys, in the layout and the type that were asked for. */
export function finish(
  channel: Channel,
  { options, geometry, layout, sinks }: Request,
  partials: readonly SoftmaxPartial[],
): Promise<MergeResult> {
  const outputDtype = options.outputDtype ?? (geometry.query.dtype as 'float32');
  const { signal } = options;
  return channel.working(mergeOwn(partials, { layout, outputDtype, signal, ...(sinks ? { sinks } : {}) }));
}
