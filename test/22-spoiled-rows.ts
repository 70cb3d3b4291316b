// Scores that are not finite: -infinity is the same as masked, NaN and +infinity spoil their own row and no other.

import test from 'ava';
import { attentionSync, Tensor } from '../lib/index.js';
import { bitsOf, callOf, run } from './reference/call.js';
import { draw, usual } from './reference/grid.js';
import { describe, type Case } from './reference/case.js';
import { Random } from './reference/random.js';
import { valuesOf } from './reference/values.js';

function plain(seed: number, changes: Partial<Case> = {}): Case {
  const one = draw('masks', seed, { ...usual, work: 150_000 });
  return {
    ...one,
    lengths: 'dense',
    lengthsQ: null,
    lengthsKv: null,
    layout: 'bhsd',
    storage: { query: 'plain', key: 'plain', value: 'plain' },
    dtypes: { query: 'float32', key: 'float32', value: 'float32' },
    outputDtype: null,
    scores: 'normal',
    bias: null,
    lse: true,
    entropy: true,
    rowMax: true,
    ...changes,
  };
}

test('a bias of -infinity is the same as a mask, bit for bit', (t) => {
  for (let n = 0; n < 60; n++) {
    const random = new Random(n);
    const one = plain(91_000 + n, { masks: [] });
    const values = valuesOf(one);
    const shape: [number, number, number, number] = [one.batch, one.headsQ, one.queries, one.keys];
    const open = Float64Array.from({ length: shape.reduce((a, b) => a * b) }, () => (random.chance(0.7) ? 1 : 0));
    const masked: Case = { ...one, masks: [{ batch: true, head: true }] };
    const biased: Case = { ...one, bias: { dtype: 'float32', axes: [true, true, true, true] } };
    const byMask = run(callOf(masked, { ...values, masks: [{ shape, data: open }] }));
    const byBias = run(callOf(biased, { ...values, bias: { shape, data: open.map((x) => (x ? 0 : -Infinity)) } }));
    for (const name of ['output', 'lse', 'entropy', 'rowMax'] as const) {
      t.deepEqual(bitsOf(byBias[name]!), bitsOf(byMask[name]!), `${name} of ${describe(one)}`);
    }
  }
});

test('a row with a NaN or +infinity is spoiled, all others keep every bit', (t) => {
  for (let n = 0; n < 90; n++) {
    const random = new Random(1000 + n);
    const bad = [NaN, Infinity][n % 2]!;
    const byQuery = n % 3 === 0;
    const one = plain(92_000 + n, {
      causal: false,
      window: null,
      masks: [],
      keys: random.integer(1, n % 5 === 0 ? 900 : 140),
      bias: { dtype: 'float32', axes: [true, true, true, true] },
    });
    const values = valuesOf(one);
    const clean = run(callOf(one, values));
    const [b, h, row] = [
      random.integer(0, one.batch - 1),
      random.integer(0, one.headsQ - 1),
      random.integer(0, one.queries - 1),
    ];
    if (byQuery) values.query[b]![h]![row * one.dimQk] = NaN;
    else
      values.bias!.data[((b * one.headsQ + h) * one.queries + row) * one.keys + random.integer(0, one.keys - 1)] = bad;
    const spoiled = run(callOf(one, values));
    for (const name of ['output', 'lse'] as const) {
      const width = name === 'output' ? one.dimV : 1;
      const [x, y] = [bitsOf(clean[name]!), bitsOf(spoiled[name]!)];
      const from = ((b * one.headsQ + h) * one.queries + row) * width;
      const own = spoiled[name]!.toFloat32().subarray(from, from + width);
      const why = `${name} with ${byQuery ? 'query' : 'bias'} ${bad}: ${describe(one)}`;
      t.true(
        own.every((v) => (name === 'output' ? Number.isNaN(v) : !Number.isFinite(v) && v !== -Infinity)),
        why,
      );
      x.splice(from, width);
      y.splice(from, width);
      t.deepEqual(y, x, why);
    }
  }
});

test('products that overflow to -infinity are masked, to +infinity spoil the row', (t) => {
  const huge = 1e30;
  const query = Tensor.from(Float32Array.of(huge, 1, -huge), [1, 1, 3, 1]);
  const key = Tensor.from(Float32Array.of(-huge, 0), [1, 1, 2, 1]);
  const value = Tensor.from(Float32Array.of(5, 7), [1, 1, 2, 1]);
  const { output, lse } = attentionSync(query, key, value, { scale: 1, lse: true });
  const [seen, , spoiled] = output.toFloat32();
  t.is(seen, 7);
  t.is(lse.toFloat32()[0], 0);
  t.true(Number.isNaN(spoiled));
  t.is(output.toFloat32()[1], 7); // -1e30 is finite, and its weight nothing
});
