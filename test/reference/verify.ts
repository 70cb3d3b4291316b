// Runs a case of the grid and says what is wrong with the result.

import test from 'ava';
import { actualOf, callOf, run } from './call.js';
import { describe, type Case } from './case.js';
import { differences } from './check.js';
import { expectedOf } from './expected.js';
import { grid, long, usual, type Topic } from './grid.js';
import { valuesOf } from './values.js';

/** Empty when the library's result of the case is right. */
export function verify(one: Case): string[] {
  const values = valuesOf(one);
  const result = run(callOf(one, values));
  return differences(one, expectedOf(one, values), actualOf(one, result));
}

const step = 50;

/** One test for every fifty cases of a topic. With LONG_GRID set, twelve times as many and larger ones. */
export function testGrid(topic: Topic): void {
  const cases = grid(topic, process.env['LONG_GRID'] ? long : usual);
  for (let first = 0; first < cases.length; first += step) {
    const some = cases.slice(first, first + step);
    test(`${topic}: cases ${first} to ${first + some.length - 1}`, (t) => {
      const failures = some.flatMap((one) => {
        const wrong = verify(one);
        return wrong.length > 0 ? [`${wrong.join('\n')}\n  in ${describe(one)}`] : [];
      });
      t.is(failures.length, 0, failures.slice(0, 3).join('\n'));
    });
  }
}
