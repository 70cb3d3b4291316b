// Sequence parallelism by the model that chooses schedules: its predictions beside real runs on one and two ranks of this
// process, and what it says of up to 4096 ranks and 10^8 tokens. Exit status 1 where a prediction is wrong by more than
// a quarter.
//   npm run ring-scale [check [text in the name] | draw] [--publish]
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TopLevelSpec } from 'vega-lite' with { 'resolution-mode': 'import' };
import {
  causal,
  measureCosts,
  parallelAttention,
  predictSchedules,
  shard,
  slidingWindow,
  Tensor,
  threadGroup,
  type GroupCosts,
  type Mask,
  type Schedule,
  type Sharding,
} from '../dist/index.js';
import { machine } from './machine.js';
import { median } from './measure.js';
import { THEME, toSvg } from './plot.js';
import { replaceSection } from './publish.js';

const MOST_WRONG = 0.25;
const QUIET = 0.05;
const ROUNDS = 5;
const TRIES = 3;
const SIZES = [1, 2] as const;
const [HEADS, DIM] = [4, 64] as const;

interface Case {
  name: string;
  schedule: Schedule;
  sharding: Sharding;
  mask?: Mask;
  queries: number;
  keys: number;
  /** Of keys and values. */
  heads: number;
}

const square = (name: string, schedule: Schedule, sharding: Sharding, mask?: Mask): Case => ({
  name,
  schedule,
  sharding,
  ...(mask ? { mask } : {}),
  queries: 4096,
  keys: 4096,
  heads: 1,
});

const cases: Case[] = [
  square('ring', 'ring', 'contiguous'),
  square('ring, causal, zigzag', 'ring', 'zigzag', causal()),
  square('ring, causal, striped', 'ring', 'striped', causal()),
  square('ring, causal, contiguous', 'ring', 'contiguous', causal()),
  square('ring, window of 512', 'ring', 'contiguous', slidingWindow(511, 0)),
  square('all-gather, causal, zigzag', 'allGather', 'zigzag', causal()),
  square('Ulysses, causal', 'ulysses', 'contiguous', causal()),
  { name: 'tree, 1 query', schedule: 'tree', sharding: 'contiguous', queries: 1, keys: 65536, heads: HEADS },
];

function random(heads: number, rows: number): Tensor {
  return Tensor.from(new Float32Array(heads * rows * DIM).map(Math.random), [1, heads, rows, DIM]);
}

interface Check {
  name: string;
  size: number;
  measured: number;
  predicted: number;
  /** How much the prediction before differs from the one after: by what the machine did meanwhile. */
  drift: number;
}

/** One try: calls between two measurements of what computing and sending cost. */
async function check({ name, schedule, sharding, queries, keys, heads, mask }: Case, size: number): Promise<Check> {
  const [q, k, v] = [random(HEADS, queries), random(heads, keys), random(heads, keys)] as const;
  const masked = mask ? { mask } : {};
  const groups = threadGroup(size);
  const shards = groups.map((group) => [q, k, v].map((whole) => shard(whole, group, { sharding })));
  const predicted = async (): Promise<number> => {
    const [costs] = await Promise.all(groups.map((group) => measureCosts(group, { dim: DIM, threads: 1 })));
    const options = { sharding, costs: costs!, ...masked };
    const { schedules } = predictSchedules(size, q.shape, k.shape, v.shape, options);
    return schedules.find((one) => one.schedule === schedule)!.seconds;
  };
  const call = async (): Promise<number> => {
    const start = performance.now();
    await Promise.all(
      groups.map((group, rank) => {
        const own = shards[rank] as [Tensor, Tensor, Tensor];
        return parallelAttention(group, ...own, { schedule, sharding, threads: 1, ...masked });
      }),
    );
    return (performance.now() - start) / 1000;
  };
  await call();
  const before = await predicted();
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await call());
  const after = await predicted();
  const drift = Math.abs(before / after - 1);
  return { name, size, measured: median(times), predicted: (before + after) / 2, drift };
}

const wrongBy = ({ measured, predicted }: Check): number => Math.abs(measured / predicted - 1);

async function checkAll(match: string): Promise<Check[]> {
  const checks: Check[] = [];
  for (const one of cases.filter(({ name }) => name.includes(match))) {
    for (const size of SIZES) {
      // The quietest try counts.
      let best = await check(one, size);
      for (let n = 1; n < TRIES && best.drift > QUIET; n++) {
        const again = await check(one, size);
        if (again.drift < best.drift) best = again;
      }
      checks.push(best);
      const milliseconds = (seconds: number): string => `${(seconds * 1000).toFixed(1)} ms`;
      const verdict = `${wrongBy(best) > MOST_WRONG ? ' MISSED' : ''}${best.drift > QUIET ? ' (noisy)' : ''}`;
      const ratio = `${(best.measured / best.predicted).toFixed(2)} of the prediction (bar 0.75 to 1.25)${verdict}`;
      const ranks = `${size} rank${size === 1 ? '' : 's'}`;
      console.log(`${one.name}, ${ranks}: ${milliseconds(best.measured)} of ${milliseconds(best.predicted)}, ${ratio}`);
    }
  }
  return checks;
}

// --- the scale ---------------------------------------------------------------------------------------------------------

const machines: Record<string, GroupCosts> = {
  'cores with AVX2, 10 Gbit/s': {},
  'accelerators of 500 TFLOP/s and 80 GB, 400 Gbit/s': {
    flopRate: 5e14,
    readRate: 2e12,
    callTime: 2e-5,
    latency: 1e-5,
    bandwidth: 5e10,
    memory: 8e10,
  },
};
const patterns: Record<string, { mask: Mask; sharding: Sharding }> = {
  'causal, zigzag': { mask: causal(), sharding: 'zigzag' },
  'window of 4096': { mask: slidingWindow(4095, 0), sharding: 'contiguous' },
};
const TOKENS = [2 ** 17, 2 ** 20, 10_000_000, 100_000_000];
const RANKS = [1, 4, 16, 64, 256, 1024, 4096];
/** Rows of a rank: more than this take long to look at, fewer are not worth a rank. */
const [LEAST_ROWS, MOST_ROWS] = [32, 2 ** 20];

interface Point {
  machine: string;
  pattern: string;
  tokens: number;
  ranks: number;
  schedule: Schedule;
  chosen: boolean;
  seconds: number;
  computeSeconds: number;
  receivedBytes: number;
  memoryBytes: number;
}

function draw(): Point[] {
  const points: Point[] = [];
  for (const [name, costs] of Object.entries(machines)) {
    for (const [pattern, options] of Object.entries(patterns)) {
      for (const tokens of TOKENS) {
        for (const ranks of RANKS.filter((size) => tokens / size >= LEAST_ROWS && tokens / size <= MOST_ROWS)) {
          const [q, kv] = [
            [1, 32, tokens, 128],
            [1, 8, tokens, 128],
          ];
          const dtype = 'bfloat16';
          const { chosen, schedules } = predictSchedules(ranks, q!, kv!, kv!, { ...options, dtype, costs });
          for (const { schedule, seconds, computeSeconds, receivedBytes, memoryBytes } of schedules) {
            const figures = { seconds, computeSeconds, receivedBytes, memoryBytes };
            const what = { machine: name, pattern, tokens, ranks, schedule, chosen: schedule === chosen };
            points.push({ ...what, ...figures });
          }
        }
      }
    }
  }
  return points;
}

const short = (value: number): string => Number(value.toPrecision(3)).toString();

function table(points: readonly Point[]): string {
  const head = [
    '| ranks | tokens | mask | machine | chosen | seconds | computing | in, GB | held, GB |',
    '|---:|---:|---|---|---|---:|---:|---:|---:|',
  ];
  const rows = points
    .filter(({ chosen }) => chosen)
    .map((point) => {
      const { ranks, tokens, pattern, schedule, seconds, computeSeconds, receivedBytes, memoryBytes } = point;
      const share = `${Math.round((100 * computeSeconds) / seconds)} %`;
      const cells = [ranks, tokens, pattern, point.machine, schedule, short(seconds), share];
      return `| ${[...cells, short(receivedBytes / 1e9), short(memoryBytes / 1e9)].join(' | ')} |`;
    });
  return [...head, ...rows].join('\n');
}

function plot(points: readonly Point[]): TopLevelSpec {
  return {
    title: 'Predicted seconds over ranks, 32/8 heads, D 128, bfloat16; a line for each number of tokens',
    config: THEME,
    data: { values: [...points] },
    facet: {
      row: { field: 'machine', title: null },
      column: { field: 'pattern', title: null },
    },
    spec: {
      width: 320,
      height: 260,
      mark: { type: 'line', point: { size: 20 } },
      encoding: {
        x: {
          field: 'ranks',
          type: 'quantitative',
          scale: { type: 'log', base: 4 },
          axis: { values: RANKS, format: 'd' },
        },
        y: { field: 'seconds', type: 'quantitative', scale: { type: 'log' }, axis: { format: '~e' } },
        color: { field: 'schedule', type: 'nominal', title: null },
        strokeDash: { field: 'tokens', type: 'nominal' },
        detail: { field: 'tokens', type: 'nominal' },
      },
    },
    resolve: { scale: { y: 'independent' } },
  };
}

async function main(): Promise<void> {
  const [only, match = ''] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
  const checks = only === 'draw' ? [] : await checkAll(match);
  if (checks.some((one) => wrongBy(one) > MOST_WRONG)) process.exitCode = 1;
  if (only === 'check') return;
  const start = performance.now();
  const points = draw();
  const seconds = (performance.now() - start) / 1000;
  const text = table(points);
  console.log(`\n${text}\n\n${points.length} predictions in ${seconds.toFixed(1)} s`);
  const publish = process.argv.includes('--publish');
  const folders = publish ? ['figures', 'plots'] : ['results', 'results'];
  for (const folder of folders) mkdirSync(join(__dirname, folder), { recursive: true });
  const json = JSON.stringify({ date: new Date().toISOString(), machine: machine(), checks, points });
  writeFileSync(join(__dirname, folders[0]!, 'ring-scale.json'), `${json.replaceAll('},{', '},\n{')}\n`);
  writeFileSync(join(__dirname, folders[1]!, 'ring-scale.svg'), await toSvg(plot(points)));
  if (!publish) return;
  replaceSection(
    'ring-scale',
    `### Schedules at scale\n\n${text}\n\n![predicted seconds over ranks](plots/ring-scale.svg)`,
  );
}

void main();
