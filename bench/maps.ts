// What every built-in pattern costs before the first key is read: time to make the mask and to map it at 65536 tokens,
// and what memory the map takes, against their bars. A process of its own for each pattern, on one thread.
//   npm run maps [text in the label]
import { execFileSync } from 'node:child_process';
import {
  and,
  blockSparse,
  branches,
  causal,
  dilated,
  documents,
  explain,
  localGlobal,
  neighborhood,
  prefixLm,
  segments,
  shardedStrides,
  sharedPrefix,
  shiftedGroups,
  slidingWindow,
  strided,
  Tensor,
  verticalSlash,
  type Mask,
} from '../dist/index.js';
import { median } from './measure.js';

const LENGTH = 65536;
const HEADS = 8;
const ROUNDS = 7;
const MOST_MS = 20;
const MOST_BYTES = 16 * 2 ** 20;

const runs = (length: number): Int32Array => Int32Array.from({ length: LENGTH }, (_, at) => Math.floor(at / length));
const [thousands, sixteenths] = [runs(1000), runs(4096)] as const;
const spread = (count: number, last: number): number[] =>
  Array.from({ length: count }, (_, n) => Math.floor((n * last) / count));

const patterns: Record<string, () => Mask> = {
  causal,
  'window 1024, causal': () => slidingWindow(1023, 0),
  'window 256 on each side': () => slidingWindow(256, 256),
  'prefix 8192': () => prefixLm(8192),
  'documents of 1000': () => and(documents(thousands), causal()),
  'segments of 4096': () =>
    segments(
      sixteenths,
      Array.from({ length: 16 }, (_, a) => spread(16, a + 2)),
    ),
  'dilated 4, window 256': () => and(dilated(4), slidingWindow(256, 256)),
  'strided 256': () => strided(256),
  'shared prefix, pieces of 1000': () => sharedPrefix(8192, 1000),
  'branches of 8192': () => branches(8192, [28672, 28672]),
  'shifted groups of 2048': () => shiftedGroups({ group: 2048, heads: HEADS }),
  'neighborhood 65536, window 255': () => neighborhood({ grid: [65536], window: 255 }),
  'neighborhood 65536, window 255, dilation 8': () => neighborhood({ grid: [65536], window: 255, dilation: 8 }),
  'neighborhood 256×256, window 13': () => neighborhood({ grid: [256, 256], window: 13 }),
  'neighborhood 256×256, window 13, dilation 2': () => neighborhood({ grid: [256, 256], window: 13, dilation: 2 }),
  'neighborhood 256×256, window 13, causal': () => neighborhood({ grid: [256, 256], window: 13, causal: true }),
  'neighborhood 256×256, windows of 16': () => neighborhood({ grid: [256, 256], window: 16, stride: 16 }),
  'neighborhood 64×32×32, window 5': () => neighborhood({ grid: [64, 32, 32], window: 5 }),
  'neighborhood 64×32×32, window 5, dilation 2': () => neighborhood({ grid: [64, 32, 32], window: 5, dilation: 2 }),
  'neighborhood 64×32×32, window 9×5×5, causal in time': () =>
    neighborhood({ grid: [64, 32, 32], window: [9, 5, 5], causal: [true, false, false] }),
  'blocks near, first and every 16th': () =>
    localGlobal({ length: LENGTH, blockSize: 64, before: 4, after: 4, first: 2, every: 16 }),
  'blocks near, first and 3 drawn, 8 heads': () =>
    localGlobal({ length: LENGTH, blockSize: 64, before: 1, after: 1, first: 2, random: 3, heads: HEADS }),
  'first and last blocks, causal': () =>
    and(localGlobal({ length: LENGTH, blockSize: 64, before: 16, after: 0, first: 1, causal: true }), causal()),
  'strides, sharded among 8 heads': () =>
    shardedStrides({ length: LENGTH, blockSize: 64, heads: HEADS, local: 16, stride: 16 }),
  'vertical and slash': () =>
    and(
      verticalSlash({ length: LENGTH, blockSize: 64, vertical: spread(64, 60000), slash: spread(16, 30000) }),
      causal(),
    ),
  'lists of 16 blocks': () =>
    blockSparse(
      Array.from({ length: LENGTH / 64 }, (_, row) => spread(16, 960).map((block) => block + (row % 64))),
      { blockSize: 64 },
    ),
};

interface Cost {
  make: number;
  map: number;
  bytes: number;
}

function measure(make: () => Mask): Cost {
  const tensor = (): Tensor => Tensor.from(new Float32Array(HEADS * LENGTH * 64), [1, HEADS, LENGTH, 64]);
  const [q, k, v] = [tensor(), tensor(), tensor()];
  const times: { make: number[]; map: number[] } = { make: [], map: [] };
  explain(q, k, v, { mask: causal(), threads: 1 });
  let bytes = 0;
  for (let round = 0; round <= ROUNDS; round++) {
    const start = performance.now();
    const mask = make();
    const made = performance.now();
    const before = process.memoryUsage.rss();
    const from = performance.now();
    explain(q, k, v, { mask, threads: 1 });
    const end = performance.now();
    if (round === 0) {
      bytes = process.resourceUsage().maxRSS * 1024 - before;
    } else {
      times.make.push(made - start);
      times.map.push(end - from);
    }
  }
  return { make: median(times.make), map: median(times.map), bytes };
}

const alone = process.env['MAPS_PATTERN'];
if (alone !== undefined) {
  console.log(JSON.stringify(measure(patterns[alone]!)));
} else {
  for (const label of Object.keys(patterns)) {
    if (!label.includes(process.argv[2] ?? '')) continue;
    const env = { ...process.env, MAPS_PATTERN: label };
    const { make, map, bytes } = JSON.parse(
      execFileSync(process.execPath, [...process.execArgv, __filename], { env, encoding: 'utf8' }),
    ) as Cost;
    const missed = make + map > MOST_MS || bytes > MOST_BYTES;
    if (missed) process.exitCode = 1;
    const what = `${make.toFixed(1)} ms to make, ${map.toFixed(1)} ms to map, ${(bytes / 2 ** 20).toFixed(1)} MiB`;
    console.log(`${label}: ${what} (bars ${MOST_MS} ms in all, 16 MiB)${missed ? ' MISSED' : ''}`);
  }
}
