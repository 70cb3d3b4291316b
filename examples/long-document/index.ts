// Command line: npm run example:long -- [--tokens 100000] [--window 512] [--ranks 4] [--namespaces [--rate 200mbit]].
// Starts the ranks: by mpirun on this machine, or each in a network namespace of its own.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const USAGE =
  'Usage: npm run example:long -- [--tokens 100000] [--window 512] [--ranks 4] [--namespaces [--rate 200mbit]]';

function readArguments(): string[] {
  const { values } = parseArgs({
    options: {
      tokens: { type: 'string', default: '100000' },
      window: { type: 'string', default: '512' },
      ranks: { type: 'string', default: '4' },
      namespaces: { type: 'boolean', default: false },
      rate: { type: 'string', default: '200mbit' },
    },
  });
  const { tokens, window, ranks, namespaces, rate } = values;
  for (const [name, value] of Object.entries({ tokens, window, ranks })) {
    if (!/^[1-9]\d{0,8}$/.test(value)) throw new Error(`--${name} takes a whole number from 1, not ${value}`);
  }
  // The parent's loader goes on to the ranks.
  const program = [process.execPath, ...process.execArgv, join(__dirname, 'rank.ts'), tokens, window];
  if (namespaces) return [join(__dirname, 'namespaces.sh'), ranks, rate, ...program];
  return ['mpirun', '--allow-run-as-root', '--oversubscribe', '-n', ranks, ...program];
}

function main(): number {
  let line: string[];
  try {
    line = readArguments();
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return 2;
  }
  const [command, ...rest] = line as [string, ...string[]];
  const env = { FUSED_ATTENTION_THREADS: '1', ...process.env };
  const { status, error } = spawnSync(command, rest, { stdio: 'inherit', env });
  if (error) console.error(`${command}: ${error.message} (Debian: openmpi-bin)`);
  return status ?? 1;
}

process.exitCode = main();
