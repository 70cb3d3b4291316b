// The addon with its CUDA kernels on the interpreter of test/ptx, in processes of their own.

import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inProcess } from './in-process.js';

export const library = join(__dirname, '..', '..', 'build-ptx', 'ptx', 'libcuda.so.1');

/** A driver that is not there. */
export const noDriver = { FUSED_ATTENTION_LIBCUDA: join(__dirname, 'libcuda.so.1') };

/** Why no kernel can run here; null where they can. */
export function whyNoInterpreter(): string | null {
  if (!existsSync(library)) return `no interpreter (cmake with -DFUSED_ATTENTION_PTX=ON makes it): ${library}`;
  // Without a driver the addon says first whether it has kernels.
  const { reason } = inProcess(noDriver, `return require('./lib/native.cts').loadNative().cuda()`) as {
    reason: string;
  };
  return reason.startsWith('this build') ? reason : null;
}

export interface Traffic {
  requests: number;
  minimum: number;
  wavefronts: number;
  sectors: number;
}

export interface Counters {
  launches: number;
  warpInstructions: number;
  byClass: Record<string, number>;
  sharedLoads: Traffic;
  sharedStores: Traffic;
  globalLoads: Traffic;
  globalStores: Traffic;
}

export interface Report {
  findings: { kind: string; message: string; kernel: string; line: number; instruction: string }[];
  kernels: Record<string, Counters>;
}

/**
 * What a script returns with the interpreter in the driver's place, what that has to report, of the first device and of
 * all, and how often the driver's functions were called.
 */
export function interpreted(
  script: string,
  variables: Record<string, string> = {},
): { result: unknown; report: Report; reports: Report[]; calls: Record<string, number> } {
  const folder = mkdtempSync(join(tmpdir(), 'fused-attention-cuda-'));
  try {
    const [PTX_REPORT, PTX_CALLS] = [join(folder, 'report.json'), join(folder, 'calls.json')];
    const files = { PTX_REPORT, PTX_CALLS };
    const result = inProcess({ FUSED_ATTENTION_LIBCUDA: library, ...files, ...variables }, script);
    const read = (path: string): unknown => existsSync(path) && JSON.parse(readFileSync(path, 'utf8'));
    const reports = (read(PTX_REPORT) || []) as Report[];
    const calls = (read(PTX_CALLS) || {}) as Record<string, number>;
    return { result, report: reports[0] ?? { findings: [], kernels: {} }, reports, calls };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
