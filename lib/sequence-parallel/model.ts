// The time that each schedule takes on the rank that has the most to do: work and bytes of a few ranks, by what
// computing and sending cost.

import type { MeasuredCosts } from './costs.js';
import { portionsFor } from './portions.js';
import type { Schedule, SchedulePrediction } from './predict.js';
import { allRows, countsOf } from './request.js';
import type { Request, Whole } from './request.js';
import { interpolated, sampled } from './sampled.js';
import { headsOf } from './ulysses.js';
import { outputBytes, pairBytes, partialBytes, queryBytes, rowsIn } from './volume.js';
import { workOf } from './work.js';

/** One call, and what has to come in before it. */
interface Round {
  readonly compute: number;
  readonly transfer: number;
  readonly bytes: number;
}

const idle: Round = { compute: 0, transfer: 0, bytes: 0 };

/** Ranks that are looked at: all of few, of many the ends and the middle. */
function someRanks(size: number): readonly number[] {
  return size <= 4 ? Array.from({ length: size }, (_, rank) => rank) : [0, 1, size >> 1, size - 1];
}

export class Model {
  readonly #request: Request;
  readonly #whole: Whole;
  readonly #costs: MeasuredCosts;
  readonly #size: number;
  /** Of the ranks that are looked at: operations and rows of keys that come, by the rank that has the keys. */
  readonly #shares: ReadonlyMap<number, readonly (readonly number[])[]>;

  constructor(request: Request, whole: Whole, costs: MeasuredCosts) {
    const size = whole.columns.length;
    this.#request = request;
    this.#whole = whole;
    this.#costs = costs;
    this.#size = size;
    this.#shares = new Map(
      someRanks(size).map((rank) => [
        rank,
        sampled(size, [rank, (rank + 1) % size, (rank + size - 1) % size], (source) => {
          const { flops, columns } = workOf(request, whole, whole.rows[rank]!, whole.columns[source]!);
          return [flops, source === rank ? 0 : columns];
        }),
      ]),
    );
  }

  prediction(schedule: Schedule, headsStep: number): SchedulePrediction {
    if (schedule === 'tree') return this.#tree();
    if (schedule === 'ulysses') return this.#ulysses();
    const ranks = [...this.#shares.keys()].map((rank) =>
      schedule === 'ring' ? this.#ring(rank) : this.#allGather(rank, headsStep),
    );
    return ranks.reduce((slowest, one) => (one.seconds > slowest.seconds ? one : slowest));
  }

  #ring(rank: number): SchedulePrediction {
    const { geometry } = this.#request;
    const { headsKv } = geometry;
    const size = this.#size;
    const [queries, keys] = this.#held(rank);
    const partial = partialBytes(geometry, queries);
    const rounds = Array.from({ length: size }, (_, round): readonly Round[] => {
      const [flops, columns] = this.#shares.get(rank)![(rank - round + size) % size]! as [number, number];
      if (round > 0 && columns === 0) return [idle];
      const count = round === 0 ? 1 : portionsFor(size, geometry.ragged ? columns : columns / geometry.batch);
      const bytes = pairBytes(geometry, headsKv, round === 0 ? keys : columns) / count;
      // Partials after the first are written, read and added to another.
      const merged = round === 0 ? 0 : 3 * partial;
      const compute = this.#compute(flops / count, queryBytes(geometry, geometry.headsQ, queries) + bytes + merged);
      const portion = round === 0 ? { ...idle, compute } : { compute, ...this.#transfer(1, bytes) };
      return new Array<Round>(count).fill(portion);
    });
    const busy = rounds.flat().filter(({ compute }) => compute > 0).length;
    const most = Math.max(...rounds.map((portions) => sumOf(portions, 'bytes')));
    const partials = (1 + Math.ceil(Math.log2(busy))) * partial;
    const finish = { ...idle, compute: this.#compute(0, 2 * partial) };
    // All tell all what they have, then what they need.
    return this.#made('ring', 2, [...rounds, [finish]], this.#shards(rank) + 2 * most + partials);
  }

  #allGather(rank: number, headsStep: number): SchedulePrediction {
    const { geometry } = this.#request;
    const { headsQ, headsKv } = geometry;
    const [queries, keys] = this.#held(rank);
    const all = rowsIn(geometry, this.#whole.keys);
    const flops = this.#shares.get(rank)!.reduce((sum, share) => sum + share[0]!, 0);
    const rounds: Round[][] = [];
    for (let first = 0; first < headsKv; first += headsStep) {
      const heads = Math.min(headsStep, headsKv - first);
      const share = heads / headsKv;
      // To put them in their places costs as much as to read them.
      const read = queryBytes(geometry, headsQ * share, queries) + pairBytes(geometry, heads, all);
      const compute = this.#compute(flops * share, read);
      rounds.push([{ compute, ...this.#transfer(this.#size - 1, pairBytes(geometry, heads, all - keys)) }]);
    }
    const held = (Math.min(2, rounds.length) * pairBytes(geometry, headsKv, all)) / rounds.length;
    return this.#made('allGather', 1, rounds, this.#shards(rank) + held);
  }

  #ulysses(): SchedulePrediction {
    const { geometry } = this.#request;
    const { headsQ, headsKv } = geometry;
    const size = this.#size;
    const heads = Array.from({ length: size }, (_, rank) => {
      const own = headsOf(headsQ, headsKv, rank, size);
      const sum = (of: 'query' | 'key'): number => own.reduce((all, part) => all + part[of].count, 0);
      return { rank, calls: own.length, query: sum('query'), key: sum('key') };
    });
    const { rank, calls, query, key } = heads.reduce((most, one) => (one.query > most.query ? one : most));
    const [queries, keys] = this.#held(rank);
    const [allQ, allKv] = [rowsIn(geometry, this.#whole.queries), rowsIn(geometry, this.#whole.keys)];
    const flops = (this.#flopsOfAll() * query) / headsQ;
    const held = queryBytes(geometry, query, allQ) + pairBytes(geometry, key, allKv);
    const missing = queryBytes(geometry, query, allQ - queries) + pairBytes(geometry, key, allKv - keys);
    const compute = this.#compute(flops, held, calls);
    const results = outputBytes(geometry, headsQ - query, queries);
    const rounds = [
      { compute, ...this.#transfer(size - 1, missing) },
      { compute: 0, ...this.#transfer(size - 1, results) },
    ];
    const memory = this.#shards(rank) + held + outputBytes(geometry, query, allQ);
    return this.#made('ulysses', 1, oneByOne(rounds), memory);
  }

  /** Queries are brought to all ranks first. */
  #tree(): SchedulePrediction {
    const { geometry } = this.#request;
    const { headsQ, headsKv } = geometry;
    const all = rowsIn(geometry, this.#whole.queries);
    const read = queryBytes(geometry, headsQ, all);
    const partial = partialBytes(geometry, all);
    const depth = Math.ceil(Math.log2(this.#size));
    const ranks = [...this.#shares.keys()].map((rank) => {
      const [queries, keys] = this.#held(rank);
      const columns = this.#whole.columns[rank]!;
      const { flops } = workOf(this.#request, this.#whole, allRows(this.#whole.queries), columns);
      const missing = queryBytes(geometry, headsQ, all - queries);
      const call = this.#compute(flops, read + pairBytes(geometry, headsKv, keys));
      const added = this.#compute(0, 3 * partial);
      const rounds = [
        { compute: call, ...this.#transfer(this.#size - 1, missing) },
        ...Array.from({ length: depth }, () => ({ compute: added, ...this.#transfer(1, partial) })),
        ...Array.from({ length: depth }, () => ({ compute: 0, ...this.#transfer(1, partial) })),
        { ...idle, compute: this.#compute(0, 2 * partial) },
      ];
      return this.#made('tree', 1, oneByOne(rounds), this.#shards(rank) + read + 3 * partial);
    });
    return ranks.reduce((slowest, one) => (one.seconds > slowest.seconds ? one : slowest));
  }

  /** Of rounds whose rows begin to come as the last portion of the one before is computed; all texts go to all first. */
  #made(
    schedule: Schedule,
    exchanges: number,
    rounds: readonly (readonly Round[])[],
    memoryBytes: number,
  ): SchedulePrediction {
    const texts = exchanges * (this.#size - 1) * this.#costs.latency;
    let [done, begun, came] = [0, 0, 0];
    for (const portions of rounds) {
      came = Math.max(came, begun);
      for (const { compute, transfer } of portions) {
        came += transfer;
        begun = Math.max(done, came);
        done = begun + compute;
      }
    }
    const all = rounds.flat();
    return {
      schedule,
      seconds: texts + done,
      computeSeconds: sumOf(all, 'compute'),
      transferSeconds: texts + sumOf(all, 'transfer'),
      receivedBytes: sumOf(all, 'bytes'),
      memoryBytes,
    };
  }

  #compute(flops: number, bytes: number, calls = 1): number {
    const { flopRate, readRate, callTime } = this.#costs;
    return calls * callTime + Math.max(flops / flopRate, bytes / readRate);
  }

  #transfer(messages: number, bytes: number): { readonly transfer: number; readonly bytes: number } {
    const { latency, bandwidth } = this.#costs;
    return { transfer: messages * latency + bytes / bandwidth, bytes };
  }

  /** Operations of all ranks. */
  #flopsOfAll(): number {
    const totals = new Map(
      [...this.#shares].map(([rank, shares]) => [rank, [shares.reduce((sum, share) => sum + share[0]!, 0)]]),
    );
    return interpolated([...totals.keys()], totals).reduce((sum, [flops]) => sum + flops!, 0);
  }

  /** Rows of queries and of keys that a rank has. */
  #held(rank: number): readonly [number, number] {
    const { geometry } = this.#request;
    const count = (sequences: Whole['rows'][number]): number => rowsIn(geometry, countsOf(sequences));
    return [count(this.#whole.rows[rank]!), count(this.#whole.columns[rank]!)];
  }

  /** Bytes of a rank's tensors, with those of its result. */
  #shards(rank: number): number {
    const { geometry } = this.#request;
    const { headsQ, headsKv } = geometry;
    const [queries, keys] = this.#held(rank);
    const own = queryBytes(geometry, headsQ, queries) + pairBytes(geometry, headsKv, keys);
    return own + outputBytes(geometry, headsQ, queries);
  }
}

/** Rounds each of which waits for the one before, by rounds between that compute nothing and wait for nothing. */
function oneByOne(rounds: readonly Round[]): readonly (readonly Round[])[] {
  return rounds.flatMap((round) => [[round], [idle]]);
}

function sumOf(rounds: readonly Round[], what: keyof Round): number {
  return rounds.reduce((sum, round) => sum + round[what], 0);
}
