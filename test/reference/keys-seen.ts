// Exactly which keys were seen. With q = 0 every visible key has weight 1, so sums of small integers are exact: one-hot
// values show each weight, a position code shows the sums of positions, lse is ln(count).

import { actualOf, callOf, run } from './call.js';
import { describe, type Case } from './case.js';
import { headsOf } from './expected.js';
import { draw, usual, type Topic } from './grid.js';
import { callWith, hideBy, libraryMask } from './program-case.js';
import type { RandomProgram } from './random-program.js';
import { lseBound } from './tolerance.js';
import { valuesOf } from './values.js';

export type Code = 'one-hot' | 'positions';

/** A case of the topic with all scores 0 or, where its bias was, -infinity. */
export function flat(topic: Topic, seed: number, code: Code): Case {
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

/** What is wrong with the keys that a flat case saw, also through a mask program. */
export function wrongKeys(one: Case, code: Code, program?: RandomProgram): string[] {
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
  const call = program === undefined ? callOf(one, values) : callWith(one, values, { mask: libraryMask(program) });
  const actual = actualOf(one, run(call));
  const expected = headsOf(one, values);
  if (program !== undefined) hideBy(one, values, expected, program);
  const wrong: string[] = [];
  let first = 0;
  expected.forEach((heads, s) => {
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
          if (got !== want)
            wrong.push(`output[${b}, ${h}, ${at}][${d}]: ${got * count}, expected ${want * count} of ${count}`);
        }
        const lse = actual.lse!(b, h, at);
        const want = Math.log(count);
        const bound = lseBound({ dimQk: one.dimQk, keys: head.keys, magnitude: 0, lse: want });
        if (!(lse === want || Math.abs(lse - want) <= bound))
          wrong.push(`lse[${b}, ${h}, ${at}]: ${lse}, expected ln ${count}`);
      }
    });
    first += heads[0]!.queries;
  });
  return wrong.length > 0 ? [...wrong.slice(0, 4), `in ${describe(one)} ${program?.source ?? ''}`] : [];
}
