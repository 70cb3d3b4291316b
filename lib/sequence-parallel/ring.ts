// Ring and striped attention (Liu et al. 2023; Brandon et al. 2023), and with them the exchange of halos: in round t rank
// r computes with the keys of rank r - t, while those of the next round are on their way. Only rows that its mask can see
// travel, straight from the rank that has them; a round without any is left out.

import { readGroup, together } from './group.js';
import type { Channel, Group } from './group.js';
import { PartialSum, partialOver } from './local.js';
import { rowsNeeded } from './needs.js';
import { portionsOf } from './portions.js';
import { agree, countsOf, partOf, readRequest, rowAxis } from './request.js';
import type { ParallelResult, Request, Whole } from './request.js';
import { cumulative, gathered, inRow } from './rows.js';
import { joined, restricted } from './runs.js';
import type { Range, Run } from './runs.js';
import type { HostView } from '../view.js';

/** Keys and values of a portion of a round, and where they stand. */
interface Arrival {
  readonly key: HostView;
  readonly value: HostView;
  readonly columns: readonly (readonly Run[])[];
  release(): void;
}

export function ringAttention(
  group: unknown,
  tensors: readonly [unknown, unknown, unknown],
  options: unknown,
): Promise<ParallelResult> {
  return ringOver(readGroup(group), () => readRequest(tensors, options, ['sharding']));
}

export function stripedAttention(
  group: unknown,
  tensors: readonly [unknown, unknown, unknown],
  options: unknown,
): Promise<ParallelResult> {
  return ringOver(readGroup(group), () => ({ ...readRequest(tensors, options, []), sharding: 'striped' }));
}

function ringOver(group: Group, read: () => Request): Promise<ParallelResult> {
  return together(group, async (channel) => {
    const { request, whole } = await agree(channel, 'ringAttention', read);
    return await ring(channel, request, whole);
  });
}

export async function ring(channel: Channel, request: Request, whole: Whole): Promise<ParallelResult> {
  const { rank, size } = channel;
  const exchange = new Exchange(channel, request, whole);
  const { query, key, value } = request.geometry;
  const sum = new PartialSum(channel, request);
  const own = Promise.resolve({ key, value, columns: whole.columns[rank]!, release() {} });
  let coming: Promise<readonly Promise<Arrival>[]> = Promise.resolve([own]);
  for (let round = 0; round < size; round += 1) {
    const arrivals = await coming;
    const begin = (): void => {
      coming = exchange.round(round + 1);
      coming.catch(() => {}); // heard of in the next round
    };
    if (arrivals.length === 0) begin();
    for (const [n, next] of arrivals.entries()) {
      const arrival = await next;
      if (n === arrivals.length - 1) begin();
      const { columns } = arrival;
      const rows = whole.rows[rank]!;
      const partial = await partialOver(channel, request, {
        query,
        key: arrival.key,
        value: arrival.value,
        queries: countsOf(rows),
        keys: countsOf(columns),
        part: partOf(request, whole, rows, columns),
      });
      arrival.release();
      await sum.add(partial);
    }
  }
  const { output, lse } = await sum.finish();
  return request.options.lse ? { output, lse } : { output };
}

/** Who needs what is told first, in a few words; then rows follow, a round ahead of their use. */
class Exchange {
  readonly #channel: Channel;
  readonly #request: Request;
  readonly #whole: Whole;
  readonly #needs: readonly (readonly (readonly Range[])[])[];
  /** What was sent in each round. */
  readonly #sent: Promise<unknown>[] = [];

  constructor(channel: Channel, request: Request, whole: Whole) {
    const { rank, size } = channel;
    this.#channel = channel;
    this.#request = request;
    this.#whole = whole;
    this.#needs = Array.from({ length: size }, (_, source) =>
      source === rank ? [] : rowsNeeded(request, whole, whole.rows[rank]!, whole.columns[source]!),
    );
    for (const peer of channel.others()) {
      void channel.send(peer, 'needs', JSON.stringify(this.#needs[peer]), []);
    }
  }

  /** Begins to send what another rank needs in this round. What this one does, in portions that are on their way. */
  async round(round: number): Promise<readonly Promise<Arrival>[]> {
    const { rank, size } = this.#channel;
    if (round >= size) return [];
    // Copies of rows wait in memory until they have been used: not more than those of two rounds.
    await this.#sent[round - 2];
    await this.#serve(round, (rank + round) % size);
    const source = (rank - round + size) % size;
    const arrivals = portionsOf(size, this.#needs[source]!).map((ranges) => this.#arrival(source, ranges));
    for (const arrival of arrivals) arrival.catch(() => {}); // heard of when its turn comes
    return arrivals;
  }

  async #arrival(source: number, ranges: readonly (readonly Range[])[]): Promise<Arrival> {
    const { tensors, release } = await this.#channel.receive(source, 'rows');
    const columns = this.#whole.columns[source]!.map((runs, b) => restricted(runs, ranges[b]!));
    return { key: tensors[0]!, value: tensors[1]!, columns, release };
  }

  async #serve(round: number, peer: number): Promise<void> {
    const { rank, size } = this.#channel;
    const { note } = await this.#channel.receive(peer, 'needs');
    const { geometry } = this.#request;
    const axis = rowAxis(geometry);
    const sending = portionsOf(size, JSON.parse(note) as readonly (readonly Range[])[]).map((ranges) => {
      const own = ranges.map((list) => list.map(({ begin, end }) => ({ start: begin, step: 1, count: end - begin })));
      const runs = geometry.ragged ? inRow(own, cumulative(this.#whole.counts[rank]!.keys)) : own[0]!;
      const rows = [geometry.key, geometry.value].map((view) => gathered(view, axis, joined(runs), 'message'));
      return this.#channel.send(peer, 'rows', '', rows);
    });
    const sent = Promise.all(sending);
    sent.catch(() => {}); // the channel hears of it
    this.#sent[round] = sent;
  }
}
