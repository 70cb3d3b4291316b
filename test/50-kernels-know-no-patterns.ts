// Kernels know queries, keys, runs and bits. What a pattern is called stands in lib/, never in native/cpu.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const patterns = /causal|window|neighbou?rhood|dilat|document|prefix|alibi|spars|strided|swin|zigzag|padding of keys/i;

test('no name of a pattern occurs in native/cpu', (t) => {
  const folder = join(__dirname, '..', 'native', 'cpu');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(cc|h|inl)$/.test(name));
  t.true(files.length > 10);
  const found = files.flatMap((name) =>
    readFileSync(join(folder, name), 'utf8')
      .split('\n')
      .flatMap((line, n) => (patterns.test(line) ? [`${name}:${n + 1}: ${line.trim()}`] : [])),
  );
  t.deepEqual(found, []);
});
