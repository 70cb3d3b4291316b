// Groups over MPI: this process joins those that mpirun started with it, and becomes a rank.

import { isMainThread } from 'node:worker_threads';
import { fromNative, unsupported } from '../errors.js';
import { loadCommunicator } from '../native-mpi.cjs';
import type { NativeError } from '../native.cjs';
import { groupFailed } from './engine.js';
import type { Engine } from './engine.js';
import { heedTermination } from './mpi-termination.js';
import { MpiWorld } from './mpi-world.js';

/** What Open MPI, PMIx and MPICH tell their processes. */
const marks = ['OMPI_COMM_WORLD_RANK', 'PMIX_RANK', 'PMI_RANK'];

let joining: Promise<MpiWorld> | undefined;

export async function mpiEngine(timeout: number): Promise<Engine> {
  if (!isMainThread) throw unsupported('mpiGroup', 'the main thread of a process', 'a worker');
  if (!marks.some((name) => process.env[name] !== undefined)) {
    const received = `one without ${marks.join(', ')} in its environment`;
    throw unsupported('mpiGroup', 'a process started by mpirun, as in mpirun -n 4 node script.js', received);
  }
  joining ??= join(timeout);
  return (await joining).form(timeout);
}

/** MPI waits for all processes; here that has an end. */
async function join(timeout: number): Promise<MpiWorld> {
  const native = loadCommunicator();
  let ended: Error | undefined;
  const ignoreTermination = heedTermination((error) => {
    ended = error;
    return true;
  });
  const start = performance.now();
  try {
    native.join();
    while (!native.joined()) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      if (ended) throw ended;
      if (performance.now() - start > timeout) {
        throw groupFailed(`every process of mpirun to form the group within ${timeout} ms`, 'no sign of some');
      }
    }
    return new MpiWorld(native);
  } catch (error) {
    throw fromNative(error as NativeError);
  } finally {
    if (!ended) ignoreTermination();
  }
}
