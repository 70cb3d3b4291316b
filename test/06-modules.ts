// The built package from both module systems. `npm test` builds it first.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';

const root = resolve(__dirname, '..');
const dist = join(root, 'dist');

interface Library {
  Tensor: { from(data: Float32Array, shape: number[]): object };
}

test('import and require give the same names and the very same objects', async (t) => {
  const required = createRequire(__filename)(join(dist, 'index.js')) as Record<string, unknown>;
  const imported = (await import(pathToFileURL(join(dist, 'index.mjs')).href)) as Record<string, unknown>;
  const names = Object.keys(required).sort();
  t.true(names.length > 5);
  t.deepEqual(Object.keys(imported).sort(), names);
  for (const name of names) {
    t.is(imported[name], required[name], name);
    if (typeof required[name] === 'function') t.is(required[name].name, name);
  }
});

test('a tensor made by one is a tensor for the other', async (t) => {
  const required = createRequire(__filename)(join(dist, 'index.js')) as Library;
  const imported = (await import(pathToFileURL(join(dist, 'index.mjs')).href)) as Library;
  t.true(imported.Tensor.from(new Float32Array(1), [1]) instanceof (required.Tensor as unknown as typeof Object));
});

test('the package finds itself by name', (t) => {
  const script = "require('fused-attention').Tensor.name + (await import('fused-attention')).Tensor.name";
  const program = `(async () => console.log(${script}))()`;
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', program], { cwd: root, encoding: 'utf8' });
  t.is(stdout, 'TensorTensor\n', stderr);
});
