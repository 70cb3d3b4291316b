// Drawn calls that the CUDA kernels take, each against the reference. Run in the process that has the driver.

import { attentionSync } from '../../lib/index.js';
import { actualOf, callOf } from '../reference/call.js';
import type { BiasShape, Case, MaskShape, Storage } from '../reference/case.js';
import { describe, plainCase } from '../reference/case.js';
import { differences } from '../reference/check.js';
import { expectedOf } from '../reference/expected.js';
import { Random } from '../reference/random.js';
import { valuesOf } from '../reference/values.js';

/** What lp's largest error may be exceeded by where no hardware rounds. */
const emulated = 1.5;

function draw(seed: number): Case {
  const random = new Random(seed);
  const dtype = random.pick(['float16', 'bfloat16', 'float32'] as const);
  const wide = dtype === 'float32' ? 100 : random.pick([129, 256]);
  const dim = (): number => random.pick([1, 3, 8, 16, 40, 63, 64, 64, 65, 80, 128, 128, wide, wide]);
  const store = (): Storage => random.pick(['plain', 'plain', 'offset', 'strided', 'shared'] as const);
  const lengths = random.pick(['dense', 'dense', 'padded', 'ragged'] as const);
  // Without what only the general instances have.
  const special = random.chance(0.35);
  const batch = lengths === 'dense' ? random.pick([1, 1, 2]) : random.integer(1, 4);
  const queries = random.pick([0, 1, 15, 16, 17, 64, 127, 128, 129, random.integer(1, 200)]);
  // Few queries go over chunks of 256 keys.
  const long = queries < 20 ? [random.integer(240, 900)] : [];
  const keys = random.pick([0, 1, 2, 63, 64, 65, 127, 128, 130, random.integer(1, 260), ...long]);
  const lengthsUpTo = (most: number): number[] =>
    Array.from({ length: batch }, () => random.pick([0, Math.min(1, most), most, random.integer(0, most)]));
  const given = (most: number): number[] | null =>
    lengths === 'dense' || (lengths === 'padded' && random.chance(0.2)) ? null : lengthsUpTo(most);
  const axis = (): boolean => random.chance(0.5);
  const mask = (): MaskShape => (random.chance(0.4) ? 'keys' : { batch: axis(), head: axis() });
  const masks = (): MaskShape[] =>
    special || lengths === 'ragged' || random.chance(0.6) ? [] : Array.from({ length: random.integer(1, 2) }, mask);
  const bias = (): BiasShape | null =>
    special || lengths === 'ragged' || random.chance(0.6)
      ? null
      : { dtype: random.pick(['float32', 'float16', 'bfloat16']), axes: [axis(), axis(), axis(), axis()] };
  const headsKv = random.pick([1, 1, 2]);
  const dimQk = dim();
  const causal = random.chance(0.4);
  const side = (): number => random.pick([0, 3, 40, Infinity]);
  return {
    seed,
    batch,
    headsQ: headsKv * random.pick([1, 1, 2, 3, queries < 20 ? 8 : 1]),
    headsKv,
    dimQk,
    dimV: random.chance(0.7) ? dimQk : dim(),
    lengths,
    queries,
    keys,
    lengthsQ: given(queries),
    lengthsKv: given(keys),
    layout: random.pick(['bhsd', 'bshd'] as const),
    storage: { query: random.pick(['plain', 'offset', 'strided'] as const), key: store(), value: store() },
    dtypes: { query: dtype, key: dtype, value: dtype },
    outputDtype: null,
    align: random.pick(['top-left', 'bottom-right'] as const),
    causal,
    window: random.chance(0.3) ? [side(), side()] : null,
    masks: masks(),
    bias: bias(),
    softcap: !special && random.chance(0.3) ? random.pick([0.5, 3, 20, 50]) : null,
    sinks: random.chance(0.3),
    scale: random.chance(0.3) ? random.pick([1, 0.1, -0.2, 0, 1 / 64]) : null,
    scores: random.pick(['normal', 'normal', 'normal', 'wide', 'flat', 'ties'] as const),
    lse: random.chance(0.8),
    entropy: !special && random.chance(0.4),
    rowMax: !special && random.chance(0.25),
    threads: null,
  };
}

/** Empty when the result of the case is right. */
function wrongIn(test: Case): string[] {
  const values = valuesOf(test);
  const { query, key, value, options } = callOf(test, values);
  const result = attentionSync(query, key, value, { ...options, device: 'cuda' });
  const actual = actualOf(test, result as Parameters<typeof actualOf>[1]);
  return differences(test, expectedOf(test, values), actual, { roundedWeights: true, times: emulated, fewest: 32 });
}

function failuresAmong(cases: readonly Case[]): string[] {
  return cases.flatMap((one) => {
    const wrong = wrongIn(one);
    return wrong.length === 0 ? [] : [`${wrong.slice(0, 3).join('\n')}\n  in ${describe(one)}`];
  });
}

/** Of `count` cases from seed `first` on, what is wrong. */
export function failuresOf(first: number, count: number): string[] {
  return failuresAmong(Array.from({ length: count }, (_, n) => draw(first + n)));
}

/** The same of cases that are given, in every dtype; what they do not say is plain. */
export function failuresIn(given: readonly Partial<Case>[]): string[] {
  const dtypes = ['float16', 'bfloat16', 'float32'] as const;
  return failuresAmong(
    given.flatMap((parts, seed) =>
      dtypes.map((dtype, n) => plainCase(seed, dtype, [64, 100, 128][(seed + n) % 3]!, parts)),
    ),
  );
}
