// What sequence parallelism must show on one machine: transfers hidden behind computing, memory of a rank that shrinks with
// their number, and a tree over two ranks beside two threads. Exit status 1 where a bar is missed.
//   npm run ring-figures [overlap | memory | tree]
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  attention,
  causal,
  joinGroup,
  ringAttention,
  shard,
  Tensor,
  threadGroup,
  treeAttention,
  workerSeats,
  type Group,
  type WorkerSeat,
} from '../lib/index.js';
import { groupOver } from '../lib/sequence-parallel/group.js';
import { threadEngines } from '../lib/sequence-parallel/threads.js';
import { machine } from './machine.js';
import { median } from './measure.js';
import { throttled } from './throttled.js';

const DIM = 64;

function random(heads: number, rows: number): Tensor {
  return Tensor.from(new Float32Array(heads * rows * DIM).map(Math.random), [1, heads, rows, DIM]);
}

function tell(what: string, value: number, bar: number, better: 'less' | 'more'): void {
  const missed = better === 'less' ? value > bar : value < bar;
  if (missed) process.exitCode = 1;
  console.log(`${what}: ${value.toFixed(2)} (bar ${better === 'less' ? '≤' : '≥'} ${bar})${missed ? ' MISSED' : ''}`);
}

const milliseconds = async (run: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await run();
  return performance.now() - start;
};

/** A ring over two ranks whose transfers take 0.8 of what computing does: of each round, and of the whole. */
async function overlap(): Promise<void> {
  const [heads, rows] = [4, 4096];
  const whole = [random(heads, rows), random(heads, rows), random(heads, rows)];
  const timed = (groups: Group[]): Promise<number> =>
    milliseconds(() =>
      Promise.all(
        groups.map((group) => {
          const [q, k, v] = whole.map((tensor) => shard(tensor, group));
          return ringAttention(group, q!, k!, v!, { threads: 1 });
        }),
      ),
    );
  await timed(threadGroup(2));
  const ratios: number[] = [];
  const waits: number[] = [];
  for (let round = 0; round < 7; round += 1) {
    const computing = await timed(threadGroup(2));
    const bytes = 2 * heads * (rows / 2) * DIM * 4;
    const link = (bytes * 1000) / (0.8 * computing);
    const took = await timed(threadEngines(2, 30_000).map((engine) => groupOver(throttled(engine, link))));
    ratios.push(took / computing);
    waits.push(computing);
  }
  console.log(`computing ${median(waits).toFixed(0)} ms, transfer ${(0.8 * median(waits)).toFixed(0)} ms a rank`);
  tell('overlap, P 2, transfer of 0.8 of all computing: total over the larger', median(ratios), 1.15, 'less');
}

/** The most that a rank of a group over workers holds in arrays, beside what its shards and its result take. */
async function memory(): Promise<void> {
  for (const size of [1, 2, 4, 8]) {
    const peaks = await Promise.all(
      workerSeats(size).map(
        (seat) =>
          new Promise<number>((resolve, reject) => {
            const script = `require('tsx/cjs'); require(${JSON.stringify(__filename)})`;
            const options = { eval: true, execArgv: [], workerData: seat, transferList: [...seat.ports] };
            const worker = new Worker(script, options);
            worker.once('message', resolve);
            worker.once('error', reject);
          }),
      ),
    );
    const most = Math.max(...peaks);
    const shards = (4 * RANK_HEADS * RANK_ROWS * DIM * 4) / size;
    console.log(`memory of a rank, N ${RANK_ROWS}, P ${size}: ${(most / 2 ** 20).toFixed(1)} MiB`);
    tell(`memory of a rank, P ${size}: over q, k, v and output of N/P rows`, most / shards, 4, 'less');
  }
}

const [RANK_HEADS, RANK_ROWS] = [4, 8192];

/** A rank of `memory`: has its shards alone. */
async function rankInWorker(seat: WorkerSeat): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const own = (): Tensor => random(RANK_HEADS, RANK_ROWS / seat.size);
  collect();
  const before = process.memoryUsage().arrayBuffers;
  const [q, k, v] = [own(), own(), own()];
  let most = 0;
  const look = (): void => {
    collect();
    most = Math.max(most, process.memoryUsage().arrayBuffers - before);
  };
  const timer = setInterval(look, 5);
  await ringAttention(joinGroup(seat), q, k, v, { mask: causal(), sharding: 'zigzag' });
  look();
  clearInterval(timer);
  parentPort!.postMessage(most);
}

/** One query and 131072 keys: a tree over two ranks of a thread each, and two threads over the whole. */
async function tree(): Promise<void> {
  const keys = 131072;
  const [q, k, v] = [random(8, 1), random(2, keys), random(2, keys)] as const;
  const groups = threadGroup(2);
  const shards = groups.map((group) => [k, v].map((tensor) => shard(tensor, group)) as [Tensor, Tensor]);
  const ranks = (): Promise<unknown> =>
    Promise.all(groups.map((group, n) => treeAttention(group, q, ...shards[n]!, { threads: 1 })));
  const threads = (): Promise<unknown> => attention(q, k, v, { threads: 2 });
  const ratios: number[] = [];
  for (let round = 0; round < 41; round += 1) {
    const [one, other] = [await milliseconds(threads), await milliseconds(ranks)];
    if (round > 0) ratios.push(one / other);
  }
  console.log(`load of the machine before: ${machine().load}`);
  tell('tree decode, KV 131072, P 2: of the speed of two threads', median(ratios), 0.9, 'more');
}

const parts: Record<string, () => Promise<void>> = { overlap, memory, tree };

async function main(): Promise<void> {
  if (!isMainThread) return rankInWorker(workerData as WorkerSeat);
  const only = process.argv[2];
  for (const [name, part] of Object.entries(parts)) if (only === undefined || only === name) await part();
}

void main();
