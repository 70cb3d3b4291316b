// Attention over parts of the keys, merged, against the whole: against the reference within its bounds, and bit for bit where
// nothing was cut.

import test from 'ava';
import { attention, attentionSync, mergePartials, mergePartialsSync, Tensor } from '../lib/index.js';
import { actualOf, bitsOf, type Result } from './reference/call.js';
import { describe, type Case } from './reference/case.js';
import { differences } from './reference/check.js';
import { expectedOf } from './reference/expected.js';
import type { Topic } from './reference/grid.js';
import { cuts, finishedOf, parted, partialOf } from './reference/parts.js';
import { Random } from './reference/random.js';

for (const topic of ['masks', 'scores', 'types', 'decode', 'long'] as Topic[]) {
  test(`${topic}: parts of either kind, merged, are the whole`, (t) => {
    for (let n = 0; n < 40; n++) {
      const random = new Random(n);
      const { one, values, part } = parted(topic, 41_000 + n);
      const at = cuts(random, one.keys);
      const calls = random.shuffle(at.slice(1).map((end, p) => part(at[p]!, end)));
      const expected = expectedOf(one, values);
      for (const kinds of ['partials', 'finished', 'both']) {
        const parts = calls.map((call, p) =>
          kinds === 'partials' || (kinds === 'both' && p % 2 === 0) ? partialOf(call) : finishedOf(call),
        );
        const merged = mergePartialsSync(parts, {
          layout: one.layout,
          ...(values.sinks === null ? {} : { sinks: Tensor.from(values.sinks, [one.headsQ]) }),
        });
        const wrong = differences(one, expected, actualOf(one, merged as unknown as Result));
        t.deepEqual(wrong, [], `${kinds} at ${at.join()} of ${describe(one)}`);
      }
    }
  });
}

test('one partial alone gives the bits of the call', (t) => {
  for (const topic of ['masks', 'scores', 'decode', 'long'] as Topic[]) {
    for (let n = 0; n < 25; n++) {
      const { one, values, whole, part } = parted(topic, 42_000 + n);
      const sinks = values.sinks === null ? {} : { sinks: Tensor.from(values.sinks, [one.headsQ]) };
      const merged = mergePartialsSync([partialOf(part(0, one.keys))], { layout: one.layout, ...sinks });
      const direct = attentionSync(whole.query, whole.key, whole.value, whole.options) as Result;
      t.deepEqual(bitsOf(merged.output), bitsOf(direct.output), describe(one));
      t.deepEqual(bitsOf(merged.lse), bitsOf(direct.lse!), describe(one));
    }
  }
});

test('a partial is what it says: o / l is the output, (m + log2 l) ln 2 the lse, empty rows are -infinity, 0, 0', (t) => {
  for (let n = 0; n < 40; n++) {
    const { one, values, part } = parted('masks', 43_000 + n);
    const bare: Case = { ...one, sinks: false };
    const { o, m, l } = partialOf(part(0, one.keys)) as { o: Tensor; m: Tensor; l: Tensor };
    const [top, sum, numerator] = [m.toFloat32(), l.toFloat32(), o.toFloat32()];
    t.deepEqual(o.shape, [one.batch, one.headsQ, one.queries, one.dimV]);
    const row = (b: number, h: number, r: number) => (b * one.headsQ + h) * one.queries + r;
    const wrong = differences(bare, expectedOf(bare, { ...values, sinks: null }), {
      output: (b, h, r, d) =>
        sum[row(b, h, r)] === 0
          ? numerator[row(b, h, r) * one.dimV + d]!
          : Math.fround(numerator[row(b, h, r) * one.dimV + d]! / sum[row(b, h, r)]!),
      lse: (b, h, r) => (top[row(b, h, r)]! + Math.log2(sum[row(b, h, r)]!)) * Math.LN2,
      entropy: null,
      rowMax: null,
    });
    t.deepEqual(wrong, [], describe(one));
    top.forEach((x, i) => t.is(x === -Infinity, sum[i] === 0));
  }
});

test('empties merge to empties, and change nothing beside others', (t) => {
  const random = new Random(9);
  const shape = [2, 3, 5, 4];
  const make = (dims: number[], fill: () => number) =>
    Tensor.from(Float32Array.from({ length: dims.reduce((a, b) => a * b) }, fill), dims);
  const rows = shape.slice(0, 3);
  const emptyPartial = {
    kind: 'softmax' as const,
    o: make(shape, () => 0),
    m: make(rows, () => -Infinity),
    l: make(rows, () => 0),
  };
  const emptyResult = { output: make(shape, () => 0), lse: make(rows, () => -Infinity) };
  const full = { output: make(shape, () => random.normal()), lse: make(rows, () => random.normal()) };

  const nothing = mergePartialsSync([emptyPartial, emptyResult, emptyPartial]);
  t.true(nothing.output.toFloat32().every((x) => x === 0));
  t.true(nothing.lse.toFloat32().every((x) => x === -Infinity));
  const sinks = [0.3, -2, 7].map(Math.fround);
  const sunk = mergePartialsSync([emptyPartial, emptyResult], { sinks });
  t.true(sunk.output.toFloat32().every((x) => x === 0));
  sunk.lse.toFloat32().forEach((x, i) => t.is(x, sinks[Math.floor(i / 5) % 3]!));

  const lone = mergePartialsSync([full]);
  const among = mergePartialsSync([emptyResult, emptyPartial, full, emptyResult]);
  t.deepEqual(bitsOf(among.output), bitsOf(lone.output));
  t.deepEqual(bitsOf(among.lse), bitsOf(lone.lse));
  lone.output.toFloat32().forEach((x, i) => {
    const want = full.output.toFloat32()[i]!;
    t.true(Math.abs(x - want) <= 2 ** -23 * Math.abs(want));
  });
  // What an empty row of a finished part holds does not matter.
  const garbage = { output: make(shape, () => 1e3), lse: emptyResult.lse };
  t.deepEqual(bitsOf(mergePartialsSync([garbage, full]).output), bitsOf(lone.output));
});

test('ragged partials merge, and asynchronous merges have the same bits', async (t) => {
  const random = new Random(10);
  const tensor = (shape: number[]) =>
    Tensor.from(Float32Array.from(random.normals(shape.reduce((a, b) => a * b, 1))), shape);
  const [lengthsQ, lengthsKv] = [
    [0, 3, 8],
    [0, 9, 11],
  ];
  const q = tensor([8, 4, 6]);
  const parts = [0, 1].map(() => {
    const [k, v] = [tensor([11, 2, 6]), tensor([11, 2, 5])];
    return { k, v };
  });
  const options = { cuSeqlensQ: lengthsQ, cuSeqlensKv: lengthsKv };
  const partials = await Promise.all(parts.map(({ k, v }) => attention(q, k, v, { ...options, partial: true })));
  const results = parts.map(({ k, v }) => attentionSync(q, k, v, { ...options, lse: true }));
  const merged = mergePartialsSync(partials);
  t.deepEqual(merged.output.shape, [8, 4, 5]);
  t.deepEqual(merged.lse.shape, [4, 8]);
  const other = await mergePartials(partials);
  t.deepEqual(bitsOf(other.output), bitsOf(merged.output));
  t.deepEqual(bitsOf(other.lse), bitsOf(merged.lse));
  const finished = mergePartialsSync(results);
  const [a, b] = [merged.output.toFloat32(), finished.output.toFloat32()];
  a.forEach((x, i) => t.true(Math.abs(x - b[i]!) < 1e-6));
});
