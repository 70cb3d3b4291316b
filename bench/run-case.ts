// Runs a case: builds the contestants, checks their results, times them against each other.
import type { Case } from './case.js';
import { checkResults } from './check.js';
import { isAbsent, type Absent, type Contestant } from './contestant.js';
import { caseFigures, type CaseFigures } from './figures.js';
import { makeLayers, type Inputs } from './inputs.js';
import { measure } from './measure.js';
import { peersOf } from './peers/index.js';
import { yardsticks } from './peers/peak.js';

export interface Settings {
  isa: string;
  threads: number;
  rounds: number;
  /** Milliseconds for the rounds of a case. */
  budgetMs: number;
  /** Only the contestants that a bar needs. */
  barsOnly: boolean;
  progress: (what: string) => void;
}

const PEAK_MS = 7;
const READ_MS = 15;

/** Contestants of one cache each as one that goes to the next in every call; it is checked on the first. */
function inTurn(each: readonly Contestant[]): Contestant {
  let calls = 0;
  const first = each[0]!;
  return {
    ...first,
    run: () => each[calls++ % each.length]!.run(),
    row: first.row,
    async dispose() {
      for (const one of each) await one.dispose?.();
    },
  };
}

async function candidatesOf(
  c: Case,
  layers: readonly Inputs[],
  threads: number,
  barsOnly: boolean,
): Promise<(Contestant | Absent)[]> {
  const ours = await import('./ours.js');
  const fewPeers = barsOnly || layers.length > 1;
  const lists: (Contestant | Absent)[][] = [];
  for (const inputs of layers) {
    lists.push([
      ours.ours(c, inputs, threads),
      ...ours.references(c, inputs, threads),
      ...(await peersOf(c, inputs, threads, fewPeers)),
    ]);
  }
  if (layers.length === 1) return lists[0]!;
  const merged = lists[0]!.map((one, index) => {
    const each = lists.map((list) => list[index]!);
    const absent = each.find(isAbsent);
    return isAbsent(one) || absent !== undefined ? (absent ?? one) : inTurn(each as Contestant[]);
  });
  const left = barsOnly
    ? []
    : [{ name: 'tfjs-backend-wasm, @ruvector/attention, plain JavaScript', absent: 'see decode' }];
  return [...(merged as (Contestant | Absent)[]), ...left];
}

export async function runCase(c: Case, settings: Settings): Promise<CaseFigures> {
  const { isa, threads, rounds, budgetMs, barsOnly, progress } = settings;
  progress('checking');
  const layers = makeLayers(c);
  const inputs = layers[0]!;
  const candidates = await candidatesOf(c, layers, threads, barsOnly);
  const absent: Absent[] = candidates.filter(isAbsent);
  const present = candidates.filter((one): one is Contestant => !isAbsent(one));
  try {
    const wrong = await checkResults(c, inputs, present);
    for (const [{ name, role }, what] of wrong) {
      if (role !== 'peer') throw new Error(`${name}: ${what}`);
      absent.push({ name, absent: `fails here: ${what}`, broken: true });
    }
    const list = present.filter((one) => !wrong.has(one));
    const measured = await measure(list, {
      threads,
      rounds,
      budgetMs,
      sampleMs: 20,
      warmUpMs: 60,
      // Whatever disturbs a peak makes it lower: two threads that begin on one core, for instance.
      peak: (members) => Math.max(yardsticks.fma(isa, members, PEAK_MS), yardsticks.fma(isa, members, PEAK_MS)),
      // A window's keys stay in the nearest of the processor's caches: no read of all of them says anything about it.
      ...((c.suite === 'decode' || c.suite === 'layers') && c.mask.kind === 'full'
        ? {
            read: (members: number) =>
              Math.max(
                yardsticks.read(isa, members, inputs.cache, READ_MS),
                yardsticks.read(isa, members, inputs.cache, READ_MS),
              ),
          }
        : {}),
      progress,
    });
    return caseFigures(c, list, absent, measured, threads);
  } finally {
    for (const contestant of present) await contestant.dispose?.();
  }
}
