// Statistics of cases of the grid: every weight from the float64 reference, and sums and maxima of those.

import type { Statistics, StatisticsOptions, Tensor } from '../../lib/index.js';
import { attendHead } from './attention.js';
import { callOf, reader, run } from './call.js';
import { describe, rowsOf, type Case } from './case.js';
import { headsOf } from './expected.js';
import { draw, usual, type Topic } from './grid.js';
import { Random } from './random.js';
import { outputBound, rowContext, unit, within } from './tolerance.js';
import { valuesOf } from './values.js';

export function statisticsCase(topic: Topic, seed: number): Case {
  return draw(topic, seed, { ...usual, work: 200_000 });
}

/** Everything that can be asked of a case. */
export function everything(one: Case): StatisticsOptions {
  const random = new Random(one.seed + 77);
  const { keys } = rowsOf(one);
  const ends = Array.from({ length: 2 * random.integer(1, 4) }, () => random.integer(0, keys)).sort((a, b) => a - b);
  const ranges = ends.flatMap((end, n) => (n % 2 === 1 ? [[ends[n - 1]!, end] as const] : []));
  const columns = Array.from({ length: keys }, (_, n) => n).filter(() => random.chance(5 / (keys + 1)));
  const blockSize = [random.integer(1, 40), random.integer(1, 150)] as const;
  return {
    mass: ranges,
    ...(columns.length > 0 ? { columns } : {}),
    topK: random.integer(1, 16),
    ...(one.lengths === 'ragged' ? {} : { blocks: { blockSize, max: true } }),
    columnSums: true,
  };
}

/** A weight, or a sum of some, and how far float32 may be away from it. */
interface Bounded {
  value: number;
  bound: number;
}

const nothing: Bounded = { value: 0, bound: 0 };

function sum(weights: readonly Bounded[]): Bounded {
  const value = weights.reduce((all, one) => all + one.value, 0);
  const bound = weights.reduce((all, one) => all + one.bound, 0);
  return { value, bound: bound + unit * (weights.length + 4) * value };
}

const largest = (weights: readonly Bounded[]): Bounded => ({
  value: Math.max(0, ...weights.map(({ value }) => value)),
  bound: Math.max(0, ...weights.map(({ bound }) => bound)),
});

/** What is wrong; empty when all is right. */
export function wrongStatistics(one: Case, options = everything(one)): string[] {
  const values = valuesOf(one);
  const call = callOf(one, values);
  const result = run({ ...call, options: { ...call.options, statistics: options } as typeof call.options });
  const actual = (result as { statistics?: Statistics }).statistics!;
  const ragged = one.lengths === 'ragged';
  const wrong: string[] = [];
  const check = (name: string, tensor: Tensor, index: number[], { value, bound }: Bounded): void => {
    const got = reader(tensor)(...(ragged ? index.slice(1) : index));
    if (!within(got, value, bound)) wrong.push(`${name}[${index.join(', ')}]: ${got}, expected ${value} +- ${bound}`);
  };
  let rowQ = 0;
  let rowKv = 0;
  headsOf(one, values).forEach((heads, s) => {
    const { queries, keys, dimQk } = heads[0]!;
    const b = ragged ? 0 : s;
    heads.forEach((head, h) => {
      // With the identity as values, outputs are weights.
      const identity = new Float64Array(keys * keys);
      for (let n = 0; n < keys; n++) identity[n * keys + n] = 1;
      const reference = attendHead({ ...head, dimV: keys, value: identity });
      const weights = Array.from({ length: queries }, (_none, row) =>
        Array.from({ length: keys }, (_, column): Bounded => {
          const value = reference.output[row * keys + column]!;
          // The division rounds once more, and subnormals are gone.
          const bound = outputBound(rowContext(reference, row, dimQk, keys), value) + 4 * unit * value + 2 ** -120;
          return { value, bound };
        }),
      );
      const rows = ragged ? queries : one.queries;
      for (let row = 0; row < rows; row++) {
        const own = weights[row] ?? [];
        const at = [b, h, rowQ + row];
        options.mass?.forEach(([begin, end], n) => check('mass', actual.mass!, [...at, n], sum(own.slice(begin, end))));
        options.columns?.forEach((column, n) => check('columns', actual.columns!, [...at, n], own[column] ?? nothing));
        wrong.push(...wrongTop(actual, options.topK!, ragged ? at.slice(1) : at, own));
      }
      if (actual.blockSums && actual.blockMax) {
        const [bq, bk] = options.blocks!.blockSize as readonly [number, number];
        for (let y = 0; y * bq < one.queries; y++) {
          for (let x = 0; x * bk < one.keys; x++) {
            const inside = weights.slice(y * bq, (y + 1) * bq).flatMap((row) => row.slice(x * bk, (x + 1) * bk));
            check('blockSums', actual.blockSums, [b, h, y, x], sum(inside));
            check('blockMax', actual.blockMax, [b, h, y, x], largest(inside));
          }
        }
      }
      for (let column = 0; column < (ragged ? keys : one.keys); column++) {
        const all = weights.map((row) => row[column] ?? nothing);
        check('columnSums', actual.columnSums!, [b, h, rowKv + column], sum(all));
      }
    });
    if (ragged) [rowQ, rowKv] = [rowQ + queries, rowKv + keys];
  });
  return wrong.length === 0 ? [] : [...wrong.slice(0, 3), `${JSON.stringify(options)} of ${describe(one)}`];
}

/** Near ties may come in any order, but each weight has to be its column's, and of the rank that it stands at. */
function wrongTop({ topK }: Statistics, k: number, index: number[], weights: readonly Bounded[]): string[] {
  const read = reader(topK!.weights);
  const { strides } = topK!.weights;
  const first = index.reduce((at, n, axis) => at + n * strides[axis]!, 0);
  const ranked = [...weights].sort((a, b) => b.value - a.value);
  const seen = new Set<number>();
  const wrong: string[] = [];
  let before = Infinity;
  let last = -1;
  for (let n = 0; n < k; n++) {
    const column = topK!.columns[first + n]!;
    const weight = read(...index, n);
    const rank = ranked[n] ?? nothing;
    const where = `topK[${[...index, n].join(', ')}]: ${weight} of column ${column}`;
    if (column === -1) {
      if (weight !== 0 || rank.value > 2 ** -120) wrong.push(`${where}, expected ${rank.value}`);
      before = 0;
      continue;
    }
    const own = weights[column] ?? nothing;
    if (!within(weight, own.value, own.bound)) wrong.push(`${where}, whose weight is ${own.value}`);
    if (!within(weight, rank.value, rank.bound + own.bound)) wrong.push(`${where}, expected ${rank.value}`);
    const tied = weight === before && weight > 2 ** -100;
    if (weight > before || seen.has(column) || (tied && column < last)) wrong.push(`${where} after ${before}`);
    seen.add(column);
    before = weight;
    last = column;
  }
  return wrong;
}
