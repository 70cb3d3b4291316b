// NaN and infinities where a query may not look never reach its output: keys and values that are masked for all or only for
// some, rows of padding, biases of hidden pairs. Rows that don't see them keep every bit; rows that do are spoiled.

import test from 'ava';
import { callOf, run } from './reference/call.js';
import { describe, type Case } from './reference/case.js';
import { headsOf } from './reference/expected.js';
import type { Topic } from './reference/grid.js';
import { bad, copy, tame, wrongRows } from './reference/poison.js';
import { valuesOf } from './reference/values.js';

const topics: Topic[] = ['masks', 'scores', 'types', 'layouts', 'lengths', 'decode', 'long', 'anything'];

for (const topic of topics) {
  test(`${topic}: what nobody sees changes no bit`, (t) => {
    for (let n = 0; n < 40; n++) t.deepEqual(wrongRows(tame(topic, 81_000 + n), n, true).wrong, []);
  });
  test(`${topic}: what only some see changes only them`, (t) => {
    const total = { kept: 0, spoiled: 0 };
    for (let n = 0; n < 40; n++) {
      const { wrong, kept, spoiled } = wrongRows(tame(topic, 82_000 + n), n, false);
      t.deepEqual(wrong, []);
      total.kept += kept;
      total.spoiled += spoiled;
    }
    t.true(total.kept > 100 && total.spoiled > 20, JSON.stringify(total));
  });
}

test('biases of hidden pairs may be anything', (t) => {
  for (let n = 0; n < 60; n++) {
    const one: Case = {
      ...tame('scores', 83_000 + n),
      bias: { dtype: 'float32', axes: [true, true, true, true] },
      causal: true,
      align: 'top-left',
    };
    if (one.lengths === 'ragged') continue;
    const clean = valuesOf(one);
    const poisoned = copy(clean);
    const heads = headsOf(one, clean);
    const [, headsQ, rows, columns] = poisoned.bias!.shape;
    poisoned.bias!.data = poisoned.bias!.data.map((x, index) => {
      const column = index % columns;
      const row = Math.floor(index / columns) % rows;
      const h = Math.floor(index / columns / rows) % headsQ;
      const head = heads[Math.floor(index / columns / rows / headsQ)]![h]!;
      const live = row < head.queries && column < head.keys && head.allowed(row, column);
      return live ? x : bad[index % 3]!;
    });
    const before = run(callOf(one, clean));
    const after = run(callOf(one, poisoned));
    t.deepEqual(after.output.toFloat32(), before.output.toFloat32(), describe(one));
  }
});
