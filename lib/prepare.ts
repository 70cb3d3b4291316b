// From arguments to a call that can run: every check of an attention call, in one order for all entry points.

import type { AttentionCall } from './call.js';
import { AttentionError, internal } from './errors.js';
import { readGeometry } from './geometry.js';
import { readBias, readMasks } from './grids.js';
import { readPagedGeometry } from './pages.js';
import { readOptions, throwIfAborted } from './options.js';
import { readResults } from './results.js';
import { readScore } from './scores.js';
import { readSinks } from './sinks.js';
import { readStatistics } from './statistics.js';

/** Checks all arguments. `obtain` says whether results get memory, or are only known to fit. */
export function readCall(
  q: unknown,
  k: unknown,
  v: unknown,
  given: unknown,
  obtain: 'allocate' | 'reserve',
): AttentionCall {
  const options = readOptions(given);
  throwIfAborted(options.signal);
  const read = options.given['pages'] === undefined ? readGeometry : readPagedGeometry;
  const geometry = read(q, k, v, options);
  const visibility = readMasks(options.given['mask'], geometry);
  const score = readScore(options.given['score']);
  const bias = readBias(options.given['bias'], geometry);
  const sinks = readSinks(options.given['sinks'], geometry.headsQ);
  const results = readResults(geometry, options, obtain);
  const statistics = readStatistics(options.given['statistics'], geometry, obtain);
  return { options, geometry, visibility, score, bias, sinks, results, statistics };
}

/** Runs the checking part of an entry point. What is neither coded nor an abort there is a fault of this package. */
export function guarded<Result>(check: () => Result): Result {
  try {
    return check();
  } catch (error) {
    if (error instanceof AttentionError || (error as { code?: unknown } | null)?.code === 'ABORT_ERR') throw error;
    throw internal(error);
  }
}
