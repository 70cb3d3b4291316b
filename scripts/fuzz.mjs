// Fuzzes what the addon decodes, under AddressSanitizer and UndefinedBehaviorSanitizer, with clang's libFuzzer:
//   node scripts/fuzz.mjs [seconds = 60] [problem | program]     each target so long, or one
// CXX chooses the compiler (clang++-19, else clang++). The corpus grows in build-fuzz/corpus, from seeds that lib/ encodes;
// a finding is left in build-fuzz and fails the run.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = join(root, 'build-fuzz');
const [seconds = '60', only] = process.argv.slice(2);
if (!/^[1-9]\d*$/.test(seconds) || ![undefined, 'problem', 'program'].includes(only)) {
  console.error('usage: node scripts/fuzz.mjs [seconds] [problem | program]');
  process.exit(2);
}
const targets = only === undefined ? ['problem', 'program'] : [only];

function run(command, ...line) {
  const { status, error } = spawnSync(command, line, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (error) throw error;
  return status === 0;
}

const answers = (name) => spawnSync(name, ['--version']).status === 0;
const compiler = process.env['CXX'] ?? ['clang++-19', 'clang++'].find(answers);
if (compiler === undefined) {
  console.error('fuzzing needs clang with libFuzzer (Debian: clang-19 libclang-rt-19-dev), or CXX');
  process.exit(2);
}

const options = [`-DCMAKE_CXX_COMPILER=${compiler}`, '-DFUSED_ATTENTION_FUZZ=ON', '-G', 'Unix Makefiles'];
const jobs = String(availableParallelism());
const built =
  (existsSync(join(folder, 'CMakeCache.txt')) || run('cmake', '-S', '.', '-B', folder, ...options)) &&
  run('cmake', '--build', folder, '--parallel', jobs, '--target', ...targets.map((target) => `fuzz_${target}`));
if (!built) process.exit(1);

const seeds = join(folder, 'seeds');
if (!run(process.execPath, '--require=tsx/cjs', 'test/fuzz/seeds.ts', seeds)) process.exit(1);

let failed = 0;
for (const target of targets) {
  const corpus = join(folder, 'corpus', target);
  mkdirSync(corpus, { recursive: true });
  const found = `-artifact_prefix=${folder}/${target}-`;
  const limits = [
    '-max_len=16384',
    '-timeout=30',
    '-rss_limit_mb=3072',
    '-malloc_limit_mb=1024',
    '-print_final_stats=1',
  ];
  const line = [`-max_total_time=${seconds}`, ...limits, found, corpus, join(seeds, target)];
  if (!run(join(folder, `fuzz_${target}`), ...line)) failed += 1;
}
console.log(`${targets.length - failed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
