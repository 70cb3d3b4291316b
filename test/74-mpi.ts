// Groups over MPI: ranks in processes of their own compute and count what threads do, and none hangs when another is
// lost. Where there is no mpirun, or its addon has not been built, tests are skipped and say why; with MPI_REQUIRED set
// they fail.

import test from 'ava';
import type { ExecutionContext } from 'ava';
import { mpiGroup } from '../lib/index.js';
import { rejects } from './helpers/errors.js';
import { inProcess } from './helpers/in-process.js';
import { mpirun, whyNoMpi } from './helpers/mpirun.js';

const missing = whyNoMpi();

/** A test that needs mpirun. One after the other: each has several processes. */
function onRanks(title: string, body: (t: ExecutionContext) => Promise<void>): void {
  if (missing === null) return test.serial(title, body);
  if (process.env['MPI_REQUIRED']) return test(title, (t) => t.fail(missing));
  test.skip(`${title}: ${missing}`, body);
}

test('a process that mpirun has not started is told how to', async (t) => {
  await rejects(t, () => mpiGroup(), {
    code: 'ERR_UNSUPPORTED',
    argument: 'mpiGroup',
    expected: /mpirun -n 4 node script\.js/,
  });
  await rejects(t, () => mpiGroup({ timeout: 0 }), { code: 'ERR_OUT_OF_RANGE', argument: 'options.timeout' });
});

test('without its addon, what to do', (t) => {
  const refused = inProcess(
    { OMPI_COMM_WORLD_RANK: '0' },
    `const fs = require('node:fs');
     const { existsSync } = fs;
     fs.existsSync = (path) => !String(path).endsWith('mpi.node') && existsSync(path);
     await fused.mpiGroup();`,
  ) as string[];
  t.deepEqual(refused.slice(0, 2), ['ERR_LOAD_FAILED', 'mpiGroup']);
  t.regex(refused[3]!, /npm explore fused-attention -- npm run build:mpi/);
});

for (const size of [2, 3, 4]) {
  onRanks(`mpi: every schedule gives the bits and the traffic of threads, ${size} ranks`, async (t) => {
    const { status, reports, stderr } = await mpirun(size, 'schedules.ts', []);
    t.is(status, 0, stderr);
    const { differences, calls } = reports[0]!.value as { differences: string[]; calls: number };
    t.deepEqual(differences, []);
    t.true(calls >= 35);
  });
}
