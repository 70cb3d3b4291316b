// What programs cost: npm --prefix bench run programs [-- --only scores,masks,maps,decode] [--repeats 15]
//
// One thread, from JavaScript, D64 H8 float32. Every ratio is of medians of calls that took turns in one run. Prints a
// table and writes bench/results/programs.json; exit status 1 where a bar is missed.
process.env['FUSED_ATTENTION_THREADS'] = '1';

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { AttentionOptions, Mask, Tensor as TensorType } from '../dist/index.js';
import { machine } from './machine.js';
import { median } from './measure.js';

const library = require('../dist/index.js') as typeof import('../dist/index.js');
const {
  Tensor,
  alibi,
  and,
  attentionSync,
  blockMap,
  causal,
  dilated,
  documents,
  explain,
  mask,
  prefixLm,
  score,
  segments,
  sharedPrefix,
  slidingWindow,
  strided,
} = library;
interface Figure {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly atLeast?: number;
  readonly atMost?: number;
}

const { values: flags } = parseArgs({
  options: { only: { type: 'string' }, repeats: { type: 'string', default: '15' } },
});
const repeats = Number(flags.repeats);

function filled(shape: readonly number[]): TensorType {
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
  let state = 1;
  for (let n = 0; n < data.length; n += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[n] = state / 2 ** 31 - 1;
  }
  return Tensor.from(data, shape);
}

/** Median milliseconds of each body, which take turns; the order turns too. */
function interleaved(bodies: readonly (() => void)[], rounds = repeats): number[] {
  const samples = bodies.map((): number[] => []);
  for (const body of bodies) body();
  for (let round = 0; round < rounds; round += 1) {
    for (let turn = 0; turn < bodies.length; turn += 1) {
      const index = (turn + round) % bodies.length;
      const start = performance.now();
      bodies[index]!();
      samples[index]!.push(performance.now() - start);
    }
  }
  return samples.map(median);
}

function scores(): Figure[] {
  const n = 1024;
  const x = filled([1, 8, n, 64]);
  const out = filled([1, 8, n, 64]);
  const table = Array.from({ length: 8 }, (_row, h) => Array.from({ length: 257 }, (_, d) => Math.sin(d + h)));
  const programs = {
    ALiBi: { program: alibi(8), bar: 0.85 },
    'four operations': {
      program: score('(s, i, j, { a, c }) => (s * a + c > 0 ? s * a + c : s)', { a: 0.75, c: 0.125 }),
      bar: 0.8,
    },
    'one tanh': { program: score('(s) => Math.tanh(s)'), bar: 0.65 },
    'one exp': { program: score('(s) => Math.exp(s)'), bar: 0.65 },
    'a table of two axes': {
      program: score('(s, i, j, { h, t }) => s + t(h, Math.max(-128, Math.min(128, j - i)) + 128)', { t: table }),
      bar: 0.6,
    },
  };
  const run = (options: AttentionOptions) => () => void attentionSync(x, x, x, { ...options, out });
  const [none, ...times] = interleaved([
    run({}),
    ...Object.values(programs).map(({ program }) => run({ score: program })),
  ]);
  return Object.entries(programs).map(([name, { bar }], index) => ({
    what: `speed with a score program over none: ${name}`,
    value: none! / times[index]!,
    unit: '',
    atLeast: bar,
  }));
}

function masks(): Figure[] {
  const n = 2048;
  const x = filled([1, 8, n, 64]);
  const out = filled([1, 8, n, 64]);
  const ids = Int32Array.from({ length: n }, (_, position) => position >> 7);
  const patterns: Record<string, Mask> = {
    causal: causal(),
    'window of 512': slidingWindow(511, 0),
    'documents of 128': documents(ids),
    'causal documents': and(causal(), documents(ids)),
    'unsorted documents': documents(Int32Array.from(ids, (_, position) => Math.imul(position, 2654435761) >>> 30)),
  };
  const run = (options: AttentionOptions) => () => void attentionSync(x, x, x, { ...options, out });
  const [dense, ...times] = interleaved([run({}), ...Object.values(patterns).map((one) => run({ mask: one }))]);
  const whole = explain(x, x, x).flops;
  return Object.entries(patterns).map(([name, one], index) => ({
    what: `useful rate over the dense rate: ${name}`,
    value: explain(x, x, x, { mask: one }).flops / times[index]! / (whole / dense!),
    unit: '',
  }));
}

function maps(): Figure[] {
  const sorted = Int32Array.from({ length: 131072 }, (_, position) => position >> 11);
  const unsorted = Int32Array.from(sorted, (_, position) => Math.imul(position, 2654435761) >>> 26);
  const figures: Figure[] = [];
  const add = (what: string, nq: number, item: Mask, atMost: number): void => {
    const [time] = interleaved([() => void blockMap(item, { nq, block: 128 })], 9);
    figures.push({ what: `tile map, ${what}, N ${nq}`, value: time!, unit: 'ms', atMost });
  };
  add('64 sorted documents', 131072, documents(sorted), 3);
  add('unsorted ids of 64 values', 131072, documents(unsorted), 60);
  const ids = sorted.subarray(0, 65536);
  const kinds = ids.map((id) => id % 3);
  const allowed = [
    [1, 0, 1],
    [1, 1, 0],
    [0, 0, 1],
  ];
  const builtIns: Record<string, Mask> = {
    causal: causal(),
    window: slidingWindow(4095, 0),
    prefix: prefixLm(10_000),
    documents: documents(ids),
    'dilated window': and(slidingWindow(8192, 8192), dilated(64)),
    dilated: dilated(256),
    strided: strided(256),
    'shared prefix': sharedPrefix(8192, 4096),
    segments: segments(kinds, allowed),
    'causal documents': and(causal(), documents(ids)),
  };
  for (const [name, item] of Object.entries(builtIns)) add(name, 65536, item, 10);
  return figures;
}

function decode(): Figure[] {
  const own = mask('(i, j, { sinks, window }) => j < sinks || i - j < window * 64', { sinks: 4, window: 10_000 });
  const ids = documents(new Int32Array(16384));
  // Differences of microseconds between calls of milliseconds: the difference of each pair of neighbours, and its median.
  const over = (item: Mask, dim: number): number => {
    const [q, kv, out] = [filled([1, 8, 1, dim]), filled([1, 8, 16384, dim]), filled([1, 8, 1, dim])];
    const differences: number[] = [];
    const once = (options: AttentionOptions): number => {
      const start = performance.now();
      attentionSync(q, kv, kv, { ...options, out });
      return performance.now() - start;
    };
    for (let round = 0; round < 40 * repeats; round += 1) {
      const [first, second] = round % 2 ? [{}, { mask: item }] : [{ mask: item }, {}];
      const [a, b] = [once(first), once(second)];
      if (round >= 10) differences.push(1000 * (round % 2 ? b - a : a - b));
    }
    return median(differences);
  };
  const small = filled([1, 8, 1, 16]);
  const few = filled([1, 8, 512, 16]);
  const smallOut = filled([1, 8, 1, 16]);
  const each = (options: AttentionOptions) => (): void => {
    for (let call = 0; call < 200; call += 1) attentionSync(small, few, few, { ...options, out: smallOut });
  };
  const [without, masked] = interleaved([each({}), each({ mask: own })], 25);
  let reach = 0;
  const changes = (): void => {
    for (let call = 0; call < 1000; call += 1) own.with({ window: (reach = (reach % 1000) + 1) });
  };
  const [change] = interleaved([changes], 15);
  return [
    ...[64, 8].flatMap((dim): Figure[] => [
      {
        what: `decode, 16384 keys of ${dim}: over no mask, window with sinks`,
        value: over(own, dim),
        unit: 'us',
        atMost: 10,
      },
      { what: `decode, 16384 keys of ${dim}: over no mask, documents`, value: over(ids, dim), unit: 'us', atMost: 10 },
    ]),
    {
      what: 'decode, 512 keys of 16: over no mask',
      value: (1000 * (masked! - without!)) / 200,
      unit: 'us',
      atMost: 10,
    },
    { what: 'with()', value: change!, unit: 'us', atMost: 5 },
  ];
}

const parts: Record<string, () => Figure[]> = { scores, masks, maps, decode };

function row({ what, value, unit, atLeast, atMost }: Figure): string {
  const bar = atLeast !== undefined ? `>= ${atLeast}` : atMost !== undefined ? `<= ${atMost} ${unit}` : '';
  return `| ${what} | ${value.toPrecision(3)} ${unit} | ${bar} | ${bar && (met({ value, atLeast, atMost }) ? 'yes' : 'NO')} |`;
}

function met({ value, atLeast, atMost }: Pick<Figure, 'value'> & Partial<Figure>): boolean {
  return (atLeast === undefined || value >= atLeast) && (atMost === undefined || value <= atMost);
}

const names = flags.only === undefined ? Object.keys(parts) : flags.only.split(',');
const figures = names.flatMap((name) => {
  const part = parts[name];
  if (part === undefined)
    throw new Error(`--only: expected some of ${Object.keys(parts).join()} but received '${name}'`);
  return part();
});
mkdirSync(join(__dirname, 'results'), { recursive: true });
const report = { date: new Date().toISOString(), machine: machine(), figures };
writeFileSync(join(__dirname, 'results', 'programs.json'), `${JSON.stringify(report, null, 2)}\n`);
console.log(['| programs | measured | bar | met |', '|---|---|---|---|', ...figures.map(row)].join('\n'));
if (!figures.every(met)) process.exitCode = 1;
