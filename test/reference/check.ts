// Compares a result with what is expected, element by element, and says in words what is wrong.

import type { Case } from './case.js';
import { outputDtypeOf } from './case.js';
import type { Expected } from './expected.js';
import { spacing } from './half.js';
import * as tolerance from './tolerance.js';

/** A result as accessors by tensor indices: [batch, head, row], or [0, head, row of all] when ragged. */
export interface Actual {
  output(b: number, h: number, row: number, d: number): number;
  lse: ((b: number, h: number, row: number) => number) | null;
  entropy: ((b: number, h: number, row: number) => number) | null;
  rowMax: ((b: number, h: number, row: number) => number) | null;
}

/** What else a 16-bit output may be held to. */
export interface HalfRules {
  /** Weights may be rounded to the type before they meet the values: nothing is asked of single components then. */
  roundedWeights?: boolean;
  /** See HalfRule's verdict. */
  times?: number;
  fewest?: number;
}

/** Places that are wrong; empty when the result is right. At most `limit` of them. */
export function differences(
  test: Case,
  expected: Expected,
  actual: Actual,
  { roundedWeights = false, times, fewest }: HalfRules = {},
  limit = 4,
): string[] {
  const wrong: string[] = [];
  const say = (text: string) => {
    if (wrong.length < limit) wrong.push(text);
  };
  const dtype = outputDtypeOf(test);
  const rule = dtype === 'float32' ? null : new tolerance.HalfRule(dtype);
  const ragged = test.lengths === 'ragged';
  const padded = ragged ? 0 : test.queries;
  let firstRow = 0;

  expected.heads.forEach((heads, s) => {
    const b = ragged ? 0 : s;
    heads.forEach((head, h) => {
      const result = expected.results[s]![h]!;
      for (let local = 0; local < head.queries; local++) {
        const row = (ragged ? firstRow : 0) + local;
        const where = `[${b}, ${h}, ${row}]`;
        const context = tolerance.rowContext(result, local, head.dimQk, head.keys);
        const empty = result.count[local] === 0;

        for (let d = 0; d < head.dimV; d++) {
          const index = local * head.dimV + d;
          const got = actual.output(b, h, row, d);
          const want = result.output[index]!;
          if (empty) {
            if (got !== 0) say(`output${where}[${d}]: ${got} in an empty row`);
            continue;
          }
          rule?.add(got, want, expected.lp![s]![h]![index]!);
          if (rule && roundedWeights) continue;
          // A 16-bit result is a float32 one rounded once more: kernels that accumulate in float32 owe that too.
          const bound = tolerance.outputBound(context, result.spread[index]!);
          const store = dtype === 'float32' ? 0 : 0.5 * spacing(dtype, Math.abs(want) + bound);
          if (!tolerance.within(got, want, bound + store))
            say(`output${where}[${d}]: ${got}, expected ${want} +- ${bound + store}`);
        }

        const scalar = (name: 'lse' | 'entropy' | 'rowMax', bound: (want: number) => number) => {
          const read = actual[name];
          if (read === null) return;
          const want = result[name][local]!;
          const got = read(b, h, row);
          if (!tolerance.within(got, want, bound(want)))
            say(`${name}${where}: ${got}, expected ${want} +- ${bound(want)}`);
        };
        scalar('lse', () => tolerance.lseBound(context));
        scalar('entropy', (want) => (empty ? 0 : tolerance.entropyBound(context, want)));
        scalar('rowMax', (want) => (empty ? 0 : tolerance.rowMaxBound(context, want)));
      }

      // Rows of a padded batch past the sequence.
      for (let row = head.queries; row < padded; row++) {
        for (let d = 0; d < head.dimV; d++) {
          const got = actual.output(b, h, row, d);
          if (got !== 0) say(`output[${b}, ${h}, ${row}][${d}]: ${got} in a padded row`);
        }
        if (actual.lse !== null && actual.lse(b, h, row) !== -Infinity) say(`lse[${b}, ${h}, ${row}] in a padded row`);
      }
    });
    firstRow += heads[0]!.queries;
  });
  const verdict = rule?.verdict(times, fewest);
  if (verdict) say(verdict);
  return wrong;
}
