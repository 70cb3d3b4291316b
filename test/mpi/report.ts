// What a rank under mpirun leaves for the test: a file, written at once, whatever happens to the process next.

import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface RankReport {
  /** Results, or how an operation ended. */
  value?: unknown;
  code?: string;
  message?: string;
  cause?: string | undefined;
  /** Milliseconds from the begin of the group to the end of the operation. */
  elapsed?: number;
}

export function report(rank: number | string, of: RankReport): void {
  const file = join(process.env['MPI_REPORTS']!, `${rank}.json`);
  // Whole or not at all: mpirun may be killing the process.
  writeFileSync(`${file}.new`, JSON.stringify(of));
  renameSync(`${file}.new`, file);
}

/** Reports how operations of a rank end. */
export async function reportEnd(rank: number | string, operations: () => Promise<unknown>): Promise<void> {
  const start = performance.now();
  try {
    const value = await operations();
    report(rank, { value, elapsed: performance.now() - start });
  } catch (error) {
    const { code, message, cause } = error as Error & { code: string; cause?: { code?: string } };
    report(rank, { code, message, cause: cause?.code, elapsed: performance.now() - start });
  }
}
