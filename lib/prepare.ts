// From arguments to a call that can run: every check of an attention call, in one order for all entry points.

import type { AttentionCall } from './call.js';
import type { CudaName } from './environment.js';
import { AttentionError, describe, internal, invalidValue } from './errors.js';
import { readGeometry } from './geometry.js';
import { readBias, readMasks } from './grids.js';
import { readPagedGeometry } from './pages.js';
import { readOptions } from './options.js';
import type { CallOptions } from './options.js';
import { dropResults, readResults } from './results.js';
import { readScore } from './scores.js';
import { throwIfAborted } from './signals.js';
import { readSinks } from './sinks.js';
import { readStatistics } from './statistics.js';
import { readView } from './tensor.js';
import { isOnDevice } from './view.js';

/** Checks all arguments. `obtain` says whether results get memory, or are only known to fit. */
export function readCall(
  q: unknown,
  k: unknown,
  v: unknown,
  given: unknown,
  obtain: 'allocate' | 'reserve',
): AttentionCall {
  const asked = readOptions(given);
  throwIfAborted(asked.signal);
  const read = asked.given['pages'] === undefined ? readGeometry : readPagedGeometry;
  const geometry = read(q, k, v, asked, readView);
  const options = isOnDevice(geometry.query) ? onDevice(geometry.query.memory.device, asked) : asked;
  const visibility = readMasks(options.given['mask'], geometry);
  const score = readScore(options.given['score']);
  const bias = readBias(options.given['bias'], geometry);
  const sinks = readSinks(options.given['sinks'], geometry.headsQ);
  const results = readResults(geometry, options, obtain);
  try {
    const statistics = readStatistics(options.given['statistics'], geometry, obtain);
    return { options, geometry, visibility, score, bias, sinks, results, statistics };
  } catch (error) {
    dropResults(results.list);
    throw error;
  }
}

/** A call whose tensors lie on a device runs there. */
function onDevice(device: CudaName, options: CallOptions): CallOptions {
  const { device: asked = 'auto' } = options.given;
  if (asked !== 'auto' && options.device !== device) {
    const expected = `${describe(device)}, where the query lies (Tensor.to() brings it elsewhere)`;
    throw invalidValue('options.device', expected, describe(asked));
  }
  return { ...options, device };
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
