// Drawn calls that the CUDA kernels take, each against the reference. Run in the process that has the driver.

import { attentionSync } from '../../lib/index.js';
import { actualOf, callOf } from '../reference/call.js';
import type { Case, Storage } from '../reference/case.js';
import { describe } from '../reference/case.js';
import { expectedOf } from '../reference/expected.js';
import { Random } from '../reference/random.js';
import { HalfRule, lseBound, rowContext, within } from '../reference/tolerance.js';
import { valuesOf } from '../reference/values.js';

/** What lp's largest error may be exceeded by where no hardware rounds. */
const emulated = 1.5;

function draw(seed: number): Case {
  const random = new Random(seed);
  const dtype = random.pick(['float16', 'bfloat16'] as const);
  const dim = (): number => random.pick([1, 3, 8, 16, 40, 63, 64, 64, 65, 80, 128, 128]);
  const store = (): Storage => random.pick(['plain', 'plain', 'offset', 'strided', 'shared'] as const);
  const headsKv = random.pick([1, 1, 2]);
  const dimQk = dim();
  const causal = random.chance(0.4);
  const side = (): number => random.pick([0, 3, 40, Infinity]);
  return {
    seed,
    batch: random.pick([1, 1, 2]),
    headsQ: headsKv * random.pick([1, 1, 2, 3]),
    headsKv,
    dimQk,
    dimV: random.chance(0.7) ? dimQk : dim(),
    lengths: 'dense',
    queries: random.pick([0, 1, 15, 16, 17, 64, 127, 128, 129, random.integer(1, 200)]),
    keys: random.pick([0, 1, 2, 63, 64, 65, 127, 128, 130, random.integer(1, 260)]),
    lengthsQ: null,
    lengthsKv: null,
    layout: random.pick(['bhsd', 'bshd'] as const),
    storage: { query: random.pick(['plain', 'offset', 'strided'] as const), key: store(), value: store() },
    dtypes: { query: dtype, key: dtype, value: dtype },
    outputDtype: null,
    align: random.pick(['top-left', 'bottom-right'] as const),
    causal,
    window: random.chance(0.3) ? [side(), side()] : null,
    masks: [],
    bias: null,
    softcap: null,
    sinks: false,
    scale: random.chance(0.3) ? random.pick([1, 0.1, -0.2, 0, 1 / 64]) : null,
    scores: random.pick(['normal', 'normal', 'normal', 'wide', 'flat', 'ties'] as const),
    lse: random.chance(0.8),
    entropy: false,
    rowMax: false,
    threads: null,
  };
}

/** Empty when the result of the case is right. */
function wrongIn(test: Case): string[] {
  const values = valuesOf(test);
  const { query, key, value, options } = callOf(test, values);
  const result = attentionSync(query, key, value, { ...options, device: 'cuda' });
  const expected = expectedOf(test, values);
  const actual = actualOf(test, result as Parameters<typeof actualOf>[1]);
  const rule = new HalfRule(test.dtypes.query);
  const wrong: string[] = [];
  expected.heads.forEach((heads, b) =>
    heads.forEach((head, h) => {
      const one = expected.results[b]![h]!;
      for (let row = 0; row < head.queries; row++) {
        const empty = one.count[row] === 0;
        for (let d = 0; d < head.dimV; d++) {
          const got = actual.output(b, h, row, d);
          const index = row * head.dimV + d;
          if (empty && got !== 0) wrong.push(`output[${b}, ${h}, ${row}][${d}]: ${got} in an empty row`);
          if (!empty) rule.add(got, one.output[index]!, expected.lp![b]![h]![index]!);
        }
        if (actual.lse === null) continue;
        const [got, want] = [actual.lse(b, h, row), one.lse[row]!];
        const bound = lseBound(rowContext(one, row, head.dimQk, head.keys));
        if (!within(got, want, bound)) wrong.push(`lse[${b}, ${h}, ${row}]: ${got}, expected ${want} +- ${bound}`);
      }
    }),
  );
  const verdict = rule.verdict(emulated);
  return verdict === null ? wrong : [...wrong, verdict];
}

/** Of `count` cases from seed `first` on, what is wrong. */
export function failuresOf(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, n) => draw(first + n)).flatMap((one) => {
    const wrong = wrongIn(one);
    return wrong.length === 0 ? [] : [`${wrong.slice(0, 3).join('\n')}\n  in ${describe(one)}`];
  });
}
