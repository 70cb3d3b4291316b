// The mutants of the kernels are built and judged by `npm run test:mutants`, which takes minutes. Whether each is still
// found in the sources is seen here.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { mutants } from './mutants/list.js';

test('the search of every mutant occurs once', (t) => {
  t.true(mutants.length > 50);
  const lost = mutants.flatMap(({ name, file, search, replacement }) => {
    const count = readFileSync(join(__dirname, '..', file), 'utf8').split(search).length - 1;
    return count === 1 && search !== replacement ? [] : [`${name}: '${search}' occurs ${count} times in ${file}`];
  });
  t.deepEqual(lost, []);
});
