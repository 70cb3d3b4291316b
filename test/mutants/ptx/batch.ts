// Mutants of one kernel, each on a device of its own of one process, under one schedule.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { library, type Report } from '../../helpers/interpreter.js';
import type { Outcome } from './device.js';
import type { Mutant } from './rules.js';

/** The order of blocks and warps, and how many instructions a warp runs at a time. */
export type Schedule = readonly [seed: number, quantum: number];

export interface Verdict {
  /** What told the mutant from the kernel; null when nothing did. */
  readonly killed: { by: string; detail: string } | null;
  /** Why nothing is known of it: it was not run as it should have been. */
  readonly broken: string | null;
  /** Whether results had other bits, right as they were. */
  readonly differs: boolean;
}

/** Findings that say more of the interpreter than of the kernel. */
const noFinding = new Set(['unsupported', 'invalid launch']);

function verdictOf(kernel: string, { wrong, differs }: Outcome, report: Report | undefined): Verdict {
  const findings = report?.findings ?? [];
  const unfit = findings.find(({ kind }) => noFinding.has(kind));
  const broken = unfit
    ? unfit.message
    : (report?.kernels[kernel]?.launches ?? 0) === 0
      ? `never ran: ${wrong ?? 'no call took it'}`
      : null;
  const [finding] = findings;
  const killed = finding
    ? { by: finding.kind, detail: `line ${finding.line}: ${finding.message}` }
    : wrong !== null
      ? { by: 'result', detail: wrong }
      : null;
  return { killed: broken === null ? killed : null, broken, differs };
}

/** Verdicts by device: the first one's is that of the kernel as it is. */
export async function runBatch(kernel: string, mutants: readonly Mutant[], schedule: Schedule): Promise<Verdict[]> {
  const folder = mkdtempSync(join(tmpdir(), 'fused-attention-ptx-mutants-'));
  try {
    const [PTX_MUTATIONS, PTX_REPORT] = [join(folder, 'mutations'), join(folder, 'report.json')];
    writeFileSync(
      PTX_MUTATIONS,
      mutants.map(({ line, before, after }, n) => `${n + 1} ${kernel} ${line}\n${before}\n${after}\n`).join(''),
    );
    const devices = String(mutants.length + 1);
    const child = spawn(process.execPath, ['--require=tsx/cjs', join(__dirname, 'device.ts'), kernel, devices], {
      env: {
        ...process.env,
        FUSED_ATTENTION_LIBCUDA: library,
        PTX_MUTATIONS,
        PTX_REPORT,
        PTX_DEVICES: devices,
        PTX_DEVICE_MEMORY: '64M',
        PTX_SECONDS: '5',
        PTX_SEED: String(schedule[0]),
        PTX_QUANTUM: String(schedule[1]),
      },
      timeout: 1_200_000,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended = new Promise<string>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status, signal) => resolve(signal === null ? `status ${status}` : signal));
    });
    const [output, errors, ending] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
    const reports = existsSync(PTX_REPORT) ? (JSON.parse(readFileSync(PTX_REPORT, 'utf8')) as Report[]) : [];
    const outcomes = output.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Outcome]));
    if (reports.length === 0 || outcomes.length === 0) throw new Error(`${kernel}: ended by ${ending}\n${errors}`);
    return outcomes.map((outcome) => verdictOf(kernel, outcome, reports[outcome.device]));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
