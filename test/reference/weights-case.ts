// Cases of the grid with a normalizer other than softmax.

import { actualOf, callOf, run } from './call.js';
import { describe, outputDtypeOf, type Case } from './case.js';
import { headsOf } from './expected.js';
import { draw, usual, type Topic } from './grid.js';
import { spacing } from './half.js';
import { within } from './tolerance.js';
import { valuesOf } from './values.js';
import { weighHead, type Weighing } from './weights.js';

export const weighings: Weighing[] = [
  { kind: 'sigmoid' },
  { kind: 'relu' },
  { kind: 'squared-relu' },
  { kind: 'sigmoid', shift: 'keys' },
  { kind: 'relu', divide: 'keys' },
  { kind: 'squared-relu', divide: 'keys' },
  { kind: 'sigmoid', shift: -1.5 },
  { kind: 'relu', divide: 7 },
  { kind: 'squared-relu', divide: 0.3 },
];

/** A case of a topic without what needs a denominator. */
export function weighedCase(topic: Topic, seed: number): Case {
  return weighable(draw(topic, seed, { ...usual, work: 200_000 }));
}

export function weighable(one: Case): Case {
  return { ...one, sinks: false, lse: false, entropy: false, rowMax: false };
}

/** Places that are wrong; empty when the result is right. */
export function wrongWeights(one: Case, normalizer: Weighing): string[] {
  const values = valuesOf(one);
  const call = callOf(one, values);
  const actual = actualOf(one, run({ ...call, options: { ...call.options, normalizer } }));
  const dtype = outputDtypeOf(one);
  const wrong: string[] = [];
  const ragged = one.lengths === 'ragged';
  let first = 0;
  headsOf(one, values).forEach((heads, s) => {
    heads.forEach((head, h) => {
      const { output, bound } = weighHead(head, normalizer);
      for (let n = 0; n < head.queries * head.dimV; n++) {
        const [row, d] = [Math.floor(n / head.dimV), n % head.dimV];
        const got = actual.output(ragged ? 0 : s, h, first + row, d);
        const store = dtype === 'float32' ? 0 : 0.5 * spacing(dtype, Math.abs(output[n]!) + bound[n]!);
        if (within(got, output[n]!, bound[n]! + store)) continue;
        const where = `output[${s}, ${h}, ${first + row}][${d}]`;
        wrong.push(`${where}: ${got}, expected ${output[n]} +- ${bound[n]! + store}`);
      }
      const padded = ragged ? 0 : one.queries;
      for (let row = head.queries; row < padded; row++) {
        if (actual.output(s, h, row, 0) !== 0) wrong.push(`output[${s}, ${h}, ${row}] in a padded row`);
      }
    });
    if (ragged) first += heads[0]!.queries;
  });
  return wrong.length === 0 ? [] : [...wrong.slice(0, 3), `${JSON.stringify(normalizer)} of ${describe(one)}`];
}
