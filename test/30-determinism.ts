// A row's bits are fixed by its own sequence and options: not by the number of threads, not by what else is in the batch,
// not by the other heads, not by the layout, not by whether the call is asynchronous, and not by chance.

import test, { type ExecutionContext } from 'ava';
import { attention } from '../lib/index.js';
import { alone } from './reference/alone.js';
import { actualOf, bitsOf, callOf, run, type Result } from './reference/call.js';
import { describe, type Case } from './reference/case.js';
import { draw, usual, type Topic } from './reference/grid.js';
import { valuesOf } from './reference/values.js';

const names = ['output', 'lse', 'entropy', 'rowMax'] as const;

function all(result: Result): number[][] {
  return names.map((name) => (result[name] ? bitsOf(result[name]) : []));
}

/** Cases of a topic with every statistic wanted. */
function cases(topic: Topic, count: number): Case[] {
  return Array.from({ length: count }, (_, n) => ({
    ...draw(topic, 31_000 + n, usual),
    lse: true,
    entropy: true,
    rowMax: true,
    threads: 1,
  }));
}

/** Few queries over many keys, so that threads share one row's keys. */
const deep: Case[] = [
  { queries: 1, keys: 5000, headsQ: 1, headsKv: 1 },
  { queries: 1, keys: 4096, headsQ: 4, headsKv: 1 },
  { queries: 1, keys: 3001, headsQ: 6, headsKv: 2 },
  { queries: 3, keys: 5000, headsQ: 2, headsKv: 2 },
  { queries: 40, keys: 2300, headsQ: 1, headsKv: 1 },
  { queries: 2, keys: 1537, headsQ: 7, headsKv: 1 },
  { queries: 9, keys: 513, headsQ: 1, headsKv: 1 },
].flatMap((shape, n) =>
  [0, 1, 2].map((variant) => ({
    ...draw('dense', 500 + n, usual),
    ...shape,
    seed: 600 + 3 * n + variant,
    batch: 1 + (variant % 2),
    lengths: 'dense' as const,
    lengthsQ: null,
    lengthsKv: null,
    dimQk: [24, 64, 7][variant]!,
    dimV: [24, 33, 7][variant]!,
    storage: { query: 'plain', key: 'plain', value: 'plain' } as const,
    causal: variant > 0,
    window: variant === 2 ? ([900, 0] as [number, number]) : null,
    masks: variant === 1 ? (['keys'] as const).slice() : [],
    softcap: variant === 2 ? 20 : null,
    sinks: variant === 1,
    scores: variant === 0 ? ('wide' as const) : ('normal' as const),
    scale: null,
    lse: true,
    entropy: true,
    rowMax: true,
    threads: 1,
  })),
);

const everything = (['masks', 'scores', 'types', 'lengths', 'decode', 'long', 'anything'] as Topic[]).flatMap((topic) =>
  cases(topic, 15),
);

test('the same bits again and again', (t) => {
  for (const one of [...deep, ...everything.slice(0, 40)]) {
    const call = callOf(one);
    const first = all(run(call));
    for (let again = 0; again < 3; again++) t.deepEqual(all(run(call)), first, describe(one));
  }
});

test('the same bits with 1, 2, 3 and 7 threads', (t) => {
  for (const one of [...deep, ...everything]) {
    const call = callOf(one);
    const first = all(run(call));
    for (const threads of [2, 3, 7]) {
      t.deepEqual(all(run({ ...call, options: { ...call.options, threads } })), first, `${threads} threads: ${describe(one)}`);
    }
  }
});

test('the same bits from attention and attentionSync, also of many calls at once', async (t) => {
  const some = [...deep, ...everything.slice(0, 60)];
  const calls = some.map((one) => callOf(one));
  const results = await Promise.all(
    calls.map(({ query, key, value, options }, n) => attention(query, key, value, { ...options, threads: 1 + (n % 3) })),
  );
  results.forEach((result, n) => t.deepEqual(all(result as Result), all(run(calls[n]!)), describe(some[n]!)));
});

function checkAlone(t: ExecutionContext, one: Case): void {
  const values = valuesOf(one);
  const together = actualOf(one, run(callOf(one, values)));
  let first = 0;
  values.sequences.forEach(({ queries }, s) => {
    for (let h = 0; h < one.headsQ; h++) {
      const single = alone(one, values, s, h);
      const lonely = actualOf(single.test, run(callOf(single.test, single.values)));
      const [b, from] = one.lengths === 'ragged' ? [0, first] : [s, 0];
      for (let row = 0; row < queries; row++) {
        const here = [
          ...Array.from({ length: one.dimV }, (_, d) => together.output(b, h, from + row, d)),
          ...names.slice(1).map((name) => together[name as 'lse']!(b, h, from + row)),
        ];
        const there = [
          ...Array.from({ length: one.dimV }, (_, d) => lonely.output(0, 0, row, d)),
          ...names.slice(1).map((name) => lonely[name as 'lse']!(0, 0, row)),
        ];
        if (!here.every((x, n) => Object.is(x, there[n]) || x === there[n])) {
          t.fail(`sequence ${s}, head ${h}, row ${row} of ${describe(one)}`);
          return;
        }
      }
    }
    first += queries;
  });
  t.pass();
}

for (const lengths of ['dense', 'padded', 'ragged'] as const) {
  test(`a sequence and head alone has the bits it has in a ${lengths} batch`, (t) => {
    for (const one of everything) if (one.lengths === lengths) checkAlone(t, one);
    for (const one of deep) {
      if (lengths === 'dense') checkAlone(t, one);
      else {
        const { queries, keys } = one;
        checkAlone(t, {
          ...one,
          lengths,
          batch: 3,
          masks: lengths === 'ragged' ? [] : one.masks,
          lengthsQ: [queries, Math.max(1, queries - 1), queries],
          lengthsKv: [Math.floor(keys / 3), keys, keys - 1],
          threads: 2,
        });
      }
    }
  });
}

test('the same bits in both layouts and from any memory', (t) => {
  for (const one of [...cases('layouts', 60), ...cases('types', 30)]) {
    const values = valuesOf(one);
    const read = (test: Case) => {
      const actual = actualOf(test, run(callOf(test, values)));
      return values.sequences.flatMap(({ queries, rowQ }, s) =>
        Array.from({ length: queries * one.headsQ * one.dimV }, (_, n) => {
          const [d, row, h] = [n % one.dimV, Math.floor(n / one.dimV) % queries, Math.floor(n / one.dimV / queries)];
          return actual.output(one.lengths === 'ragged' ? 0 : s, h, rowQ + row, d);
        }),
      );
    };
    const other: Case = {
      ...one,
      layout: one.layout === 'bhsd' ? 'bshd' : 'bhsd',
      storage: { query: 'strided', key: 'offset', value: 'strided' },
    };
    t.deepEqual(read(other), read(one), describe(one));
  }
});
