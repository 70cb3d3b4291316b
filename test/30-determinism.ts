// A row's bits are fixed by its own sequence and options: not by the number of threads, not by what else is in the batch,
// not by the other heads, not by the layout, not by whether the call is asynchronous, and not by chance.

import './helpers/seven-threads.js';
import { createHash } from 'node:crypto';
import test from 'ava';
import { attention } from '../lib/index.js';
import { differsAlone } from './reference/alone.js';
import { actualOf, bitsOf, callOf, run, type Result } from './reference/call.js';
import { describe, type Case } from './reference/case.js';
import { deep, draw, usual, type Topic } from './reference/grid.js';
import { valuesOf } from './reference/values.js';

const names = ['output', 'lse', 'entropy', 'rowMax'] as const;

/** All bits of a result, in short. */
function all(result: Result): string {
  const hash = createHash('sha1');
  for (const name of names) if (result[name]) hash.update(Uint32Array.from(bitsOf(result[name])));
  return hash.digest('hex');
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

const everything = (['masks', 'scores', 'types', 'lengths', 'decode', 'long', 'anything'] as Topic[]).flatMap((topic) =>
  cases(topic, 15),
);

test('the same bits again and again', (t) => {
  for (const one of [...deep, ...everything.slice(0, 40)]) {
    const call = callOf(one);
    const first = all(run(call));
    for (let again = 0; again < 3; again++) t.is(all(run(call)), first, describe(one));
  }
});

test('the same bits with 1, 2, 3 and 7 threads', (t) => {
  for (const one of [...deep, ...everything]) {
    const call = callOf(one);
    const first = all(run(call));
    for (const threads of [2, 3, 7]) {
      t.is(all(run({ ...call, options: { ...call.options, threads } })), first, `${threads} threads: ${describe(one)}`);
    }
  }
});

test('the same bits from attention and attentionSync, also of many calls at once', async (t) => {
  const some = [...deep, ...everything.slice(0, 60)];
  const calls = some.map((one) => callOf(one));
  const results = await Promise.all(
    calls.map(({ query, key, value, options }, n) =>
      attention(query, key, value, { ...options, threads: 1 + (n % 3) }),
    ),
  );
  results.forEach((result, n) => t.is(all(result as Result), all(run(calls[n]!)), describe(some[n]!)));
});

for (const lengths of ['dense', 'padded', 'ragged'] as const) {
  test(`a sequence and head alone has the bits it has in a ${lengths} batch`, (t) => {
    for (const one of everything) if (one.lengths === lengths) t.is(differsAlone(one), null);
    for (const one of deep) {
      if (lengths === 'dense') t.is(differsAlone(one), null);
      else {
        const { queries, keys } = one;
        const batch: Case = {
          ...one,
          lengths,
          batch: 3,
          masks: lengths === 'ragged' ? [] : one.masks,
          lengthsQ: [queries, Math.max(1, queries - 1), queries],
          lengthsKv: [Math.floor(keys / 3), keys, keys - 1],
          threads: 2,
        };
        t.is(differsAlone(batch), null);
      }
    }
  });
}

test('the same bits in both layouts and from any memory', (t) => {
  for (const one of [...cases('layouts', 60), ...cases('types', 30)]) {
    const values = valuesOf(one);
    const read = (stored: Case) => {
      const actual = actualOf(stored, run(callOf(stored, values)));
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
    const [here, there] = [read(one), read(other)];
    t.true(
      here.every((x, n) => Object.is(x, there[n])),
      describe(one),
    );
  }
});
