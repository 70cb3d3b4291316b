// Which features met in some case of the grid. Every pair of the list must, but for those that cannot.

import { featuresOf, type Case } from './case.js';

/** In the order of the table. */
export const features = [
  'float32', 'float16', 'bfloat16', 'mixed types', 'output type',
  'bhsd', 'bshd', 'offset views', 'strided views', 'packed views', 'shared views',
  'padded', 'ragged', 'top-left', 'causal', 'window',
  'key padding', 'mask [1,1,N,N]', 'mask [1,H,N,N]', 'mask [B,1,N,N]', 'mask [B,H,N,N]', 'several masks',
  'bias [B..]', 'bias [.H..]', 'bias, one row', 'bias, one column', 'bias, full grid', '16-bit bias',
  'softcap', 'sinks', 'scale',
  'grouped heads', 'one kv head', 'd_qk < d_v', 'd_qk > d_v', 'd < 8', 'd > 128', 'odd d',
  'one query', 'no query', 'no key', 'Nq < Nkv', 'Nq > Nkv', 'Nkv > 512',
  'wide scores', 'tied scores', 'lse', 'entropy', 'rowMax',
]; // prettier-ignore

interface Rule {
  one: string[];
  other: string[];
  reason: string;
}

const tensors = features.filter((feature) => /^(key padding|mask|several masks|bias|16-bit bias)/.test(feature));

/** Pairs that cannot meet, and why. */
export const impossible: Rule[] = [
  { one: ['ragged'], other: tensors, reason: 'mask and bias tensors are refused with ragged rows' },
  { one: ['ragged'], other: ['bhsd', 'bshd'], reason: 'ragged tensors have one layout, [total, H, D]' },
  { one: ['ragged'], other: ['padded'], reason: 'a batch is the one or the other' },
  { one: ['ragged'], other: ['shared views'], reason: 'there is no batch axis to share' },
  { one: ['bhsd'], other: ['bshd'], reason: 'one layout a call' },
  { one: ['float32'], other: ['float16', 'bfloat16', 'mixed types'], reason: 'all inputs have it' },
  { one: ['float16'], other: ['bfloat16', 'mixed types'], reason: 'all inputs have it' },
  { one: ['bfloat16'], other: ['mixed types'], reason: 'all inputs have it' },
  { one: ['packed views'], other: ['mixed types'], reason: 'one buffer has one type' },
  {
    one: ['packed views'],
    other: ['offset views', 'strided views', 'shared views'],
    reason: 'all inputs are in one buffer',
  },
  { one: ['bias, full grid'], other: ['bias, one row', 'bias, one column'], reason: 'opposites' },
  { one: ['grouped heads'], other: ['one kv head'], reason: 'opposites' },
  { one: ['d_qk < d_v'], other: ['d_qk > d_v'], reason: 'opposites' },
  { one: ['d < 8'], other: ['d > 128'], reason: 'opposites' },
  { one: ['wide scores'], other: ['tied scores'], reason: 'one distribution a case' },
  { one: ['wide scores'], other: ['scale'], reason: 'wide means: at the default scale' },
  // One batch entry (or a batch without lengths) cannot be two shapes at once; only sequences of a batch can.
];

export interface Coverage {
  /** counts[a][b]: cases with both features, by index in `features`; the diagonal has the cases with one. */
  counts: number[][];
  uncovered: [string, string][];
  /** Pairs called impossible that did occur: the list is wrong then. */
  contradicted: [string, string][];
}

function isImpossible(a: string, b: string): boolean {
  return impossible.some(
    ({ one, other }) => (one.includes(a) && other.includes(b)) || (one.includes(b) && other.includes(a)),
  );
}

export function coverageOf(cases: Iterable<Case>): Coverage {
  const index = new Map(features.map((feature, n) => [feature, n]));
  const counts = features.map(() => features.map(() => 0));
  for (const test of cases) {
    const found = featuresOf(test).map((feature) => {
      const n = index.get(feature);
      if (n === undefined) throw new Error(`'${feature}' is missing from the table`);
      return n;
    });
    for (const a of found) for (const b of found) counts[a]![b]!++;
  }
  const coverage: Coverage = { counts, uncovered: [], contradicted: [] };
  features.forEach((a, row) =>
    features.forEach((b, column) => {
      if (column > row) return;
      const met = counts[row]![column]! > 0;
      if (!met && !isImpossible(a, b)) coverage.uncovered.push([a, b]);
      if (met && isImpossible(a, b)) coverage.contradicted.push([a, b]);
    }),
  );
  return coverage;
}

/** The lower triangle as text; '-' where a pair cannot occur. */
export function tableOf({ counts }: Coverage): string {
  const lines = features.map((feature, row) => {
    const cells = features.slice(0, row + 1).map((other, column) => {
      const text = isImpossible(feature, other) ? '-' : String(counts[row]![column]);
      return text.padStart(5);
    });
    return `${String(row + 1).padStart(2)} ${feature.padEnd(16)}${cells.join('')}`;
  });
  const head = ' '.repeat(19) + features.map((_, n) => String(n + 1).padStart(5)).join('');
  return [head, ...lines].join('\n');
}
