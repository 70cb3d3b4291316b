// Runs cases: builds the contestants, checks their results, times them against each other.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { flops, type Case } from './cases.js';
import { checkResults } from './check.js';
import type { Contestant } from './contestant.js';
import { makeInputs } from './inputs.js';
import { measure, median, type Measurement, type Plan } from './measure.js';
import { plainJavaScript } from './peers/javascript.js';
import { onnxruntime } from './peers/onnxruntime.js';
import { yardsticks } from './peers/peak.js';
import { summarise, type CaseResult, type ContestantResult } from './report.js';

export interface Settings {
  isa: string;
  threads: number;
  repeats: number;
  /** A noisy measurement is taken again, so often in all; the quietest counts. */
  tries: number;
  progress: (done: number, what: string) => void;
}

const PEAK_MS = 20;
const READ_MS = 60;

async function contestants(c: Case, threads: number): Promise<[ReturnType<typeof makeInputs>, Contestant[]]> {
  const ours = await import('./ours.js');
  const inputs = makeInputs(c);
  const list = [ours.fusedAttention(c, inputs, threads)];
  if (c.suite === 'call') list.push(ours.fusedAttentionAsync(c, inputs, threads));
  list.push(...(await onnxruntime(c, inputs, threads)));
  if (threads === 1) list.push(plainJavaScript(c, inputs, flops(c)));
  return [inputs, list];
}

function result(c: Case, list: readonly Contestant[], measured: Measurement, readRate: number | null): CaseResult {
  const work = flops(c);
  const bytes = 4 * c.dim * c.batch * (2 * c.headsQ * c.queries + 2 * c.headsKv * c.keys);
  const first = measured.timings[0]!.samples;
  return {
    suite: c.suite,
    label: c.label,
    queries: c.queries,
    keys: c.keys,
    dim: c.dim,
    flops: work,
    peakGflops: median(measured.peaks) / 1e9,
    ...(readRate === null ? {} : { readGBs: readRate / 1e9 }),
    drift: measured.drift,
    noisy: measured.noisy,
    contestants: measured.timings.map(({ name, samples, fractions }, index): ContestantResult => {
      const { unlike, share } = list[index]!;
      const ms = summarise(samples);
      return {
        name,
        ...(unlike === undefined ? {} : { unlike }),
        share,
        ms,
        gflops: work / ms.median / 1e6,
        fractionOfPeak: median(fractions),
        timesOurs: median(samples.map((sample, repeat) => sample / first[repeat]!)),
        ...(readRate === null ? {} : { fractionOfRead: bytes / (ms.median / 1000) / readRate }),
        samples,
      };
    }),
  };
}

/** Bytes a second, read the way a decode reads: one pass over memory that no cache holds. */
function readBandwidth(settings: Settings): number {
  const array = new Float32Array(32 * 2 ** 20).fill(1);
  const { isa, threads } = settings;
  return median(Array.from({ length: 5 }, () => yardsticks.read(isa, threads, array, READ_MS)));
}

export async function runCase(c: Case, settings: Settings, done: number): Promise<CaseResult> {
  const { isa, threads, repeats, tries, progress } = settings;
  progress(done, `${c.suite}: checking`);
  const [inputs, list] = await contestants(c, threads);
  await checkResults(c, inputs, list);
  const readRate = c.suite === 'decode' ? readBandwidth(settings) : null;
  const plan: Plan = {
    repeats,
    sampleMs: 20,
    warmUpMs: 100,
    flops: flops(c),
    peak: () => yardsticks.fma(isa, threads, PEAK_MS),
    progress: (what) => progress(done, `${c.suite}: ${what}`),
  };
  let measured = await measure(list, plan);
  for (let attempt = 1; measured.noisy && attempt < tries; attempt++) {
    const again = await measure(list, plan);
    if (again.drift < measured.drift) measured = again;
  }
  for (const contestant of list) await contestant.dispose?.();
  return result(c, list, measured, readRate);
}

/** Fails with the remedy when something that is measured is not there. */
export function requireBuilt(): void {
  const root = join(__dirname, '..');
  const needed = [
    [join(root, 'dist', 'index.js'), 'npm run build'],
    [join(root, 'node_modules', 'tsx'), 'npm ci'],
  ] as const;
  for (const [file, remedy] of needed) {
    if (!existsSync(file)) throw new Error(`${file} is missing: run \`${remedy}\` in the repository root first`);
  }
}
