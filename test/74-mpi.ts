// Groups over MPI: ranks in processes of their own compute and count what threads do, and none hangs when another is
// lost. Where there is no mpirun, or its addon has not been built, tests are skipped and say why; with MPI_REQUIRED set
// they fail.

import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import { mpiGroup } from '../lib/index.js';
import { rejects } from './helpers/errors.js';
import { inProcess } from './helpers/in-process.js';
import { mpirun, whyNoMpi, type Run } from './helpers/mpirun.js';
import { needing } from './helpers/needing.js';
import { everyFunction } from './reference/parallel-case.js';

/** A test that needs mpirun. */
const onRanks = needing(whyNoMpi(), 'MPI_REQUIRED');

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

onRanks('mpi: where memory cannot be kept in its place, messages are the same', async (t) => {
  const { status, reports, stderr } = await mpirun(2, 'schedules.ts', ['copies']);
  t.is(status, 0, stderr);
  t.deepEqual((reports[0]!.value as { differences: string[] }).differences, []);
});

/** Where namespaces can be made. */
const isRoot = process.getuid?.() === 0 && ['ip', 'tc'].every((tool) => spawnSync(tool, ['-V']).status === 0);

for (const namespaces of [false, true]) {
  const where = namespaces ? 'in namespaces' : 'on this machine';
  const title = `mpi: a document over four ranks ${where} is that of one process`;
  if (namespaces && !isRoot) {
    test.skip(`${title}: needs root, ip and tc`, () => {});
    continue;
  }
  onRanks(title, async (t) => {
    const line = ['--require=tsx/cjs', 'examples/long-document/index.ts', '--tokens', '6000', '--window', '100'];
    const { status, stdout, stderr } = await endOf(process.execPath, [
      ...line,
      ...(namespaces ? ['--namespaces'] : []),
    ]);
    t.is(status, 0, stderr);
    t.regex(stdout, /^\d{4,} rows agree: /m);
    const addresses = [...stdout.matchAll(/^rank \d at ([\d.]+):/gm)].map(([, address]) => address!);
    t.is(addresses.length, 4);
    t.is(new Set(addresses).size, namespaces ? 4 : 1);
  });
}

/** A program's end and what it said. */
async function endOf(command: string, line: readonly string[]) {
  const child = spawn(command, line, { cwd: join(__dirname, '..'), env: { ...process.env, TMPDIR: '/tmp' } });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (text) => (stdout += String(text)));
  child.stderr.on('data', (text) => (stderr += String(text)));
  const status = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { status, stdout, stderr };
}

// --- faults ------------------------------------------------------------------------------------------------------------

const size = 3;
/** The rank to whom something happens. */
const victim = 1;

/**
 * Every other rank has ended with this code, in time: its operation, or, where MPI did not come back to it, the process,
 * which then said so.
 */
function othersEnded(t: ExecutionContext, { status, reports, stderr }: Run, message: RegExp): void {
  t.not(status, null, `mpirun did not end: ${stderr}`);
  const said = [...stderr.matchAll(/^ERR_GROUP_FAILED: group: expected (?:MPI to answer|.* SIGTERM)/gm)];
  for (let rank = 0; rank < size; rank += 1) {
    if (rank === victim) continue;
    const report = reports[rank];
    if (!report) {
      t.truthy(said.pop(), `rank ${rank} ended without a word: ${stderr}`);
      continue;
    }
    const { code, message: why = '', elapsed = Infinity } = report;
    t.is(code, 'ERR_GROUP_FAILED', `rank ${rank}: ${why}\n${stderr}`);
    t.regex(why, message);
    t.true(elapsed < 10_000, `rank ${rank} after ${elapsed} ms`);
  }
}

// mpirun sees that a process was killed, and ends the others by SIGTERM, or signs of life fail to come before that.
const killed = /SIGTERM, by which mpirun ends all processes|no sign of rank 1/;
for (const [f, name] of everyFunction.entries()) {
  for (const [n, at] of [2, 9].entries()) {
    const transport = (f + n) % 2 === 0 ? 'tcp' : 'vader';
    onRanks(`mpi: a rank of ${name} is killed at its message ${at}, over ${transport}`, async (t) => {
      othersEnded(t, await mpirun(size, 'faults.ts', ['kill', name, `${at}`], { transport }), killed);
    });
    onRanks(`mpi: a rank of ${name} is stopped at its message ${at + 3}, over ${transport}`, async (t) => {
      const run = await mpirun(size, 'faults.ts', ['stop', name, `${at + 3}`], { transport });
      othersEnded(t, run, /no sign of rank 1|SIGTERM/);
    });
  }
}

for (const [what, title, message] of [
  ['late', 'that does not call', /within 1500 ms but received no sign of rank 1|SIGTERM/],
  ['held', 'whose event loop is held up', /within 1500 ms but received no sign of rank 1|SIGTERM/],
  ['absent', 'that does not join', /every process of mpirun to form the group within 1500 ms|SIGTERM/],
  ['exit', 'that has ended', /rank 1 has ended/],
  ['throw', 'whose script fails', /rank 1 has ended with exit code 1|SIGTERM/],
  ['stopInTransfer', 'that is stopped with much on its way', /no sign of rank 1|SIGTERM/],
] as const) {
  onRanks(`mpi: a rank ${title} is lost to the others in time`, async (t) => {
    othersEnded(t, await mpirun(size, 'faults.ts', [what, 'ring', '7']), message);
  });
}

onRanks('mpi: a rank that is stopped as all end holds nobody up', async (t) => {
  const { status, stderr, elapsed } = await mpirun(size, 'faults.ts', ['stopAtEnd']);
  t.true(status !== null && status !== 0, stderr);
  t.regex(stderr, /ERR_GROUP_FAILED: group: expected every rank to end within 1500 ms but received no sign of rank 1/);
  t.true(elapsed < 40_000);
});

onRanks('mpi: a rank that computes for long is not lost', async (t) => {
  const { status, reports, stderr } = await mpirun(size, 'faults.ts', ['busy']);
  t.is(status, 0, stderr);
  for (let rank = 0; rank < size; rank += 1) t.is(reports[rank]?.code, undefined, reports[rank]?.message);
});

onRanks('mpi: a message that takes longer than the timeout is one that moves', async (t) => {
  const { status, reports, stderr } = await mpirun(size, 'faults.ts', ['slow']);
  t.is(status, 0, stderr);
  for (let rank = 0; rank < size; rank += 1) t.is(reports[rank]?.code, undefined, reports[rank]?.message);
  t.is(reports[0]?.value, 3);
  t.true(reports[0]!.elapsed! > 1500, `only ${reports[0]!.elapsed} ms`);
});

for (const what of ['terminate', 'terminateAtOnce']) {
  onRanks(`mpi: a program decides for itself what SIGTERM does: ${what}`, async (t) => {
    const { reports, stderr, elapsed } = await mpirun(1, 'faults.ts', [what]);
    t.truthy(reports[0], stderr);
    t.true(elapsed < 15_000, `${elapsed} ms`);
  });
}

onRanks('mpi: shards that do not fit together are refused alike, and the group stays', async (t) => {
  const { status, reports, stderr } = await mpirun(size, 'faults.ts', ['mismatch']);
  t.is(status, 0, stderr);
  for (let rank = 0; rank < size; rank += 1) {
    t.is(reports[rank]?.code, 'ERR_SHAPE_MISMATCH');
    t.is(reports[rank]?.message, reports[0]?.message);
    t.truthy(reports[`${rank}-next`]?.elapsed);
    t.is(reports[`${rank}-next`]?.code, undefined, reports[`${rank}-next`]?.message);
  }
});

onRanks('mpi: an error of one rank is the cause for the others, and all can form a new group', async (t) => {
  const { status, reports, stderr } = await mpirun(size, 'faults.ts', ['error']);
  t.is(status, 0, stderr);
  for (let rank = 0; rank < size; rank += 1) {
    const { code, cause, message = '' } = reports[rank] ?? {};
    t.is(code, rank === victim ? 'ERR_OUT_OF_RANGE' : 'ERR_GROUP_FAILED', message);
    t.is(cause, 'ERR_OUT_OF_RANGE');
    if (rank !== victim) t.regex(message, /an error of rank 1: options\.score: /);
    t.truthy(reports[`${rank}-next`]?.elapsed);
    t.is(reports[`${rank}-next`]?.code, undefined, reports[`${rank}-next`]?.message);
  }
});

onRanks('mpi: closing a group ends it', async (t) => {
  const run = await mpirun(size, 'faults.ts', ['closed']);
  t.is(run.status, 0, run.stderr);
  othersEnded(t, run, /rank 1 closed its group/);
});
