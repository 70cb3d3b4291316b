// What package.json promises to resolvers and bundlers.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import { install, root, tarball, temporaryFolder } from './tarball.js';

const folder = temporaryFolder();
const packed = tarball();

test.before(() => install(folder, [packed]));

test('publint has nothing to say', (t) => {
  const installed = join(folder, 'node_modules', 'fused-attention');
  const program = join(root, 'node_modules', 'publint', 'src', 'cli.js');
  const { status, stdout } = spawnSync(process.execPath, [program, '--strict', '--pack', 'false', installed], {
    encoding: 'utf8',
  });
  t.is(status, 0, stdout);
  t.regex(stdout, /All good/);
});

test('package.json can be imported, internals cannot', (t) => {
  const answer = (path: string) =>
    spawnSync(process.execPath, ['-p', `require(${JSON.stringify(path)}).name`], { cwd: folder, encoding: 'utf8' });
  t.is(answer('fused-attention/package.json').stdout.trim(), 'fused-attention');
  t.regex(answer('fused-attention/dist/tensor.js').stderr, /ERR_PACKAGE_PATH_NOT_EXPORTED/);
});

test('the types are right in every resolution mode', (t) => {
  const tools = temporaryFolder();
  install(tools, ['@arethetypeswrong/cli@0.18.5']);
  const program = join(tools, 'node_modules', '.bin', 'attw');
  const { status, stdout } = spawnSync(program, ['--no-emoji', '--format', 'ascii', packed], { encoding: 'utf8' });
  t.is(status, 0, stdout);
});
