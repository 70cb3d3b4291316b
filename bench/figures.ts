// The figures of a case from its timings, and of a whole run.
import { bytesOfKeysAndValues, flops, leastBytes, type Case, type Suite } from './case.js';
import type { Absent, Contestant } from './contestant.js';
import type { Machine } from './machine.js';
import { median, quantile, type Measurement, type Timing } from './measure.js';

export interface ContestantFigures {
  name: string;
  role: Contestant['role'];
  unlike?: string;
  /** Part of the work that was done; times are scaled to the whole. */
  share: number;
  threads: number;
  /** Milliseconds a call. */
  ms: { median: number; low: number; high: number };
  gflops: number;
  /** Median over the rounds of: useful operations a second over the peak measured just before, on as many threads. */
  fractionOfPeak: number;
  /** Median over the rounds of: bytes of keys and values a second over those read just before from the same memory. */
  fractionOfRead?: number;
  /** Median over the rounds of: this contestant's time for a unit of work over ours in the same round. */
  timesOurs: number;
  samples: number[];
}

export interface CaseFigures {
  suite: Suite;
  label: string;
  threads: number;
  headsKv: number;
  queries: number;
  keys: number;
  dim: number;
  dtype: Case['dtype'];
  random?: true;
  /** Of a score program: its text. */
  program?: string;
  flops: number;
  /** Of inputs and output, each once. */
  leastBytes: number;
  peakGflops: number;
  readGBs?: number;
  /** Spread of the peaks measured during the case, 10th to 90th percentile over their median; of the reads likewise. */
  drift: number;
  readDrift?: number;
  /** The worse of both over what is allowed; beyond 1 the case is noisy. */
  noise: number;
  noisy: boolean;
  contestants: ContestantFigures[];
  absent: Absent[];
  /** What went wrong, where there are no figures. */
  failed?: string;
}

export interface Run {
  date: string;
  command: string;
  machine: Machine;
  /** Instruction set of our kernels and of the peak. */
  isa: string;
  threads: number[];
  /** Of the random programs. */
  seed: number;
  seconds: number;
  versions: Record<string, string>;
  cases: CaseFigures[];
}

function contestantFigures(c: Case, contestant: Contestant, timing: Timing, ours: Timing, threads: number) {
  const { name, role, unlike, share, otherWork } = contestant;
  const all = flops(c);
  const work = otherWork?.flops ?? all;
  const { samples, peaks, reads } = timing;
  const ms = { median: median(samples), low: quantile(samples, 0), high: quantile(samples, 1) };
  const figures: ContestantFigures = {
    name,
    role,
    ...(unlike === undefined ? {} : { unlike }),
    share,
    threads: contestant.threads ?? threads,
    ms,
    gflops: work / ms.median / 1e6,
    fractionOfPeak: median(samples.map((sample, round) => work / (sample / 1000) / peaks[round]!)),
    timesOurs: median(samples.map((sample, round) => sample / work / (ours.samples[round]! / all))),
    samples,
  };
  if (reads.length > 0) {
    const bytes = bytesOfKeysAndValues(c);
    figures.fractionOfRead = median(samples.map((sample, round) => bytes / (sample / 1000) / reads[round]!));
  }
  return figures;
}

export function caseFigures(
  c: Case,
  contestants: readonly Contestant[],
  absent: readonly Absent[],
  measured: Measurement,
  threads: number,
): CaseFigures {
  const { timings, drift, readDrift, noise } = measured;
  const ours = timings[0]!;
  const { suite, label, headsKv, queries, keys, dim, dtype, program, random } = c;
  return {
    suite,
    label,
    threads,
    headsKv,
    queries,
    keys,
    dim,
    dtype,
    ...(random ? { random } : {}),
    ...(program === undefined ? {} : { program: program.source }),
    flops: flops(c),
    leastBytes: leastBytes(c),
    peakGflops: median(ours.peaks) / 1e9,
    ...(ours.reads.length === 0 ? {} : { readGBs: median(ours.reads) / 1e9, readDrift }),
    drift,
    noise,
    noisy: noise > 1,
    contestants: contestants.map((contestant, index) =>
      contestantFigures(c, contestant, timings[index]!, ours, threads),
    ),
    absent: [...absent],
  };
}

/** The figures of a case that could not be measured. */
export function failedCase(c: Case, threads: number, failed: string): CaseFigures {
  const { suite, label, headsKv, queries, keys, dim, dtype } = c;
  const nothing = {
    flops: flops(c),
    leastBytes: leastBytes(c),
    peakGflops: 0,
    drift: 0,
    noise: 0,
    noisy: false,
    contestants: [],
    absent: [],
  };
  return { suite, label, threads, headsKv, queries, keys, dim, dtype, ...nothing, failed };
}
