// Under mpirun: something happens to one rank, and every rank reports how its operation ended.
//   faults.ts <what happens> [function] [at which of its sends and receives]

import { mpiGroup, score, Tensor } from '../../lib/index.js';
import type { Group, ParallelOptions } from '../../lib/index.js';
import type { Engine } from '../../lib/sequence-parallel/engine.js';
import { groupOver } from '../../lib/sequence-parallel/group.js';
import { mpiEngine } from '../../lib/sequence-parallel/mpi.js';
import { onRank, wholeOf, type Function, type ParallelCase } from '../reference/parallel-case.js';
import { report, reportEnd } from './report.js';

const [what = '', name = 'ring', at = '1'] = process.argv.slice(2);
/** The one to whom it happens. */
const victim = 1;
const timeout = 1500;
/** Where nobody is lost. */
const patient = 20_000;

const one: ParallelCase = {
  name: 'small',
  batch: 1,
  headsQ: 3,
  headsKv: 3,
  queries: [300],
  keys: [300],
  dimQk: 16,
  dimV: 16,
  options: {},
};
const whole = wholeOf(one);
const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Holds the event loop up. */
function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

async function call(group: Group, options: ParallelOptions = {}, of = whole): Promise<void> {
  await onRank(group, name as Function, name === 'striped' ? 'striped' : 'contiguous', options, of);
}

/** A group with a short timeout, once all are there: starting them may take longer. */
async function joined(milliseconds = timeout): Promise<Engine> {
  await mpiGroup();
  return mpiEngine(milliseconds);
}

/** Something happens as the n-th message begins. */
function failing(engine: Engine, happens: () => void): Engine {
  let count = 0;
  const step = <Result>(work: () => Promise<Result>): Promise<Result> => {
    count += 1;
    if (count === Number(at)) happens();
    return work();
  };
  return {
    rank: engine.rank,
    size: engine.size,
    send: (...line) => step(() => engine.send(...line)),
    receive: (...line) => step(() => engine.receive(...line)),
    working: (work) => engine.working(work),
    fail: (cause) => engine.fail(cause),
    close: () => engine.close(),
  };
}

/** What happens in a phase: the others have to end by themselves. */
async function inPhase(happens: () => void): Promise<void> {
  const engine = await joined();
  const group = groupOver(engine.rank === victim ? failing(engine, happens) : engine);
  await reportEnd(group.rank, async () => {
    for (let n = 0; n < 3; n += 1) await call(group);
  });
}

const scenarios: Record<string, () => Promise<void>> = {
  kill: () => inPhase(() => process.kill(process.pid, 'SIGKILL')),
  stop: () => inPhase(() => process.kill(process.pid, 'SIGSTOP')),
  exit: () => inPhase(() => process.exit(0)),
  throw: () => inPhase(() => setImmediate(() => Promise.reject(new Error('a mistake of the script')))),
  // Held up: its event loop does not turn.
  held: () => inPhase(() => pause(3 * timeout)),

  /** Does not call, though its process is well. */
  late: async () => {
    const group = groupOver(await joined());
    await reportEnd(group.rank, async () => {
      if (group.rank === victim) await sleep(3 * timeout);
      await call(group);
    });
  },

  /** Does not even join. */
  absent: async () => {
    const rank = process.env['OMPI_COMM_WORLD_RANK'] ?? process.env['PMI_RANK']!;
    if (Number(rank) === victim) return sleep(20_000);
    await reportEnd(rank, () => mpiGroup({ timeout }));
  },

  /** Stopped while the others end. */
  stopAtEnd: async () => {
    const group = groupOver(await joined());
    await reportEnd(group.rank, () => call(group));
    if (group.rank === victim) process.kill(process.pid, 'SIGSTOP');
  },

  /** Computes for longer than the timeout. */
  busy: async () => {
    const engine = await joined();
    const group = groupOver(engine);
    await reportEnd(group.rank, async () => {
      if (group.rank === victim) await engine.working(sleep(3 * timeout));
      await group.barrier();
    });
  },

  /** Its event loop turns so seldom that a long message takes longer than the timeout. */
  slow: async () => {
    const group = groupOver(await joined());
    await reportEnd(group.rank, async () => {
      const count = 2 ** 26;
      if (group.rank === victim) setInterval(() => pause(150), 1).unref();
      if (group.rank === victim) await group.send(0, [Tensor.from(new Float32Array(count).fill(3), [count])]);
      if (group.rank === 0) {
        const [tensor] = await group.receive(victim);
        return (tensor!.data as Float32Array)[count - 1];
      }
      return null;
    });
  },

  /** Is told to end, and takes its time: a program has listeners of its own. */
  terminate: async () => {
    let heard = 0;
    process.once('SIGTERM', () => {
      heard += 1;
      void sleep(500).then(() => {
        report(group.rank, { value: heard });
        process.exit(0);
      });
    });
    const group = groupOver(await joined());
    process.kill(process.pid, 'SIGTERM');
    await sleep(patient);
  },

  /** The same, and ends at once, before the library hears of it. */
  terminateAtOnce: async () => {
    const group = groupOver(await joined(patient));
    process.prependListener('SIGTERM', () => {
      report(group.rank, {});
      process.exit(0);
    });
    process.kill(process.pid, 'SIGTERM');
    await sleep(patient);
  },

  /** Shards that do not fit together: the group stays. */
  mismatch: async () => {
    const group = groupOver(await joined(patient));
    const other = wholeOf({ ...one, dimV: 8 });
    await reportEnd(group.rank, () => call(group, {}, group.rank === victim ? other : whole));
    await reportEnd(`${group.rank}-next`, () => call(group));
  },

  /** An error of one rank ends the group, and all form a new one. */
  error: async () => {
    const group = groupOver(await joined(patient));
    const wild = score('(s, i, j, { table }) => s + table(i)', { table: Float32Array.of(1) });
    await reportEnd(group.rank, () => call(group, group.rank === victim ? { score: wild } : {}));
    const next = await mpiGroup({ timeout: patient });
    await reportEnd(`${group.rank}-next`, () => call(next));
  },

  closed: async () => {
    const group = groupOver(await joined(patient));
    await reportEnd(group.rank, async () => {
      if (group.rank === victim) return group.close();
      await group.receive(victim);
    });
  },

  /** Messages under way as a rank is stopped: of many pieces. */
  stopInTransfer: async () => {
    const group = groupOver(await joined());
    await reportEnd(group.rank, async () => {
      const large = Tensor.from(new Float32Array(2 ** 24), [2 ** 24]);
      if (group.rank === victim) setTimeout(() => process.kill(process.pid, 'SIGSTOP'), 5);
      for (let n = 0; n < 20; n += 1) await group.allGather(large);
    });
  },
};

void scenarios[what]!();
