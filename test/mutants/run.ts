// Builds every mutant of the kernels in a copy of the sources and runs a fast cut of the grid against it. A mutant that
// survives, does not compile, or is no longer found in the sources is a failure; so is a grid that fails unmutated kernels.
// A copy for each processor, whose mutants are built and run one after the other; a single one where time is short, as
// each costs a build before its first mutant.
//   npm run test:mutants [-- pattern of names]
//   npm run test:mutants -- --minutes 10    as many as there is time for once the kernels as they are have passed, from one
//                                           on that the commit decides

import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { loadNative } from '../../lib/native.cjs';
import { mutants, type Mutant } from './list.js';

const root = join(__dirname, '..', '..');

/** What came of a mutant: null when it was caught. */
interface Verdict {
  readonly wrong: string | null;
  /** The grid's last line. */
  readonly line: string;
}

interface Ending {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

async function run(parameters: readonly string[], cwd: string, env: NodeJS.ProcessEnv = process.env): Promise<Ending> {
  const child = spawn(process.execPath, parameters, { cwd, env, timeout: 600_000, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => resolve([status, signal]));
  });
  const [output, errors, [status, signal]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { status, signal, output: status === 0 ? output : `${output}${errors}` };
}

/** A copy of the sources, which holds one mutant at a time. */
class Copy {
  private readonly folder = mkdtempSync(join(tmpdir(), 'fused-attention-mutants-'));

  constructor() {
    for (const part of ['CMakeLists.txt', 'package.json', 'cuda', 'native', 'scripts', 'test/native']) {
      cpSync(join(root, part), join(this.folder, part), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'));
    this.makeQuick();
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /**
   * Less to compile: only the instruction set that the grid runs on, the others being as where a compiler lacks them,
   * with fewer optimisations, and no kernels of other devices.
   */
  private makeQuick(): void {
    this.edit('CMakeLists.txt', '-O3', '-O1');
    this.edit('cuda/kernels.cmake', '" ON)', '" OFF)');
    const { isa } = loadNative().info();
    for (const target of ['portable', 'sse4', 'avx2', 'avx512', 'neon']) {
      if (target === isa) continue;
      const nothing = `const Kernels* ${target}Kernels() { return nullptr; }`;
      const source = `#include "../kernels.h"\nnamespace fused_attention {\n${nothing}\n}\n`;
      writeFileSync(join(this.folder, 'native', 'cpu', 'targets', `${target}.cc`), source);
    }
  }

  private edit(file: string, search: string, replacement: string): void {
    const path = join(this.folder, file);
    writeFileSync(path, readFileSync(path, 'utf8').replace(search, replacement));
  }

  async build(): Promise<boolean> {
    const { status, output } = await run(['scripts/build.mjs', 'addon'], this.folder);
    if (status !== 0) console.log(output);
    return status === 0;
  }

  /** Whether the grid passes, and its last line. A crash or a hang is a failure as well. */
  async runGrid(): Promise<{ passed: boolean; line: string }> {
    const addon = join(this.folder, 'build', 'Release', 'fused_attention.node');
    const grid = ['--require=tsx/cjs', join(__dirname, 'grid.ts')];
    const { status, signal, output } = await run(grid, root, { ...process.env, FUSED_ATTENTION_NATIVE_PATH: addon });
    const line = output.trim().split('\n')[0] ?? '';
    return { passed: status === 0, line: signal === null ? line : `ended by ${signal}` };
  }

  async test(mutant: Mutant): Promise<Verdict> {
    const path = join(this.folder, mutant.file);
    const source = readFileSync(path, 'utf8');
    const mutated = mutate(mutant, source);
    if (mutated instanceof Error) return { wrong: mutated.message, line: '' };
    writeFileSync(path, mutated);
    try {
      if (!(await this.build())) return { wrong: 'does not compile', line: '' };
      const { passed, line } = await this.runGrid();
      return { wrong: passed ? 'survives the grid' : null, line };
    } finally {
      writeFileSync(path, source);
    }
  }
}

/** The source with the mutation, or what is wrong with the search. */
function mutate({ search, replacement }: Mutant, source: string): string | Error {
  const parts = source.split(search);
  if (parts.length !== 2) return new Error(`'${search}' occurs ${parts.length - 1} times`);
  return parts.join(replacement);
}

/** The mutants, beginning with one that the commit decides: where time is short, each has its turn. */
function fromCommit(list: readonly Mutant[]): Mutant[] {
  const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' });
  const first = Number.parseInt(commit.slice(0, 8), 16) % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
}

/** Takes mutants off the list, until it is empty or the time is over; returns how many were not caught. */
async function testAll(copy: Copy, left: Mutant[], end: number): Promise<number> {
  let failed = 0;
  while (left.length > 0 && Date.now() < end) {
    const mutant = left.shift()!;
    const start = Date.now();
    const { wrong, line } = await copy.test(mutant);
    if (wrong !== null) failed += 1;
    const verdict = wrong === null ? 'caught' : `FAILED (${wrong})`;
    console.log(`${verdict}: ${mutant.name}, ${((Date.now() - start) / 1000).toFixed(1)} s\n  ${line.slice(0, 150)}`);
  }
  return failed;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({ options: { minutes: { type: 'string' } }, allowPositionals: true });
  const only = new RegExp(positionals[0] ?? '');
  const all = values.minutes === undefined ? mutants : fromCommit(mutants);
  const chosen = all.filter(({ name }) => only.test(name));
  const most = values.minutes === undefined ? availableParallelism() : 1;
  const copies = Array.from({ length: Math.min(most, Math.max(1, chosen.length)) }, () => new Copy());
  try {
    const built = await Promise.all(copies.map(async (copy) => copy.build()));
    const { passed, line } = built.every(Boolean)
      ? await copies[0]!.runGrid()
      : { passed: false, line: 'do not compile' };
    if (!passed) console.log(`FAILED: the kernels as they are: ${line}`);
    const left = passed ? [...chosen] : [];
    const end = values.minutes === undefined ? Infinity : Date.now() + 60_000 * Number(values.minutes);
    const failures = await Promise.all(copies.map(async (copy) => testAll(copy, left, end)));
    const failed = failures.reduce((sum, count) => sum + count, passed ? 0 : 1);
    if (left.length > 0) console.log(`no time for ${left.length} of ${chosen.length}`);
    console.log(`${passed ? chosen.length - left.length + 1 - failed : 0} passed, ${failed} failed`);
    process.exitCode = failed > 0 || chosen.length === 0 ? 1 : 0;
  } finally {
    for (const copy of copies) copy.remove();
  }
}

void main();
