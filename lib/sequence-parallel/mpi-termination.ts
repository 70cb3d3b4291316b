// SIGTERM, by which mpirun ends a job when one of its processes has failed: operations reject first, then the process ends
// as it would have done.

import type { AttentionError } from '../errors.js';
import { groupFailed } from './engine.js';

/** Milliseconds for which a process that is to end goes on, so that all can be told. */
export const lastWords = 300;

/**
 * `tell` says to all that waits that it is over, and returns whether anything did. Until the function that comes back is
 * called.
 */
export function heedTermination(tell: (error: AttentionError) => boolean, last: () => void = () => {}): () => void {
  const terminate = (): void => {
    // With a listener of its own, a program decides for itself.
    const decides = process.listenerCount('SIGTERM') > 1;
    const waited = tell(groupFailed('every rank to take part', 'SIGTERM, by which mpirun ends all processes'));
    const end = (): void => {
      last();
      process.off('SIGTERM', terminate);
      if (!decides) process.kill(process.pid, 'SIGTERM');
    };
    if (waited) setTimeout(end, lastWords).unref();
    else end();
  };
  // Before a listener that ends the process, and before one that is there only once is gone.
  process.prependListener('SIGTERM', terminate);
  return () => process.off('SIGTERM', terminate);
}
