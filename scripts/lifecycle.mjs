// Runs the tests of asynchronous calls and of the life cycle (test/60-* to 69-*) on other versions of Node, where buffers,
// marks and shutdown differ. After `npm run build`.
//   node scripts/lifecycle.mjs 22 24            the newest of these versions, from the npm packages node-<platform>-<arch>
//   node scripts/lifecycle.mjs /path/to/node    a binary
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const wanted = process.argv.slice(2);
if (wanted.length === 0) {
  console.error('usage: lifecycle.mjs (<major version of Node> | <path of a node binary>)...');
  process.exit(2);
}

const scratch = mkdtempSync(join(tmpdir(), 'fused-attention-nodes-'));

/** Runs a command and returns whether it succeeded. */
function run(command, arguments_, cwd) {
  const { status, error } = spawnSync(command, arguments_, { cwd, stdio: 'inherit' });
  if (error) throw error;
  return status === 0;
}

function install(version) {
  const name = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;
  const folder = mkdtempSync(join(scratch, `${version}-`));
  writeFileSync(join(folder, 'package.json'), '{ "private": true }');
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  if (!run('npm', ['install', ...options, `${name}@${version}`], folder))
    throw new Error(`cannot install ${name}@${version}`);
  return join(folder, 'node_modules', name, 'bin', 'node');
}

const tests = readdirSync(join(root, 'test'))
  .filter((name) => /^6\d-.*\.ts$/.test(name))
  .map((name) => `test/${name}`);

let failed = 0;
try {
  for (const one of wanted) {
    const node = /^\d+(\.\d+)*$/.test(one) ? install(one) : one;
    run(node, ['--version'], root);
    if (!run(node, [join(root, 'node_modules', 'ava', 'entrypoints', 'cli.mjs'), ...tests], root)) failed += 1;
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exit(failed === 0 ? 0 : 1);
