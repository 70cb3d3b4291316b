// A rank that is killed, stops or is late in each phase of each schedule, or has tensors that do not fit: all others end
// with a coded error within the timeout, none hangs, nothing is left, and a new group can be formed.
// GROUP_REPEATS=200 (`npm run test:faults`) does each of them so often.

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { AttentionError, threadGroup } from '../lib/index.js';
import type { Engine } from '../lib/sequence-parallel/engine.js';
import { groupOver } from '../lib/sequence-parallel/group.js';
import { threadEngines } from '../lib/sequence-parallel/threads.js';
import { filled } from './helpers/tensors.js';
import { bitsOf } from './reference/call.js';
import {
  everyFunction,
  onGroup,
  onRank,
  wholeOf,
  type Function,
  tinyCase,
  usualSharding,
} from './reference/parallel-case.js';

const repeats = Number(process.env['GROUP_REPEATS'] ?? 2);
/** Repeats that run side by side. */
const together = 10;
const size = 3;
const timeout = 60;
/** Longer than a rank may take to hear of anything, on a busy machine. */
const mostMs = 120_000;
/** What may be left after the warm-up, in bytes, whatever the number of repeats. */
const mostGrowth = { arrayBuffers: 2 ** 20, heapUsed: 2 ** 22 };

const whole = wholeOf(tinyCase);

type Fault = 'killed' | 'stopped' | 'late' | 'slow';
const faults: readonly Fault[] = ['killed', 'stopped', 'late', 'slow'];

/** Calls back at everything that an engine is asked to do. */
function watched(engine: Engine, step: <Result>(work: () => Promise<Result>) => Promise<Result>): Engine {
  return {
    rank: engine.rank,
    size: engine.size,
    send: (...args) => step(() => engine.send(...args)),
    receive: (...args) => step(() => engine.receive(...args)),
    working: (work) => step(() => engine.working(work)),
    fail: (cause) => engine.fail(cause),
    close: () => engine.close(),
  };
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** From its n-th step on, a rank is gone, does nothing more, or goes on later. */
function failing(engine: Engine, at: number, fault: Fault): Engine {
  let count = 0;
  let gate: Promise<unknown> = Promise.resolve();
  return watched(engine, async (work) => {
    count += 1;
    if (count < at) return work();
    if (fault === 'killed') {
      engine.close();
      throw new Error('killed');
    }
    if (count === at) gate = fault === 'stopped' ? new Promise(() => {}) : sleep(fault === 'late' ? 3 * timeout : 5);
    await gate;
    return work();
  });
}

/** How many things a rank's engine is asked to do. */
async function phasesOf(name: Function, rank: number): Promise<number> {
  let count = 0;
  const groups = threadEngines(size, 10_000).map((engine) =>
    groupOver(engine.rank === rank ? watched(engine, (work) => ((count += 1), work())) : engine),
  );
  await onGroup(name, size, usualSharding(name), {}, whole, groups);
  return count;
}

/** What is wrong with how ranks ended where one had a fault in a phase; nothing where all is well. */
async function wrongIn(name: Function, rank: number, at: number, fault: Fault, expected: string): Promise<string[]> {
  const engines = threadEngines(size, fault === 'slow' ? 10_000 : timeout);
  const groups = engines.map((engine) => groupOver(engine.rank === rank ? failing(engine, at, fault) : engine));
  let timer: ReturnType<typeof setTimeout> | undefined;
  const hangs = new Promise<Error>((resolve) => (timer = setTimeout(resolve, mostMs, new Error('hangs'))));
  const ends = await Promise.all(
    groups.map(async (group) => {
      const operation = onRank(group, name, usualSharding(name), {}, whole).then(
        ({ output }) => String(bitsOf(output)),
        (error: unknown) => error,
      );
      if (fault === 'stopped' && group.rank === rank) return expected;
      return Promise.race([operation, hangs]);
    }),
  );
  clearTimeout(timer);
  const parts = expected.split('|');
  return ends.flatMap((end, n) => {
    const what = `${name}, rank ${rank} ${fault} in phase ${at}: rank ${n} `;
    // What others do not wait for any more does not keep them from their results.
    if (typeof end === 'string') return end === parts[n] || end === expected ? [] : [`${what} has other bits`];
    if (n === rank && fault === 'killed' && /killed|closed/.test(String(end))) return [];
    const coded = end instanceof AttentionError && end.code === 'ERR_GROUP_FAILED' && end.argument === 'group';
    return coded && fault !== 'slow' ? [] : [`${what} ${String(end)}`];
  });
}

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Memory after everything that can be collected has been. */
async function memory(): Promise<Record<keyof typeof mostGrowth, number>> {
  for (let n = 0; n < 3; n += 1) {
    collect();
    await sleep(1);
  }
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return { arrayBuffers, heapUsed };
}

for (const name of everyFunction) {
  for (const fault of faults) {
    test.serial(`${fault} in each phase: ${name}`, async (t) => {
      t.timeout(3_600_000);
      const { results } = await onGroup(name, size, usualSharding(name), {}, whole);
      const expected = results.map(({ output }) => String(bitsOf(output))).join('|');
      let before: Awaited<ReturnType<typeof memory>> | undefined;
      for (let first = 0; first < repeats; first += together) {
        const some = Array.from({ length: Math.min(together, repeats - first) }, async (_, n) => {
          const rank = (first + n) % size;
          const phases = await phasesOf(name, rank);
          const cells = Array.from({ length: phases }, (_none, at) => wrongIn(name, rank, at + 1, fault, expected));
          return phases > 5 ? (await Promise.all(cells)).flat() : [`${phases} phases`];
        });
        t.deepEqual((await Promise.all(some)).flat(), []);
        const again = await onGroup(name, size, usualSharding(name), {}, whole);
        t.is(again.results.map(({ output }) => String(bitsOf(output))).join('|'), expected);
        before ??= await memory();
      }
      const after = await memory();
      for (const [what, most] of Object.entries(mostGrowth)) {
        const grown = after[what as keyof typeof mostGrowth] - before![what as keyof typeof mostGrowth];
        t.true(grown < most, `${what}: ${grown}`);
      }
      const timers = process.getActiveResourcesInfo().filter((resource) => resource === 'Timeout');
      t.true(timers.length < 5, `${timers.length} timers`);
    });
  }

  test.serial(`tensors that do not fit: ${name}`, async (t) => {
    t.timeout(3_600_000);
    const groups = threadGroup(size);
    const { output } = await onGroup(name, size, usualSharding(name), {}, whole, groups);
    for (let repeat = 0; repeat < repeats; repeat += 1) {
      const rank = repeat % size;
      const other = { ...whole, value: filled([1, 3, 12, 8]) };
      const ends = await Promise.allSettled(
        groups.map((group) => onRank(group, name, usualSharding(name), {}, group.rank === rank ? other : whole)),
      );
      for (const end of ends) t.like(end, { status: 'rejected', reason: { code: 'ERR_SHAPE_MISMATCH' } });
    }
    // The group stays.
    t.deepEqual((await onGroup(name, size, usualSharding(name), {}, whole, groups)).output.data, output.data);
  });
}
