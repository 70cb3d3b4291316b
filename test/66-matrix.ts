// Every stage of a call's life against everything that can happen there, again and again: no crash, no hang, no leak, and
// the outcome that belongs to it. LIFECYCLE_REPEATS=1000 (`npm run test:matrix`) does each cell so often.

import { availableParallelism } from 'node:os';

import test from 'ava';
import { child } from './helpers/in-flight.js';
import type { Ending } from './helpers/in-flight.js';

const long = process.env['LIFECYCLE_REPEATS'] !== undefined;
const repeats = Number(process.env['LIFECYCLE_REPEATS'] ?? 10);
const stages = ['idle', 'queued', 'running', 'finishing'] as const;

/** In one process, which lives on: calls aborted, robbed of their memory, out of memory; workers ended with their calls. */
const faults = ['abort', 'transfer', 'memory', 'terminate', 'exit', 'uncaught'] as const;

/** What may be left after the warm-up, in bytes, whatever the number of repeats. One repeat uses 32 KiB and more a tensor. */
const mostGrowth = { external: 2 ** 20, heapUsed: 2 ** 21, rss: 48 * 2 ** 20 };

for (const stage of stages) {
  for (const fault of faults) {
    test.serial(`${fault}, ${stage}`, async (t) => {
      t.timeout(long ? 3_600_000 : 120_000);
      if (fault === 'memory' && process.platform !== 'linux') {
        t.pass('limits memory by prlimit');
        return;
      }
      const ending = await child('matrix', [stage, fault, String(repeats)], ['--expose-gc'], long ? 3_600_000 : 60_000);
      t.is(ending.signal, null, ending.stderr);
      t.is(ending.code, 0, ending.stderr);
      const cell = JSON.parse(ending.stdout) as Record<string, number>;
      if (long) t.log(ending.stdout.trim());
      t.is(cell['repeats'], repeats);
      for (const [name, most] of Object.entries(mostGrowth)) t.true(cell[name]! < most, `${name}: ${ending.stdout}`);
    });
  }
}

/** The end of the process itself, each in one of its own. */
const endings: Record<string, { code: number; stderr: RegExp }> = {
  exit: { code: 7, stderr: /^$/ },
  throw: { code: 1, stderr: /on purpose/ },
};

for (const stage of stages) {
  for (const [ending, expected] of Object.entries(endings)) {
    test.serial(`the process ends by ${ending}, ${stage}`, async (t) => {
      t.timeout(long ? 3_600_000 : 120_000);
      let left = long ? repeats : 3;
      const wrong: Ending[] = [];
      const run = async (): Promise<void> => {
        while (left > 0 && wrong.length === 0) {
          left -= 1;
          const end = await child('endings', ['main', ending, stage]);
          if (end.code !== expected.code || end.signal !== null || !expected.stderr.test(end.stderr)) wrong.push(end);
        }
      };
      await Promise.all(Array.from({ length: availableParallelism() }, run));
      t.deepEqual(wrong, []);
    });
  }
}
