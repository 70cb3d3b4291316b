// npm run bench -- [--only prefill,causal|bars] [--match 'N 2048'] [--threads 1,2] [--isa avx2] [--rounds 9] [--tries 3]
//                  [--minutes 14] [--seed 1] [--quick] [--publish]
//
// Prints tables and writes JSON to bench/results/; --publish keeps a whole run in bench/figures, bench/plots and
// bench/README.md. A wrong result, a failing case or a peer that fails ends with exit status 1, after all has been said.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SingleBar } from 'cli-progress';
import { isForBars } from './bars.js';
import { SUITES, type Case, type Suite } from './case.js';
import { failedCase, type CaseFigures, type Run } from './figures.js';
import { machine } from './machine.js';
import { publish, saveJson } from './publish.js';
import { requireBuilt } from './require-built.js';
import { threadsText, toMarkdown } from './report.js';
import { allCases } from './suites/index.js';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string' },
    match: { type: 'string', default: '' },
    threads: { type: 'string' },
    isa: { type: 'string' },
    rounds: { type: 'string' },
    tries: { type: 'string' },
    minutes: { type: 'string' },
    seed: { type: 'string' },
    quick: { type: 'boolean', default: false },
    publish: { type: 'boolean', default: false },
  },
});

const BUDGET_MS = 2500;

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (text !== '' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Error(`--${name}: expected a whole number ${least} to ${most} but received '${text}'`);
}

/** null for the cases of the bars. */
function wantedSuites(text: string | undefined): readonly Suite[] | null {
  if (text === undefined) return SUITES;
  if (text === 'bars') return null;
  return text.split(',').map((name) => {
    const suite = SUITES.find((known) => known === name);
    if (suite === undefined)
      throw new Error(`--only: expected some of ${SUITES.join()}, or bars, but received '${name}'`);
    return suite;
  });
}

const quoted = (word: string): string => (/^[\w,.=-]+$/.test(word) ? word : `'${word}'`);

function version(name: string): string {
  return (require(`${name}/package.json`) as { version: string }).version;
}

interface Job {
  case: Case;
  threads: number;
}

async function main(): Promise<void> {
  const most = Math.min(2, availableParallelism());
  const threads = (flags.threads ?? (most === 1 ? '1' : '1,2'))
    .split(',')
    .map((text) => wholeNumber('threads', text, 1, 1024));
  const rounds = wholeNumber('rounds', flags.rounds ?? (flags.quick ? '3' : '9'), 3, 1000);
  const tries = wholeNumber('tries', flags.tries ?? (flags.quick ? '1' : '3'), 1, 100);
  const minutes = wholeNumber('minutes', flags.minutes ?? (flags.only === 'bars' ? '9' : '14'), 1, 10_000);
  const seed = wholeNumber('seed', flags.seed ?? String(Date.now() % 1_000_000), 0, 2 ** 32 - 1);
  const suites = wantedSuites(flags.only);
  const partial = flags.quick || flags.only !== undefined || flags.match !== '' || flags.threads !== undefined;
  if (flags.publish && partial) {
    throw new Error('--publish keeps whole runs: leave out --quick, --only, --match and --threads');
  }
  requireBuilt();
  // Both before the library is loaded: it reads its environment once.
  if (flags.isa !== undefined) process.env['FUSED_ATTENTION_ISA'] = flags.isa;
  process.env['FUSED_ATTENTION_THREADS'] = String(Math.max(...threads));
  const { chosenIsa } = await import('./ours.js');
  const isa = chosenIsa(Math.max(...threads));
  if (flags.isa !== undefined && isa !== flags.isa) throw new Error(`--isa ${flags.isa}: the library runs ${isa}`);
  const { runCase } = await import('./run-case.js');

  const jobs = threads.flatMap((count) =>
    allCases(seed, flags.quick)
      .filter((c) => (suites === null ? isForBars(c, count) : suites.includes(c.suite)))
      .filter(({ label }) => label.includes(flags.match))
      .map((c): Job => ({ case: c, threads: count })),
  );
  if (jobs.length === 0) throw new Error(`no case of ${flags.only ?? 'any suite'} has '${flags.match}' in its label`);
  const here = machine();
  console.log(`random programs of seed ${seed}; ${jobs.length} cases`);
  if (here.load > 0.5) console.log(`the machine is busy: ${here.load} processes ran in the minute before`);

  const started = performance.now();
  const bar = new SingleBar({ format: '{bar} {value}/{total} {duration_formatted} {what}', noTTYOutput: false });
  bar.start(jobs.length, 0, { what: '' });
  const attempt = async (job: Job, what: string): Promise<CaseFigures> => {
    const title = `${what}${job.case.suite}, ${job.case.label}, ${threadsText(job.threads)}`;
    const progress = (doing: string): void => bar.update({ what: `${title}: ${doing}` });
    try {
      const barsOnly = suites === null;
      const budgetMs = flags.quick ? 500 : BUDGET_MS;
      return await runCase(job.case, { isa, threads: job.threads, rounds, budgetMs, barsOnly, progress });
    } catch (error) {
      return failedCase(job.case, job.threads, error instanceof Error ? error.message : String(error));
    }
  };
  const results: CaseFigures[] = [];
  let interrupted = false;
  process.once('SIGINT', () => {
    interrupted = true;
    bar.update({ what: 'interrupted: what is measured so far is told after this case' });
  });
  try {
    for (const job of jobs) {
      if (interrupted) break;
      results.push(await attempt(job, ''));
      bar.increment();
    }
    // Noise comes in spells: what was noisy is measured again at the end, as long as there is time; the quietest counts.
    const over = (): boolean => interrupted || performance.now() - started > minutes * 60_000;
    for (let again = 2; again <= tries; again++) {
      for (const [index, before] of results.entries()) {
        if (!before.noisy || over()) continue;
        const repeated = await attempt(jobs[index]!, `try ${again}: `);
        if (repeated.failed !== undefined || repeated.noise < before.noise) results[index] = repeated;
      }
    }
    bar.update({ what: 'done' });
  } finally {
    bar.stop();
  }

  const run: Run = {
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    command: ['npm run bench --', ...process.argv.slice(2).map(quoted)].join(' ').replace(/ --$/, ''),
    machine: here,
    isa,
    threads,
    seed,
    seconds: (performance.now() - started) / 1000,
    versions: {
      'fused-attention': version('..'),
      'onnxruntime-node': version('onnxruntime-node'),
      '@tensorflow/tfjs-backend-wasm': version('@tensorflow/tfjs-backend-wasm'),
      '@ruvector/attention': version('@ruvector/attention'),
    },
    cases: results,
  };
  console.log(`\n${toMarkdown(run)}\n`);
  console.log(`JSON: ${saveJson(run, join(__dirname, 'results'))}`);
  if (interrupted) throw new Error('interrupted: not all was measured');
  if (flags.publish) await publish(run);
  const broken = results.filter(({ failed, absent }) => failed !== undefined || absent.some((one) => one.broken));
  for (const { suite, label, failed, absent } of broken) {
    const peers = absent.filter((one) => one.broken).map(({ name, absent: why }) => `${name} ${why}`);
    console.error(`${suite}, ${label}: ${failed ?? peers.join('; ')}`);
  }
  if (broken.length > 0) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
