// Interleaved timing: in every repeat each contestant runs once, straight after a measurement of the peak, so that slow
// phases of the machine hit everybody and a fraction of peak compares neighbours in time.
import type { Contestant } from './contestant.js';

export interface Timing {
  name: string;
  /** Milliseconds a call, one entry a repeat; scaled up for contestants that do a share of the work. */
  samples: number[];
  /** samples[r] · flops over the peak measured before it. */
  fractions: number[];
}

export interface Measurement {
  timings: Timing[];
  /** Operations a second, in the order measured. */
  peaks: number[];
  /** Spread of the peaks, 10th to 90th percentile over their median. */
  drift: number;
  /** More than 5 % drift: the machine was not quiet. */
  noisy: boolean;
}

export interface Plan {
  repeats: number;
  /** Shorter calls are repeated within a sample until it lasts this long. */
  sampleMs: number;
  warmUpMs: number;
  /** Useful operations of a call. */
  flops: number;
  peak: () => number;
  progress: (name: string) => void;
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.ceil(at);
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low);
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Milliseconds a call, over `calls` calls. */
async function time(contestant: Contestant, calls: number): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < calls; i++) {
    const pending = contestant.run();
    if (pending !== undefined) await pending;
  }
  return (performance.now() - start) / calls;
}

/** Runs until compiled, cached and paged in; answers how many calls make a sample. */
async function warmUp(contestant: Contestant, plan: Plan): Promise<number> {
  let calls = 1;
  let spent = 0;
  let last = 0;
  for (let round = 0; round < 2 || spent < plan.warmUpMs; round++) {
    last = await time(contestant, calls);
    spent += last * calls;
    calls = Math.max(1, Math.min(1_000_000, Math.round(plan.sampleMs / Math.max(last, 1e-4))));
  }
  return calls;
}

export async function measure(contestants: readonly Contestant[], plan: Plan): Promise<Measurement> {
  const timings = contestants.map(({ name }): Timing => ({ name, samples: [], fractions: [] }));
  const calls: number[] = [];
  for (const contestant of contestants) {
    plan.progress(`${contestant.name}: warm-up`);
    calls.push(await warmUp(contestant, plan));
  }
  plan.peak();
  const peaks: number[] = [];
  for (let repeat = 0; repeat < plan.repeats; repeat++) {
    for (const [index, contestant] of contestants.entries()) {
      plan.progress(contestant.name);
      const peak = plan.peak();
      const milliseconds = (await time(contestant, calls[index]!)) / contestant.share;
      peaks.push(peak);
      timings[index]!.samples.push(milliseconds);
      timings[index]!.fractions.push(plan.flops / (milliseconds / 1000) / peak);
    }
  }
  const drift = (quantile(peaks, 0.9) - quantile(peaks, 0.1)) / median(peaks);
  return { timings, peaks, drift, noisy: drift > 0.05 };
}
