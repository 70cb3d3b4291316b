// Which keys are seen, exactly: every mask, band, layout and batch with scores of 0.

import test from 'ava';
import { attendHead } from './reference/attention.js';
import type { Case } from './reference/case.js';
import { headsOf } from './reference/expected.js';
import type { Topic } from './reference/grid.js';
import { flat, wrongKeys } from './reference/keys-seen.js';
import { valuesOf } from './reference/values.js';

const topics: Topic[] = ['masks', 'lengths', 'layouts', 'decode', 'long', 'anything'];

for (const topic of topics) {
  test(`${topic}: one-hot values show every weight`, (t) => {
    for (let n = 0; n < 40; n++) {
      const one = flat(topic, 77_000 + n, 'one-hot');
      if (one.keys <= 400) t.deepEqual(wrongKeys(one, 'one-hot'), []);
    }
  });
  test(`${topic}: position codes sum to the positions seen`, (t) => {
    for (let n = 0; n < 60; n++) t.deepEqual(wrongKeys(flat(topic, 78_000 + n, 'positions'), 'positions'), []);
  });
}

test('the positions of every band over a range of shapes', (t) => {
  const base = flat('dense', 1, 'positions');
  for (const [queries, keys] of [
    [1, 1],
    [1, 9],
    [9, 1],
    [7, 12],
    [12, 7],
    [30, 30],
    [26, 300],
    [5, 1100],
  ] as const) {
    for (const align of ['bottom-right', 'top-left'] as const) {
      for (const causal of [false, true]) {
        for (const window of [null, [0, 0], [2, 1], [Infinity, 3], [4, Infinity], [130, 0], [0, 200]] as const) {
          const one: Case = {
            ...base,
            batch: 1,
            headsQ: 2,
            headsKv: 1,
            dimQk: 2,
            lengths: 'dense',
            lengthsQ: null,
            lengthsKv: null,
            queries,
            keys,
            align,
            causal,
            window: window === null ? null : [...window],
            masks: [],
            bias: null,
          };
          t.deepEqual(wrongKeys(one, 'positions'), []);
        }
      }
    }
  }
});

test('the reference agrees that q = 0 gives ln(count)', (t) => {
  const one = flat('masks', 5, 'positions');
  const values = valuesOf(one);
  for (const heads of headsOf({ ...one, bias: null }, { ...values, bias: null })) {
    for (const head of heads) {
      const { lse, count } = attendHead(head);
      lse.forEach((x, row) => t.true(Math.abs(x - Math.log(count[row]!)) < 1e-12 || x === Math.log(count[row]!)));
    }
  }
});
