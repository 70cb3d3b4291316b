// What long calls cost the thread that makes them: delay of its event loop, its own part of a call, how fast an abort is
// heard, idle processors after a burst, and memory. Each part runs in a process of its own; exit status 1 where a bar is
// missed. `--only name,...` runs some parts.
import { fork } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { attention, devices, slidingWindow, Tensor } from '../dist/index.js';
import { machine } from './machine.js';
import { median, quantile } from './measure.js';

interface Figure {
  part: string;
  what: string;
  value: number;
  unit: string;
  /** The most that is allowed; none where the figure is only told. */
  bar?: number;
}

type Options = Parameters<typeof attention>[3];

/** A call that keeps all threads busy for a good while, with memory for its results. */
interface Load {
  tensors: [Tensor, Tensor, Tensor];
  options: Exclude<Options, undefined> & { partial?: false };
  out: { output: Tensor; lse: Tensor };
}

const parts: Record<string, () => Promise<Omit<Figure, 'part'>[]>> = {
  'window N=131072': () => underLoad(longWindow(), longWindow(8)),
  'ragged 10000 sequences': () => underLoad(manySequences(), manySequences(3)),
  idle: idleAfterBurst,
  'memory N=131072': memoryOfOneCall,
  'memory 100000 calls': memoryOfManyCalls,
};

function filled(shape: readonly number[]): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  const data = new Float32Array(count);
  for (let i = 0; i < count; i += 1) data[i] = ((i * 7919) % 1024) / 512 - 1;
  return Tensor.from(data, shape);
}

function longWindow(length = 131072): Load {
  const shape = [1, 2, length, 64];
  const out = { output: filled(shape), lse: filled(shape.slice(0, 3)) };
  return {
    tensors: [filled(shape), filled(shape), filled(shape)],
    options: { mask: slidingWindow(4095, 0), lse: true },
    out,
  };
}

function manySequences(count = 10_000): Load {
  const cuSeqlens = [0];
  for (let i = 0; i < count; i += 1) cuSeqlens.push(cuSeqlens.at(-1)! + 1 + ((i * 37) % 127));
  const shape = [cuSeqlens.at(-1)!, 2, 64];
  const out = { output: filled(shape), lse: filled([2, shape[0]!]) };
  return {
    tensors: [filled(shape), filled(shape), filled(shape)],
    options: { cuSeqlensQ: cuSeqlens, cuSeqlensKv: cuSeqlens, lse: true },
    out,
  };
}

async function underLoad({ tensors, options, out }: Load, small: Load): Promise<Omit<Figure, 'part'>[]> {
  const given = { ...options, out };
  await attention(...tensors, given); // first touch of everything

  // The JavaScript of such calls is compiled.
  for (let i = 0; i < 2000; i += 1) await attention(...small.tensors, { ...small.options, out: small.out });

  const timer = monitorEventLoopDelay({ resolution: 1 });
  timer.enable();
  const own: number[] = [];
  const from = performance.now();
  while (performance.now() - from < 2000 || own.length < 15) {
    const start = performance.now();
    const call = attention(...tensors, given);
    own.push(performance.now() - start);
    await call;
  }
  const seconds = (performance.now() - from) / 1000;
  timer.disable();

  const withSignal = await aborted(tensors, given);
  const allocating = await aborted(tensors, options);
  const { aborts } = withSignal;
  if (aborts.length < 20) throw new Error(`only ${aborts.length} of 40 calls were still under way after 20 ms`);
  return [
    { what: 'one call', value: seconds / own.length, unit: 's' },
    { what: 'event loop delay, p99 (timer of 1 ms included)', value: timer.percentile(99) / 1e6, unit: 'ms', bar: 5 },
    { what: 'event loop delay, most', value: timer.max / 1e6, unit: 'ms' },
    { what: "main thread's part of a call, median", value: median(own), unit: 'ms', bar: 0.2 },
    { what: "main thread's part of a call, p90", value: quantile(own, 0.9), unit: 'ms' },
    { what: 'the same with a signal, median', value: median(withSignal.calls), unit: 'ms' },
    { what: 'the same with a signal and results to allocate, median', value: median(allocating.calls), unit: 'ms' },
    { what: `abort to rejection, most of ${aborts.length}`, value: Math.max(...aborts), unit: 'ms', bar: 20 },
  ];
}

/** Calls that are aborted under way. Times in ms: until the promise is there, and from an abort to the rejection. */
async function aborted(tensors: Load['tensors'], options: Load['options']) {
  const calls: number[] = [];
  const aborts: number[] = [];
  for (let i = 0; i < 40; i += 1) {
    const controller = new AbortController();
    await sleep(5);
    const given = { ...options, signal: controller.signal };
    const start = performance.now();
    const call = attention(...tensors, given).catch((error: Error) => error.name);
    calls.push(performance.now() - start);
    await sleep(20 + (i % 10));
    const abort = performance.now();
    controller.abort();
    if ((await call) === 'AbortError') aborts.push(performance.now() - abort);
  }
  return { calls, aborts };
}

async function idleAfterBurst(): Promise<Omit<Figure, 'part'>[]> {
  const x = filled([1, 8, 512, 64]);
  await Promise.all(Array.from({ length: 100 }, () => attention(x, x, x)));
  await sleep(50);
  const start = performance.now();
  const before = process.cpuUsage();
  await sleep(3000);
  const { user, system } = process.cpuUsage(before);
  const share = (user + system) / 1000 / (performance.now() - start);
  return [{ what: 'processor use in the 3 s after a burst', value: 100 * share, unit: '%', bar: 1 }];
}

async function memoryOfOneCall(): Promise<Omit<Figure, 'part'>[]> {
  const { tensors, options, out } = longWindow();
  const tiny = filled([1, 1, 8, 8]);
  const threads = devices()[0]!.threads;
  await Promise.all(Array.from({ length: 4 * threads }, () => attention(tiny, tiny, tiny))); // threads and stacks are there
  const before = process.resourceUsage().maxRSS;
  await attention(...tensors, { ...options, out });
  const mebibytes = (process.resourceUsage().maxRSS - before) / 1024 / threads;
  return [{ what: 'beyond inputs and outputs, a thread', value: mebibytes, unit: 'MiB', bar: 8 }];
}

async function memoryOfManyCalls(): Promise<Omit<Figure, 'part'>[]> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const settled = async (): Promise<NodeJS.MemoryUsage> => {
    for (let i = 0; i < 10; i += 1) {
      collect();
      await sleep(10);
    }
    return process.memoryUsage();
  };
  const [k, v] = [filled([1, 2, 8, 8]), filled([1, 2, 8, 8])];
  const round = async (calls: number): Promise<void> => {
    for (let done = 0; done < calls; done += 100) {
      await Promise.all(Array.from({ length: 100 }, () => attention(filled([1, 2, 8, 8]), k, v, { lse: true })));
    }
  };
  await round(20_000);
  const before = await settled();
  await round(100_000);
  const after = await settled();
  const mebibytes = (key: keyof NodeJS.MemoryUsage): number => (after[key] - before[key]) / 2 ** 20;
  return [
    { what: 'resident memory gained', value: mebibytes('rss'), unit: 'MiB', bar: 8 },
    { what: 'heap gained', value: mebibytes('heapUsed'), unit: 'MiB', bar: 1 },
    { what: 'memory of buffers gained', value: mebibytes('arrayBuffers'), unit: 'MiB', bar: 1 },
  ];
}

/** A part in a process of its own, which inherits how this file is run. */
function inChild(part: string): Promise<Figure[]> {
  return new Promise((resolve, reject) => {
    const child = fork(__filename, ['--part', part]);
    let figures: Figure[] | undefined;
    child.on('message', (message) => (figures = message as Figure[]));
    child.on('error', reject);
    child.on('exit', (code) => (code === 0 && figures ? resolve(figures) : reject(new Error(`${part}: exit ${code}`))));
  });
}

function row({ part, what, value, unit, bar }: Figure): string {
  const verdict = bar === undefined ? '' : `<= ${bar} ${unit} | ${value <= bar ? 'yes' : 'NO'}`;
  return `| ${part} | ${what} | ${value.toPrecision(3)} ${unit} | ${verdict || ' | '} |`;
}

async function main(): Promise<void> {
  const only = process.argv.indexOf('--only');
  const names = only > 0 ? process.argv[only + 1]!.split(',') : Object.keys(parts);
  const figures: Figure[] = [];
  for (const name of names) {
    if (!parts[name]) throw new Error(`no part '${name}': ${Object.keys(parts).join(', ')}`);
    figures.push(...(await inChild(name)));
  }
  const report = { date: new Date().toISOString(), machine: machine(), threads: devices()[0]!.threads, figures };
  mkdirSync(join(__dirname, 'results'), { recursive: true });
  writeFileSync(join(__dirname, 'results', 'event-loop.json'), `${JSON.stringify(report, null, 2)}\n`);
  console.log(JSON.stringify(report));
  console.log(['', '| part | what | measured | bar | met |', '|---|---|---|---|---|', ...figures.map(row)].join('\n'));
  if (figures.some(({ value, bar }) => bar !== undefined && !(value <= bar))) process.exitCode = 1;
}

const part = process.argv.indexOf('--part');
if (part > 0) {
  const name = process.argv[part + 1]!;
  void parts[name]!().then((figures) => process.send!(figures.map((figure) => ({ part: name, ...figure }))));
} else {
  void main();
}
