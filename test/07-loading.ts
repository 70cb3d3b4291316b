// What a user is told when the addon cannot be loaded. Each case is a copy of the built package in its own process.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import test from 'ava';
import { remedies, type LoadAttempt } from '../lib/load-failure.js';

const root = resolve(__dirname, '..');
const binary = join(root, 'build', 'Release', 'fused_attention.node');
const folder = mkdtempSync(join(tmpdir(), 'fused-attention-loading-'));
test.after.always(() => rmSync(folder, { recursive: true, force: true }));

/** A package of its own: dist/, node-gyp-build, and the files given (null: the real binary). */
function copyPackage(name: string, files: Record<string, string | null>, version?: string): string {
  const copy = join(folder, name);
  cpSync(join(root, 'dist'), join(copy, 'dist'), { recursive: true });
  const loader = join('node_modules', 'node-gyp-build');
  cpSync(join(root, loader), join(copy, loader), { recursive: true });
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;
  writeFileSync(join(copy, 'package.json'), JSON.stringify({ ...manifest, version: version ?? manifest['version'] }));
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(copy, file)), { recursive: true });
    if (text === null) cpSync(binary, join(copy, file));
    else writeFileSync(join(copy, file), text);
  }
  return copy;
}

interface Answer {
  code?: string;
  argument?: string;
  message: string;
}

const program = `
  const library = require(process.argv[1]);
  try {
    console.log(JSON.stringify({ message: 'loaded ' + library.devices()[0].device }));
  } catch ({ code, argument, message }) {
    console.log(JSON.stringify({ code, argument, message }));
  }`;

function ask(copy: string, env: Record<string, string> = {}, flags: string[] = []): Answer {
  const { stdout, stderr } = spawnSync(process.execPath, [...flags, '-e', program, copy], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], ...env },
  });
  return stdout === '' ? { message: stderr } : (JSON.parse(stdout) as Answer);
}

const target = join('prebuilds', `${process.platform}-${process.arch}`, 'fused_attention.glibc.node');
const build = join('build', 'Release', 'fused_attention.node');

test('nothing there: every place looked at is named, and the source build', (t) => {
  const { code, argument, message } = ask(copyPackage('nothing', {}));
  t.is(code, 'ERR_LOAD_FAILED');
  t.is(argument, 'native addon');
  for (const place of ['build/Release: no such folder', 'build/Debug: no such folder', 'prebuilds: no such folder']) {
    t.true(message.includes(place), message);
  }
  t.regex(message, /no prebuilt binary for \S+-\S+ .*npm run build:native/);
});

test('only a binary of another platform', (t) => {
  const { message } = ask(copyPackage('foreign', { 'prebuilds/plan9-mips/fused_attention.node': 'x' }));
  t.true(message.includes('has plan9-mips/fused_attention.node'), message);
  t.regex(message, /no prebuilt binary for/);
});

test('a prebuilt binary loads; PREBUILDS_ONLY passes over build/', (t) => {
  t.is(ask(copyPackage('prebuilt', { [target]: null })).message, 'loaded cpu');
  const copy = copyPackage('both', { [target]: null, [build]: 'not a binary' });
  t.is(ask(copy, { PREBUILDS_ONLY: '1' }).message, 'loaded cpu');
  const { code, message } = ask(copy);
  t.is(code, 'ERR_LOAD_FAILED', 'a broken build must not be passed over in silence');
  t.true(message.includes(`${join(copy, build)}: chosen, could not be loaded`), message);
});

test('a file that is no binary', (t) => {
  const { code, message } = ask(copyPackage('text', { [target]: 'text, '.repeat(100) }));
  t.is(code, 'ERR_LOAD_FAILED');
  t.regex(message, /is no binary for .*reinstall/);
});

test('a binary of another version', (t) => {
  const { code, message } = ask(copyPackage('stale', { [build]: null }, '9.9.9'));
  t.is(code, 'ERR_LOAD_FAILED');
  t.regex(message, /the addon reports \d+\.\d+\.\d+, the package is 9\.9\.9/);
  t.regex(message, /left over from another version: rebuild it/);
});

test('FUSED_ATTENTION_NATIVE_PATH: taken alone, right, wrong and of another version', (t) => {
  const copy = copyPackage('path', { [target]: null, 'elsewhere/addon.node': null });
  t.is(ask(copy, { FUSED_ATTENTION_NATIVE_PATH: join(copy, 'elsewhere', 'addon.node') }).message, 'loaded cpu');
  const { code, argument, message } = ask(copy, { FUSED_ATTENTION_NATIVE_PATH: '/nowhere/addon.node' });
  t.is(code, 'ERR_LOAD_FAILED');
  t.is(argument, 'FUSED_ATTENTION_NATIVE_PATH');
  t.regex(message, /names no file: correct it \(it is "\/nowhere\/addon\.node"\), or unset it/);
  const other = copyPackage('path-stale', {}, '9.9.9');
  t.regex(ask(other, { FUSED_ATTENTION_NATIVE_PATH: binary }).message, /names a binary of another version/);
});

test('addons switched off', (t) => {
  const copy = copyPackage('off', { [target]: null });
  const { code, message } = ask(copy, {}, ['--no-addons']);
  t.is(code, 'ERR_LOAD_FAILED');
  t.regex(message, /start Node without --no-addons/);
});

test('the permission model', (t) => {
  const permission = ['--permission', '--experimental-permission'].find((flag) =>
    process.allowedNodeEnvironmentFlags.has(flag),
  );
  const copy = copyPackage('permission', { [target]: null });
  const { code, message } = ask(copy, {}, [permission!, '--allow-fs-read=*']);
  t.is(code, 'ERR_LOAD_FAILED', message);
  t.regex(message, /with --allow-addons under the permission model/);
});

test('without the addon the package still imports, and calls reject', (t) => {
  const copy = copyPackage('rejects', {});
  const script = `
    const { Tensor, attention } = require(process.argv[1]);
    const tensor = Tensor.from(new Float32Array(4), [1, 1, 1, 4]);
    const call = () => attention(tensor, tensor, tensor).then(() => 'resolved', (error) => error);
    Promise.all([call(), call()]).then(([a, b]) => console.log(a.name, a.code, a.message === b.message));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', script, copy], { encoding: 'utf8' });
  t.is(stdout, 'AttentionError ERR_LOAD_FAILED true\n', stderr);
});

const healthy: LoadAttempt = {
  path: '/app/node_modules/fused-attention/prebuilds/linux-x64/fused_attention.glibc.node',
  error: new Error(''),
  platform: 'linux',
  arch: 'x64',
  libc: 'glibc',
  glibcVersion: '2.28',
  nodeVersion: '22.12.0',
  napiVersion: 9,
  packageRoot: '/app/node_modules/fused-attention',
  nativePath: null,
};

/** What the dynamic linkers say, and the remedy. */
const messages: [name: string, message: string, remedy: RegExp, context?: Partial<LoadAttempt>][] = [
  [
    'glibc too old',
    "/lib64/libc.so.6: version `GLIBC_2.34' not found (required by /app/fused_attention.glibc.node)",
    /needs GLIBC_2\.34 and this system has glibc 2\.28/,
  ],
  [
    'libstdc++ too old',
    "/lib64/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by /app/fused_attention.glibc.node)",
    /needs GLIBCXX_3\.4\.30: install a newer libstdc\+\+/,
  ],
  [
    'libstdc++ missing',
    'libstdc++.so.6: cannot open shared object file: No such file or directory',
    /libstdc\+\+\.so\.6 is missing: install/,
  ],
  [
    'musl',
    'Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by /app/x.node)',
    /built against glibc and this system uses musl/,
    { libc: 'musl', glibcVersion: null },
  ],
  [
    'another architecture',
    "dlopen(/app/x.node, 0x0001): tried: '/app/x.node' (mach-o file, but is an incompatible architecture)",
    /is no binary for darwin-arm64/,
    { platform: 'darwin', arch: 'arm64', libc: null },
  ],
  ['anything else', 'something unheard of', /reinstall fused-attention, or build it from source/],
];

for (const [name, message, remedy, context] of messages) {
  test(`remedy: ${name}`, (t) => {
    const lines = remedies({ ...healthy, ...context, error: new Error(message) });
    t.is(lines.length, 1);
    t.regex(lines[0]!, remedy);
  });
}

test('remedy: Node too old comes first', (t) => {
  for (const nodeVersion of ['18.20.0', '20.18.3']) {
    t.is(remedies({ ...healthy, nodeVersion })[0], `Node ${nodeVersion} is too old: use 20.19 or newer`);
  }
  t.is(remedies({ ...healthy, nodeVersion: '20.19.0' }).length, 1);
});
