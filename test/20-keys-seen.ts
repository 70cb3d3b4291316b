// Exactly which keys were seen. With q = 0 every visible key has weight 1, so sums of small integers are exact: one-hot
// values show each weight, a position code shows the sums of positions, lse is ln(count).

import test from 'ava';
import { actualOf, callOf, run } from './reference/call.js';
import { describe, type Case } from './reference/case.js';
import { attendHead } from './reference/attention.js';
import { headsOf } from './reference/expected.js';
import { draw, usual, type Topic } from './reference/grid.js';
import { lseBound } from './reference/tolerance.js';
import { valuesOf } from './reference/values.js';

/** A case of the topic with all scores 0 or, where its bias was, -infinity. */
function flat(topic: Topic, seed: number, code: 'one-hot' | 'positions'): Case {
  const one = draw(topic, seed, usual);
  const dimV = code === 'positions' ? 3 : Math.min(Math.max(one.keys, ...(one.lengthsKv ?? []), 1), 1024);
  const packed = one.storage.query === 'packed';
  return {
    ...one,
    dimV,
    dtypes: packed ? { query: 'float32', key: 'float32', value: 'float32' } : { ...one.dtypes, value: 'float32' },
    outputDtype: 'float32',
    scores: 'flat',
    sinks: false,
    lse: true,
  };
}

function check(one: Case, code: 'one-hot' | 'positions'): string[] {
  const values = valuesOf(one);
  values.value = values.sequences.map(({ keys }) => {
    const rows = new Float64Array(keys * one.dimV);
    for (let j = 0; j < keys; j++) {
      if (code === 'one-hot') rows[j * one.dimV + (j % one.dimV)] = 1;
      else rows.set([1, j, (j * j) % 101], j * 3);
    }
    return Array.from({ length: one.headsKv }, () => rows);
  });
  const { bias } = values;
  if (bias !== null) bias.data = bias.data.map((x) => (x > 0.7 ? -Infinity : 0));
  const actual = actualOf(one, run(callOf(one, values)));
  const wrong: string[] = [];
  let first = 0;
  headsOf(one, values).forEach((heads, s) => {
    heads.forEach((head, h) => {
      for (let row = 0; row < head.queries; row++) {
        const sums = new Float64Array(one.dimV);
        let count = 0;
        for (let j = 0; j < head.keys; j++) {
          if (!head.allowed(row, j) || head.bias?.(row, j) === -Infinity) continue;
          count++;
          for (let d = 0; d < one.dimV; d++) sums[d]! += head.value[j * one.dimV + d]!;
        }
        const [b, at] = one.lengths === 'ragged' ? [0, first + row] : [s, row];
        for (let d = 0; d < one.dimV; d++) {
          const want = count === 0 ? 0 : Math.fround(sums[d]! / count);
          const got = actual.output(b, h, at, d);
          if (got !== want) wrong.push(`output[${b}, ${h}, ${at}][${d}]: ${got * count}, expected ${want * count} of ${count}`);
        }
        const lse = actual.lse!(b, h, at);
        const want = Math.log(count);
        const bound = lseBound({ dimQk: one.dimQk, keys: head.keys, magnitude: 0, lse: want });
        if (!(lse === want || Math.abs(lse - want) <= bound)) wrong.push(`lse[${b}, ${h}, ${at}]: ${lse}, expected ln ${count}`);
      }
    });
    first += heads[0]!.queries;
  });
  return wrong.length > 0 ? [...wrong.slice(0, 4), `in ${describe(one)}`] : [];
}

const topics: Topic[] = ['masks', 'lengths', 'layouts', 'decode', 'long', 'anything'];

for (const topic of topics) {
  test(`${topic}: one-hot values show every weight`, (t) => {
    for (let n = 0; n < 40; n++) {
      const one = flat(topic, 77_000 + n, 'one-hot');
      if (one.keys <= 400) t.deepEqual(check(one, 'one-hot'), []);
    }
  });
  test(`${topic}: position codes sum to the positions seen`, (t) => {
    for (let n = 0; n < 60; n++) t.deepEqual(check(flat(topic, 78_000 + n, 'positions'), 'positions'), []);
  });
}

test('the positions of every band over a range of shapes', (t) => {
  const base = flat('dense', 1, 'positions');
  for (const [queries, keys] of [[1, 1], [1, 9], [9, 1], [7, 12], [12, 7], [30, 30], [26, 300], [5, 1100]] as const) {
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
          t.deepEqual(check(one, 'positions'), []);
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
