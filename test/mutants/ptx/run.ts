// Mutates the kernels that the addon embeds, one line of their PTX at a time, and runs each mutant in the interpreter of
// test/ptx. One that survives fails, unless explained.ts says why nothing can tell it from the kernel; so does one that is
// killed though it does.
//   npm run test:ptx-mutants                      one instance of each kernel
//   npm run test:ptx-mutants -- --all             all of them
//   npm run test:ptx-mutants -- --kernel NAME     one of them
//   npm run test:ptx-mutants -- --rule NAME       mutants of one rule
//   npm run test:ptx-mutants -- --minutes 4       as many as there is time for, in an order that the commit decides

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { whyNoInterpreter } from '../../helpers/interpreter.js';
import { Random } from '../../reference/random.js';
import { runBatch, type Schedule, type Verdict } from './batch.js';
import { explained } from './explained.js';
import { kernelsOf, keyOf, mutantsOf, ruleNames, type Kernel, type Mutant } from './rules.js';

const root = join(__dirname, '..', '..', '..');

/** What the build embeds. */
const embedded = join(root, 'build', 'cuda', 'forward.ptx');

/** An instance of each kernel; all rules have lines in them. */
const usual = ['forward_f16_64', 'decode_f16_64', 'merge_f16'];

const schedules: readonly Schedule[] = [
  [0, 64],
  [1, 7],
  [2, 1000],
];

/** In a process: what it takes to start one is paid once for so many. */
const batchSize = 40;

const reasons = new Map(
  explained.flatMap(({ kernel, rule, ordinals, why }) =>
    ordinals.map((ordinal) => [keyOf({ kernel, rule, ordinal }), why] as const),
  ),
);

interface Tally {
  killed: number;
  explained: number;
  failed: number;
}

class Results {
  private readonly rules = new Map<string, Tally>(
    ruleNames.map((name) => [name, { killed: 0, explained: 0, failed: 0 }]),
  );
  private readonly means = new Map<string, number>();
  passed = 0;
  failed = 0;

  fail(message: string): void {
    this.failed += 1;
    console.log(`FAILED: ${message}`);
  }

  add(mutant: Mutant, { killed, broken, differs }: Verdict): void {
    const key = keyOf(mutant);
    const why = reasons.get(key);
    const tally = this.rules.get(mutant.rule)!;
    if (killed !== null) this.means.set(killed.by, (this.means.get(killed.by) ?? 0) + 1);
    if (broken === null && (killed === null) === (why !== undefined)) {
      this.passed += 1;
      tally[killed === null ? 'explained' : 'killed'] += 1;
      return;
    }
    tally.failed += 1;
    const verdict = broken ?? (killed ? `killed by ${killed.by} though explained: ${killed.detail}` : 'survives');
    const note = broken === null && killed === null && differs ? ', with other bits' : '';
    this.fail(`${key}: ${verdict}${note}\n  ${mutant.line}: ${mutant.before.trim()} -> ${mutant.after.trim()}`);
  }

  print(): void {
    for (const [rule, { killed, explained: known, failed }] of this.rules) {
      if (killed + known + failed > 0) console.log(`${rule}: ${killed} killed, ${known} explained, ${failed} failed`);
    }
    const means = [...this.means].sort(([, a], [, b]) => b - a).map(([by, count]) => `${by} ${count}`);
    console.log(`killed by: ${means.join(', ')}`);
  }
}

/** Runs mutants of one kernel under a schedule, and returns what came of each. */
async function judge(mutants: readonly Mutant[], schedule: Schedule, results: Results): Promise<[Mutant, Verdict][]> {
  const { kernel } = mutants[0]!;
  const [whole, ...verdicts] = await runBatch(kernel, mutants, schedule);
  if (whole!.killed ?? whole!.broken) {
    throw new Error(`${kernel} as it is: ${whole!.broken ?? whole!.killed!.detail}`);
  }
  const judged = verdicts.map((verdict, n): [Mutant, Verdict] => [mutants[n]!, verdict]);
  if (verdicts.length === mutants.length) return judged;
  results.fail(`${keyOf(mutants[verdicts.length]!)} ends the interpreter`);
  const left = mutants.slice(verdicts.length + 1);
  return left.length === 0 ? judged : [...judged, ...(await judge(left, schedule, results))];
}

/** Runs batches until there is none left or the time is over; a batch for each processor at a time. */
async function judgeAll(
  batches: Mutant[][],
  schedule: Schedule,
  end: number,
  results: Results,
): Promise<[Mutant, Verdict][]> {
  const judged: [Mutant, Verdict][] = [];
  const work = async () => {
    while (batches.length > 0 && Date.now() < end) judged.push(...(await judge(batches.shift()!, schedule, results)));
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
  return judged;
}

/** Each of one kernel. */
function batchesOf(mutants: readonly Mutant[]): Mutant[][] {
  const kernels = [...new Set(mutants.map(({ kernel }) => kernel))].map((name) =>
    mutants.filter(({ kernel }) => kernel === name),
  );
  return kernels.flatMap((own) =>
    Array.from({ length: Math.ceil(own.length / batchSize) }, (_, n) => own.slice(n * batchSize, (n + 1) * batchSize)),
  );
}

/** Explanations and rules that there are no mutants of. */
function checkLists(kernels: readonly Kernel[], results: Results): void {
  const mutants = kernels.flatMap(mutantsOf);
  const keys = new Set(mutants.map(keyOf));
  for (const key of reasons.keys()) if (!keys.has(key)) results.fail(`${key} is explained, and there is none`);
  const rules = new Set(mutants.map(({ rule }) => rule));
  for (const rule of ruleNames) if (!rules.has(rule)) results.fail(`${rule}: no line of any kernel`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string' },
      kernel: { type: 'string' },
      rule: { type: 'string' },
      all: { type: 'boolean', default: false },
    },
  });
  const missing = whyNoInterpreter();
  if (missing !== null) throw new Error(missing);
  const end = values.minutes === undefined ? Infinity : Date.now() + 60_000 * Number(values.minutes);
  const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' });
  const kernels = kernelsOf(readFileSync(embedded, 'utf8'));
  const names = values.kernel !== undefined ? [values.kernel] : values.all ? kernels.map(({ name }) => name) : usual;
  const results = new Results();
  checkLists(kernels, results);
  const chosen = kernels.filter(({ name }) => names.includes(name));
  if (chosen.length < names.length) results.fail(`of ${names.join(', ')} the build has ${chosen.length}`);
  const random = new Random(Number.parseInt(commit.slice(0, 8), 16));
  const rule = new RegExp(values.rule ?? '', 'u');
  const mutants = chosen.flatMap(mutantsOf).filter((mutant) => rule.test(mutant.rule));
  const left = random.shuffle(batchesOf(random.shuffle(mutants)));
  let batches = left;
  for (const [n, schedule] of schedules.entries()) {
    const judged = await judgeAll(batches, schedule, n === 0 ? end : Infinity, results);
    const last = n + 1 === schedules.length;
    const survives = ({ killed, broken }: Verdict) => killed === null && broken === null;
    for (const [mutant, verdict] of judged) if (last || !survives(verdict)) results.add(mutant, verdict);
    batches = batchesOf(judged.flatMap(([mutant, verdict]) => (survives(verdict) ? [mutant] : [])));
  }
  results.print();
  if (left.length > 0) console.log(`no time for ${left.flat().length} of ${mutants.length}`);
  console.log(`${results.passed} passed, ${results.failed} failed`);
  process.exitCode = results.failed > 0 || results.passed === 0 ? 1 : 0;
}

void main();
