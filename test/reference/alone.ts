// One sequence and one query head of a case as a case of its own: what its bits may depend on, and nothing else.

import { actualOf, callOf, run } from './call.js';
import { describe, type Case } from './case.js';
import { valuesOf, type Grid, type Values } from './values.js';

function slice(grid: Grid, b: number, h: number, queries: number, keys: number): Grid {
  const [batches, heads, rows, columns] = grid.shape;
  const line = ((batches === 1 ? 0 : b) * heads + (heads === 1 ? 0 : h)) * rows * columns;
  const cut = { rows: rows === 1 ? 1 : queries, columns: columns === 1 ? 1 : keys };
  const data = new Float64Array(cut.rows * cut.columns);
  for (let row = 0; row < cut.rows; row++) {
    data.set(grid.data.subarray(line + row * columns, line + row * columns + cut.columns), row * cut.columns);
  }
  return { shape: [1, 1, cut.rows, cut.columns], data };
}

function alone(test: Case, values: Values, s: number, h: number): { test: Case; values: Values } {
  const { batch, queries, keys } = values.sequences[s]!;
  const hkv = Math.floor(h / (test.headsQ / test.headsKv));
  return {
    test: {
      ...test,
      batch: 1,
      headsQ: 1,
      headsKv: 1,
      lengths: 'dense',
      lengthsQ: null,
      lengthsKv: null,
      queries,
      keys,
      layout: 'bhsd',
      storage: { query: 'plain', key: 'plain', value: 'plain' },
      threads: 1,
    },
    values: {
      sequences: [{ batch: 0, queries, keys, rowQ: 0, rowKv: 0 }],
      query: [[values.query[s]![h]!]],
      key: [[values.key[s]![hkv]!]],
      value: [[values.value[s]![hkv]!]],
      masks: values.masks.map((mask) => slice(mask, batch, h, queries, keys)),
      bias: values.bias && slice(values.bias, batch, h, queries, keys),
      sinks: values.sinks && values.sinks.slice(h, h + 1),
    },
  };
}

/** Where a row of the case has other bits than its sequence and head have alone; null when nowhere. */
export function differsAlone(test: Case): string | null {
  const values = valuesOf(test);
  const together = actualOf(test, run(callOf(test, values)));
  let first = 0;
  for (const [s, { queries }] of values.sequences.entries()) {
    for (let h = 0; h < test.headsQ; h++) {
      const single = alone(test, values, s, h);
      const lonely = actualOf(single.test, run(callOf(single.test, single.values)));
      const [b, from] = test.lengths === 'ragged' ? [0, first] : [s, 0];
      for (let row = 0; row < queries; row++) {
        const statistics = (['lse', 'entropy', 'rowMax'] as const).every(
          (name) => !test[name] || Object.is(together[name]!(b, h, from + row), lonely[name]!(0, 0, row)),
        );
        let same = statistics;
        for (let d = 0; d < test.dimV; d++) {
          same &&= Object.is(together.output(b, h, from + row, d), lonely.output(0, 0, row, d));
        }
        if (!same) return `sequence ${s}, head ${h}, row ${row} of ${describe(test)}`;
      }
    }
    first += queries;
  }
  return null;
}
