// Builds every mutant of the kernels in a copy of the sources and runs a fast cut of the grid against it. A mutant that
// survives, does not compile, or is no longer found in the sources is a failure; so is a grid that fails unmutated kernels.
//   npm run test:mutants [-- pattern of names]

import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '../../lib/native.cjs';
import { mutants, type Mutant } from './list.js';

const root = join(__dirname, '..', '..');
const copy = mkdtempSync(join(tmpdir(), 'fused-attention-mutants-'));

/**
 * Less to compile: only the instruction set that the grid runs on, the others being as where a compiler lacks them, and
 * with fewer optimisations.
 */
function makeQuick(): void {
  const lists = join(copy, 'CMakeLists.txt');
  writeFileSync(lists, readFileSync(lists, 'utf8').replace('-O3', '-O1'));
  const { isa } = loadNative().info();
  for (const target of ['portable', 'sse4', 'avx2', 'avx512', 'neon']) {
    if (target === isa) continue;
    const nothing = `const Kernels* ${target}Kernels() { return nullptr; }`;
    const text = `#include "../kernels.h"\nnamespace fused_attention {\n${nothing}\n}\n`;
    writeFileSync(join(copy, 'native', 'cpu', 'targets', `${target}.cc`), text);
  }
}

function build(): boolean {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/build.mjs', 'addon'], {
    cwd: copy,
    encoding: 'utf8',
  });
  if (status !== 0) console.log(stdout, stderr);
  return status === 0;
}

/** The grid's last line, and whether it passed. A crash or a hang is a failure as well. */
function runGrid(): { passed: boolean; line: string } {
  const { status, signal, stdout } = spawnSync(process.execPath, ['--require=tsx/cjs', join(__dirname, 'grid.ts')], {
    cwd: root,
    encoding: 'utf8',
    timeout: 600_000,
    env: { ...process.env, FUSED_ATTENTION_NATIVE_PATH: join(copy, 'build', 'Release', 'fused_attention.node') },
  });
  const line = stdout.trim().split('\n')[0] ?? '';
  return { passed: status === 0, line: signal === null ? line : `ended by ${signal}` };
}

/** The source with the mutation, or what is wrong with the search. */
function mutate({ search, replacement }: Mutant, source: string): string | Error {
  const parts = source.split(search);
  if (parts.length !== 2) return new Error(`'${search}' occurs ${parts.length - 1} times`);
  return parts.join(replacement);
}

function test(mutant: Mutant): string | null {
  const path = join(copy, mutant.file);
  const source = readFileSync(path, 'utf8');
  const mutated = mutate(mutant, source);
  if (mutated instanceof Error) return mutated.message;
  writeFileSync(path, mutated);
  try {
    if (!build()) return 'does not compile';
    const { passed, line } = runGrid();
    console.log(`  ${line.slice(0, 150)}`);
    return passed ? 'survives the grid' : null;
  } finally {
    writeFileSync(path, source);
  }
}

function main(): void {
  const only = new RegExp(process.argv[2] ?? '');
  const chosen = mutants.filter(({ name }) => only.test(name));
  for (const part of ['CMakeLists.txt', 'package.json', 'native', 'scripts', 'test/native']) {
    cpSync(join(root, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  makeQuick();
  let failed = 0;
  const asTheyAre = build() ? runGrid() : { passed: false, line: 'does not compile' };
  if (!asTheyAre.passed) {
    console.log(`FAILED: the kernels as they are (${asTheyAre.line})`);
    failed = 1;
  }
  for (const mutant of failed > 0 ? [] : chosen) {
    const start = Date.now();
    const wrong = test(mutant);
    if (wrong !== null) failed++;
    console.log(
      `${wrong === null ? 'caught' : `FAILED (${wrong})`}: ${mutant.name}, ${((Date.now() - start) / 1000).toFixed(1)} s`,
    );
  }
  console.log(`${asTheyAre.passed ? chosen.length + 1 - failed : 0} passed, ${failed} failed`);
  process.exitCode = failed > 0 || chosen.length === 0 ? 1 : 0;
}

try {
  main();
} finally {
  rmSync(copy, { recursive: true, force: true });
}
