// What a call costs besides its arithmetic: tiny calls, at once and through a promise, and a decode loop's calls, of one
// shape or with keys growing. Medians of many short batches, interleaved so that slow phases of the machine hit every
// case. Exit status 1 where a bar is missed. `--batches n`, `--only text`.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { attention, attentionSync, KvCache, Tensor } from '../dist/index.js';
import type { RopeOptions } from '../dist/index.js';
import { machine } from './machine.js';
import { median, quantile } from './measure.js';

interface Case {
  name: string;
  /** The most that is allowed, in µs; none where the figure is only told. */
  bar?: number;
  /** Calls in a batch. */
  calls: number;
  run: (calls: number) => void | Promise<void>;
}

function filled(shape: readonly number[]): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  const data = Float32Array.from({ length: count }, (_, i) => ((i * 7919) % 1024) / 512 - 1);
  return Tensor.from(data, shape);
}

type Options = Exclude<Parameters<typeof attentionSync>[3], undefined> & { partial?: false };

/** Calls of one shape, one after the other. */
function repeated(name: string, tensors: [Tensor, Tensor, Tensor], options: Options | undefined, bar?: number): Case {
  const run = (calls: number): void => {
    for (let i = 0; i < calls; i += 1) attentionSync(...tensors, options);
  };
  return { name, calls: 2000, run, ...(bar !== undefined && { bar }) };
}

/** Each call waits for the one before. */
function awaited(name: string, tensors: [Tensor, Tensor, Tensor], options: Options | undefined, bar?: number): Case {
  const run = async (calls: number): Promise<void> => {
    for (let i = 0; i < calls; i += 1) await attention(...tensors, options);
  };
  return { name, calls: 500, run, ...(bar !== undefined && { bar }) };
}

/** One key more in each call, from 128 to 383 and again: more lengths than there are plans kept. */
function growing(name: string, query: Tensor, options: Options): Case {
  const keys = filled([1, 8, 384, 64]);
  const values = filled([1, 8, 384, 64]);
  const steps = Array.from(
    { length: 256 },
    (_, i) => [keys.narrow(2, 0, 128 + i), values.narrow(2, 0, 128 + i)] as const,
  );
  const run = (calls: number): void => {
    for (let i = 0; i < calls; i += 1) {
      const [k, v] = steps[i % steps.length]!;
      attentionSync(query, k, v, options);
    }
  };
  return { name, calls: 1024, run };
}

/** Steps of a decode loop that see the token they append and no other: all of a step but reading keys and values. */
function stepping(name: string, rope?: RopeOptions): Case {
  const shape = [1, 8, 1, 64];
  const [q, k, v, out] = [filled(shape), filled(shape), filled(shape), filled(shape)];
  const cache = new KvCache({ heads: 8, dim: 64, window: 0, rope });
  const options = { k, v, out, threads: 1 };
  const run = (calls: number): void => {
    for (let i = 0; i < calls; i += 1) cache.attendSync(q, options);
  };
  return { name, calls: 2000, run, bar: 10 };
}

function makeCases(): Case[] {
  const tiny: [Tensor, Tensor, Tensor] = [filled([1, 1, 16, 16]), filled([1, 1, 16, 16]), filled([1, 1, 16, 16])];
  const out = filled([1, 1, 16, 16]);
  const query = filled([1, 8, 1, 64]);
  const decode: [Tensor, Tensor, Tensor] = [query, filled([1, 8, 256, 64]), filled([1, 8, 256, 64])];
  const decoded = { out: filled([1, 8, 1, 64]), threads: 1 };
  const one: [Tensor, Tensor, Tensor] = [query, filled([1, 8, 1, 64]), filled([1, 8, 1, 64])];
  return [
    repeated('1x1x16x16, at once, with out', tiny, { out }, 6),
    repeated('1x1x16x16, at once', tiny, undefined, 8),
    awaited('1x1x16x16, promise, with out', tiny, { out }, 40),
    awaited('1x1x16x16, promise', tiny, undefined, 40),
    awaited('1x1x16x16, promise, with signal', tiny, { signal: new AbortController().signal }),
    repeated('decode 1x8x1x64, 1 key, with out', one, decoded),
    repeated('decode 1x8x1x64, 256 keys, with out', decode, decoded),
    stepping('cache, append and attend, 8 heads of 64'),
    stepping('cache, append and attend, 8 heads of 64, rope', { pairing: 'halves' }),
    growing('decode 1x8x1x64, 128 to 383 keys, with out', query, decoded),
  ];
}

function argument(name: string, otherwise: string): string {
  const at = process.argv.indexOf(name);
  return at > 0 ? process.argv[at + 1]! : otherwise;
}

async function main(): Promise<void> {
  const batches = Number(argument('--batches', '41'));
  const cases = makeCases().filter(({ name }) => name.includes(argument('--only', '')));
  for (const { run, calls } of cases) for (let round = 0; round < 4; round += 1) await run(calls);
  const samples = cases.map((): number[] => []);
  for (let batch = 0; batch < batches; batch += 1) {
    for (const [index, { run, calls }] of cases.entries()) {
      const start = performance.now();
      await run(calls);
      samples[index]!.push(((performance.now() - start) * 1000) / calls);
    }
  }
  const rows = cases.map(({ name, bar }, index) => {
    const all = samples[index]!;
    return { name, bar, median: median(all), p10: quantile(all, 0.1), p90: quantile(all, 0.9) };
  });
  const report = { date: new Date().toISOString(), machine: machine(), batches, unit: 'µs a call', rows };
  mkdirSync(join(__dirname, 'results'), { recursive: true });
  writeFileSync(join(__dirname, 'results', 'overhead.json'), `${JSON.stringify(report, null, 2)}\n`);
  console.log(['| call | median, µs | p10 | p90 | bar | met |', '|---|---|---|---|---|---|'].join('\n'));
  for (const { name, bar, ...figures } of rows) {
    const [mid, low, high] = [figures.median, figures.p10, figures.p90].map((value) => value.toFixed(2));
    const verdict = bar === undefined ? ' | ' : `<= ${bar} | ${figures.median <= bar ? 'yes' : 'NO'}`;
    console.log(`| ${name} | ${mid} | ${low} | ${high} | ${verdict} |`);
  }
  if (rows.some((row) => row.bar !== undefined && !(row.median <= row.bar))) process.exitCode = 1;
}

void main();
