// measureCosts: what computing and sending cost the ranks of a group, found by doing a little of both on all of them.

import { attention } from '../attention.js';
import { floatDtypes, sizeOf } from '../dtype.js';
import type { FloatDtype } from '../dtype.js';
import { choice } from '../options.js';
import { checkInteger } from '../shape.js';
import { orElse, readSnapshot } from '../snapshot.js';
import { readTensor, Tensor } from '../tensor.js';
import { readCosts } from './costs.js';
import type { MeasuredCosts } from './costs.js';
import { readGroup, together } from './group.js';
import type { Channel } from './group.js';
import { taken } from './rows.js';

/** Options of {@link measureCosts}: what the calls to come are like. */
export interface MeasureOptions {
  /** Default 'float32'. */
  readonly dtype?: FloatDtype | undefined;
  /** Features of a head. Default 64. */
  readonly dim?: number | undefined;
  /** As in their options. */
  readonly threads?: number | undefined;
}

const heads = 4;
const samples = 5;

export async function measureCosts(group: unknown, options: unknown): Promise<MeasuredCosts> {
  const given = readSnapshot('options', options, ['dtype', 'dim', 'threads']);
  const dtype = choice<FloatDtype>('options.dtype', given['dtype'], floatDtypes);
  const dim = checkInteger('options.dim', orElse(given['dim'], 64), 1, 1024);
  const tensor = (rows: number): Tensor => {
    const count = heads * rows * dim;
    const data = dtype === 'float32' ? new Float32Array(count).fill(0.5) : new Uint16Array(count).fill(0x3800);
    return Tensor.from(data, [1, heads, rows, dim], { dtype });
  };
  const most = given['threads'];
  const threads =
    most === undefined ? {} : { threads: checkInteger('options.threads', most, 1, Number.MAX_SAFE_INTEGER) };
  return together(readGroup(group), async (channel) => {
    /** All ranks at once: what computing takes while the others compute. */
    const timed = async (queries: number, keys: number): Promise<number> => {
      const [query, pair] = [tensor(queries), tensor(keys)];
      return medianOf(channel, () => channel.working(attention(query, pair, pair, threads)));
    };
    const callTime = await timed(1, 1);
    const dense = 1024;
    const flopRate = (4 * dim * heads * dense * dense) / (await timed(dense, dense));
    const cached = 2 ** 15;
    const readRate = (2 * heads * cached * dim * sizeOf[dtype]) / (await timed(1, cached));
    const own = { callTime, flopRate, readRate, ...(await link(channel)) };
    return readCosts('costs', await slowest(channel, own));
  });
}

/** Seconds of a short message to the next rank, and bytes a second of a long one, all sending at once. */
async function link(channel: Channel): Promise<Partial<MeasuredCosts>> {
  const { rank, size } = channel;
  if (size === 1) return {};
  const pass = async (count: number): Promise<number> => {
    const view = readTensor(Tensor.from(new Float32Array(count), [count]), 'message');
    return medianOf(channel, async () => {
      void channel.send((rank + 1) % size, 'link', '', [view]);
      const { tensors, release } = await channel.receive((rank + size - 1) % size, 'link');
      taken(tensors[0]!, 0, [{ start: 0, step: 1, count }], 'message');
      release();
    });
  };
  const latency = await pass(1);
  const count = 2 ** 21;
  return { latency, bandwidth: (sizeOf.float32 * count) / (await pass(count)) };
}

/** Seconds of something that all ranks begin together. */
async function medianOf(channel: Channel, run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let n = 0; n <= samples; n += 1) {
    for (const peer of channel.others()) void channel.send(peer, 'begin', '', []);
    for (const peer of channel.others()) await channel.receive(peer, 'begin');
    const start = performance.now();
    await run();
    // The first one warms up.
    if (n > 0) times.push((performance.now() - start) / 1000);
  }
  return times.sort((a, b) => a - b)[samples >> 1]!;
}

/** Of all ranks the longest times and the lowest rates. */
async function slowest(channel: Channel, own: Partial<MeasuredCosts>): Promise<Partial<MeasuredCosts>> {
  for (const peer of channel.others()) void channel.send(peer, 'costs', JSON.stringify(own), []);
  const all = [own];
  for (const peer of channel.others()) {
    all.push(JSON.parse((await channel.receive(peer, 'costs')).note) as Partial<MeasuredCosts>);
  }
  const times = new Set<string>(['callTime', 'latency']);
  return Object.fromEntries(
    (Object.keys(own) as (keyof MeasuredCosts)[]).map((name) => {
      const values = all.map((costs) => costs[name]!);
      return [name, times.has(name) ? Math.max(...values) : Math.min(...values)];
    }),
  );
}
