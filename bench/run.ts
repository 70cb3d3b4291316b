// npm run bench -- [--only prefill,causal] [--match 'N 2048'] [--threads 1] [--isa avx2] [--repeats 9] [--tries 3] [--quick]
//                  [--publish]
//
// Prints tables and writes JSON to bench/results/; --publish keeps the run in bench/figures, bench/plots and
// bench/README.md. Any missing peer, wrong result or failing case ends with exit status 1.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SingleBar } from 'cli-progress';
import { cases, SUITES, type Suite } from './cases.js';
import { machine } from './machine.js';
import { publish, saveJson } from './publish.js';
import { toMarkdown, type CaseResult, type Run } from './report.js';

const { values: flags } = parseArgs({
  options: {
    only: { type: 'string' },
    match: { type: 'string', default: '' },
    threads: { type: 'string', default: '1' },
    isa: { type: 'string' },
    repeats: { type: 'string' },
    tries: { type: 'string' },
    quick: { type: 'boolean', default: false },
    publish: { type: 'boolean', default: false },
  },
});

function wholeNumber(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new Error(`--${name}: expected a whole number ${least} to ${most} but received '${text}'`);
}

function wantedSuites(text: string | undefined): readonly Suite[] {
  if (text === undefined) return SUITES;
  return text.split(',').map((name) => {
    const suite = SUITES.find((known) => known === name);
    if (suite === undefined) throw new Error(`--only: expected some of ${SUITES.join()} but received '${name}'`);
    return suite;
  });
}

const quoted = (word: string): string => (/^[\w,.=-]+$/.test(word) ? word : `'${word}'`);

function version(name: string): string {
  return (require(name) as { version: string }).version;
}

async function main(): Promise<void> {
  const threads = wholeNumber('threads', flags.threads, 1, 1024);
  const repeats = wholeNumber('repeats', flags.repeats ?? (flags.quick ? '3' : '9'), 1, 1000);
  const tries = wholeNumber('tries', flags.tries ?? (flags.quick ? '1' : '3'), 1, 100);
  const suites = wantedSuites(flags.only);
  if (flags.publish && (flags.quick || flags.only !== undefined || flags.match !== '')) {
    throw new Error('--publish keeps whole runs: leave out --quick, --only and --match');
  }
  // Both before the library is loaded: it reads its environment once.
  if (flags.isa !== undefined) process.env['FUSED_ATTENTION_ISA'] = flags.isa;
  process.env['FUSED_ATTENTION_THREADS'] = String(threads);
  const { requireBuilt, runCase } = await import('./suite.js');
  requireBuilt();
  const { chosenIsa } = await import('./ours.js');
  const isa = chosenIsa(threads);
  if (flags.isa !== undefined && isa !== flags.isa) throw new Error(`--isa ${flags.isa}: the library runs ${isa}`);

  const wanted = cases(flags.quick).filter(({ suite, label }) => suites.includes(suite) && label.includes(flags.match));
  if (wanted.length === 0) throw new Error(`--match: no case of ${suites.join()} has '${flags.match}' in its label`);
  const bar = new SingleBar({ format: '{bar} {value}/{total} {what}', noTTYOutput: false, etaBuffer: 4 });
  bar.start(wanted.length, 0, { what: '' });
  const results: CaseResult[] = [];
  const progress = (done: number, what: string): void => bar.update(done, { what });
  try {
    for (const [done, c] of wanted.entries()) {
      results.push(await runCase(c, { isa, threads, repeats, tries, progress }, done));
    }
    bar.update(wanted.length, { what: 'done' });
  } finally {
    bar.stop();
  }

  const run: Run = {
    date: new Date().toISOString().slice(0, 16).replace('T', ' '),
    command: ['npm run bench --', ...process.argv.slice(2).map(quoted)].join(' ').replace(/ --$/, ''),
    machine: machine(),
    isa,
    threads,
    versions: {
      'fused-attention': version('../package.json'),
      'onnxruntime-node': version('onnxruntime-node/package.json'),
    },
    cases: results,
  };
  console.log(`\n${toMarkdown(run)}\n`);
  console.log(`JSON: ${saveJson(run, join(__dirname, 'results'))}`);
  if (flags.publish) await publish(run);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
