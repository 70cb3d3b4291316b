// Runs a case: builds the contestants, checks their results, times them against each other.
import type { Case } from './case.js';
import { checkResults } from './check.js';
import { isAbsent, type Absent, type Contestant } from './contestant.js';
import { caseFigures, type CaseFigures } from './figures.js';
import { makeInputs } from './inputs.js';
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

const PEAK_MS = 10;
const READ_MS = 20;

export async function runCase(c: Case, settings: Settings): Promise<CaseFigures> {
  const { isa, threads, rounds, budgetMs, barsOnly, progress } = settings;
  progress('checking');
  const ours = await import('./ours.js');
  const inputs = makeInputs(c);
  const candidates = [
    ours.fusedAttention(c, inputs, threads),
    ...ours.references(c, inputs, threads),
    ...(await peersOf(c, inputs, threads, barsOnly)),
  ];
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
      peak: (members) => yardsticks.fma(isa, members, PEAK_MS),
      ...(c.suite === 'decode'
        ? { read: (members: number) => yardsticks.read(isa, members, inputs.cache, READ_MS) }
        : {}),
      progress,
    });
    return caseFigures(c, list, absent, measured, threads);
  } finally {
    for (const contestant of present) await contestant.dispose?.();
  }
}
