// Interleaved timing: in every round each contestant runs once, straight after a measurement of the machine's limits, so
// that slow phases of the machine hit everybody and a fraction of a limit compares neighbours in time.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Contestant } from './contestant.js';

export interface Timing {
  name: string;
  /** Milliseconds a call, one entry a round; scaled up for contestants that do a share of the work. */
  samples: number[];
  /** Operations a second, and bytes read a second, just before each sample; no bytes where reading is no limit. */
  peaks: number[];
  reads: number[];
}

export interface Measurement {
  timings: Timing[];
  /** Spread of the run's own peaks, 10th to 90th percentile over their median; of the reads where there are any. */
  drift: number;
  readDrift: number;
  /** The worse of both over what is allowed, 5 % and 15 %: beyond 1 the machine was not quiet. */
  noise: number;
}

export interface Plan {
  threads: number;
  /** At most so many rounds, at least MIN_ROUNDS, and as many between as fit into `budgetMs`. */
  rounds: number;
  budgetMs: number;
  /** Shorter calls are repeated within a sample until it lasts this long. */
  sampleMs: number;
  warmUpMs: number;
  peak: (threads: number) => number;
  read?: (threads: number) => number;
  progress: (name: string) => void;
}

const MIN_ROUNDS = 3;
const PEAK_DRIFT = 0.05;
const READ_DRIFT = 0.15;
/** Threads of other runtimes spin for a while after a call; nothing of ours is measured meanwhile. */
const SETTLE_MS = 4;

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.ceil(at);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low);
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

const spread = (values: readonly number[]): number =>
  values.length < 2 ? 0 : (quantile(values, 0.9) - quantile(values, 0.1)) / median(values);

/** Milliseconds a call, over `calls` calls. */
async function time(contestant: Contestant, calls: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < calls; i++) {
    const pending = contestant.run();
    if (pending !== undefined) await pending;
  }
  return (performance.now() - start) / calls;
}

/** Runs until compiled, cached and paged in; answers how many calls make a sample, and how long it lasts. */
async function warmUp(contestant: Contestant, plan: Plan): Promise<{ calls: number; ms: number }> {
  let calls = 1;
  let spent = 0;
  let last = 0;
  do {
    last = await time(contestant, calls);
    spent += last * calls;
    calls = Math.max(1, Math.min(1_000_000, Math.round(plan.sampleMs / Math.max(last, 1e-4))));
  } while (spent < plan.warmUpMs);
  return { calls, ms: last * calls };
}

/** Times contestants that have run once already, when their results were checked. */
export async function measure(contestants: readonly Contestant[], plan: Plan): Promise<Measurement> {
  const timings = contestants.map(({ name }): Timing => ({ name, samples: [], peaks: [], reads: [] }));
  const sizes: { calls: number; ms: number }[] = [];
  for (const contestant of contestants) {
    plan.progress(`${contestant.name}: warm-up`);
    sizes.push(await warmUp(contestant, plan));
  }
  const yardsticks = performance.now();
  plan.peak(plan.threads);
  plan.read?.(plan.threads);
  const yardstickMs = performance.now() - yardsticks;
  const steady = contestants.flatMap(({ slow }, index) => (slow ? [] : [sizes[index]!.ms + yardstickMs]));
  const roundMs = steady.reduce((sum, ms) => sum + ms, 0);
  const rounds = Math.max(MIN_ROUNDS, Math.min(plan.rounds, Math.floor(plan.budgetMs / roundMs)));
  for (let round = 0; round < rounds; round++) {
    for (const [index, contestant] of contestants.entries()) {
      if (contestant.slow && round >= MIN_ROUNDS) continue;
      plan.progress(contestant.name);
      if (plan.threads > 1) await sleep(SETTLE_MS);
      const threads = contestant.threads ?? plan.threads;
      const timing = timings[index]!;
      timing.peaks.push(plan.peak(threads));
      if (plan.read !== undefined) timing.reads.push(plan.read(threads));
      timing.samples.push((await time(contestant, sizes[index]!.calls)) / contestant.share);
    }
  }
  const own = timings.filter((_, index) => (contestants[index]!.threads ?? plan.threads) === plan.threads);
  const drift = spread(own.flatMap(({ peaks }) => peaks));
  const readDrift = spread(own.flatMap(({ reads }) => reads));
  return { timings, drift, readDrift, noise: Math.max(drift / PEAK_DRIFT, readDrift / READ_DRIFT) };
}
