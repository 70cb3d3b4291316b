// Scripts of test/mpi in processes that mpirun starts.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import type { RankReport } from '../mpi/report.js';

const root = join(__dirname, '..', '..');

/** Why there are no processes to be had; null where there are. */
export function whyNoMpi(): string | null {
  if (!existsSync(join(root, 'build', 'mpi', 'fused_attention_mpi.node'))) return 'needs npm run build:mpi';
  return spawnSync('mpirun', ['--version']).status === 0 ? null : 'needs mpirun';
}

export interface Run {
  /** null: it did not end in time. */
  status: number | null;
  /** What ranks reported, by rank. */
  reports: Record<string, RankReport>;
  elapsed: number;
  stderr: string;
}

const made = new Map<string, string>();

/** A script as one file: a hundred processes would each translate it again. It lies where the library looks for addons. */
function bundled(script: string): string {
  let file = made.get(script);
  if (file !== undefined) return file;
  file = join(root, 'build', `${script}.cjs`);
  buildSync({
    entryPoints: [join(root, 'test', 'mpi', script)],
    outfile: file,
    bundle: true,
    platform: 'node',
    packages: 'external',
    logLevel: 'warning',
  });
  made.set(script, file);
  return file;
}

/** Runs that have processors for themselves; the others wait for them. */
const atOnce = 3;
let running = 0;
const waiting: (() => void)[] = [];

/** Runs a script on so many ranks, for `seconds` at most, over shared memory or, with `transport` 'tcp', over sockets. */
export async function mpirun(
  size: number,
  script: string,
  line: readonly string[],
  { transport = 'vader', seconds = 60 }: { transport?: 'vader' | 'tcp'; seconds?: number } = {},
): Promise<Run> {
  if (running === atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    return await runNow(size, transport, [bundled(script), ...line], seconds);
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  }
}

async function runNow(size: number, transport: string, line: readonly string[], seconds: number): Promise<Run> {
  const folder = mkdtempSync(join(tmpdir(), 'fused-attention-mpi-'));
  const start = performance.now();
  const options = ['--allow-run-as-root', '--oversubscribe', '--mca', 'btl', `${transport},self`, '-n', `${size}`];
  // Of all networks Open MPI would take the one, too, that the example with namespaces makes and takes away meanwhile.
  if (transport === 'tcp') options.unshift('--mca', 'btl_tcp_if_include', 'lo');
  const child = spawn('mpirun', [...options, process.execPath, ...line], {
    cwd: root,
    // Open MPI keeps its sockets under TMPDIR, and those have short names.
    env: { ...process.env, MPI_REPORTS: folder, TMPDIR: '/tmp' },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  let stderr = '';
  child.stderr.on('data', (text) => (stderr += String(text)));
  const timer = setTimeout(() => process.kill(-child.pid!, 'SIGKILL'), 1000 * seconds);
  const [status, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, by) => resolve([code, by]));
  });
  clearTimeout(timer);
  const reports: Record<string, RankReport> = {};
  for (const name of readdirSync(folder)) {
    if (!name.endsWith('.json')) continue;
    reports[name.replace('.json', '')] = JSON.parse(readFileSync(join(folder, name), 'utf8')) as RankReport;
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  return { status: signal === null ? status : null, reports, elapsed: performance.now() - start, stderr };
}
