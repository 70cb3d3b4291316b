// Which features of the operator meet in the grid: the table is printed, and no possible pair may be missing from it.

import test from 'ava';
import { coverageOf, features, impossible, tableOf } from './reference/coverage.js';
import { workOf } from './reference/case.js';
import { usual, wholeGrid } from './reference/grid.js';

test('every possible pair of features meets in some case of the grid', (t) => {
  const cases = wholeGrid();
  t.true(cases.length >= 3000, `${cases.length} cases`);
  t.true(cases.every((one) => workOf(one) <= usual.work));
  const coverage = coverageOf(cases);
  const reasons = impossible.map(({ one, other, reason }) => `  ${one.join(', ')} with ${other.join(', ')}: ${reason}`);
  t.log(`cases with both features, of ${cases.length}:\n${tableOf(coverage)}\ncannot meet:\n${reasons.join('\n')}`);
  t.deepEqual(coverage.uncovered, []);
  t.deepEqual(coverage.contradicted, []);
  t.is(new Set(features).size, features.length);
});
