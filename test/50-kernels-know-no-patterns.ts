// Kernels know queries, keys, runs and bits. What a pattern is called stands in lib/, never in native/cpu or cuda.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const patterns =
  /causal|window(?!s\.h)|neighbou?rhood|dilat|document|prefix|alibi|spars|strided|swin|zigzag|padding of keys/i;

for (const place of ['native/cpu', 'cuda']) {
  test(`no name of a pattern occurs in ${place}`, (t) => {
    const folder = join(__dirname, '..', place);
    const all = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const files = all.filter((name) => /\.(cc|h|inl|cu|cuh)$/.test(name));
    t.true(files.length > 10);
    const found = files.flatMap((name) =>
      readFileSync(join(folder, name), 'utf8')
        .split('\n')
        .flatMap((line, n) => (patterns.test(line) ? [`${name}:${n + 1}: ${line.trim()}`] : [])),
    );
    t.deepEqual(found, []);
  });
}
