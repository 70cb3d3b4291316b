// Tiles gathered from what each group sees, on grids of thousands of cells: several tiles and chunks a group, boxes cut
// off at the borders, residue classes. Scores of 0 weigh all keys alike, so sums of small integers tell exactly who was
// seen.

import './helpers/seven-threads.js';
import test from 'ava';
import { alibi, and, attentionSync, mask, neighborhood, Tensor } from '../lib/index.js';
import type { Mask } from '../lib/index.js';
import { normal, optionsOf } from './reference/neighborhood-case.js';
import { cellsOf, seesOf, type Axis, type Neighborhood } from './reference/neighborhood.js';
import { Random } from './reference/random.js';

const axis = (length: number, window: number, other: Partial<Axis> = {}): Axis => ({
  length,
  window,
  stride: 1,
  dilation: 1,
  causal: false,
  ...other,
});

const drawn: Record<string, Neighborhood> = {
  'a row': { axes: [axis(2999, 255)], border: 'clamp', extra: 0 },
  'a dilated row': { axes: [axis(2999, 255, { dilation: 8 })], border: 'clamp', extra: 0 },
  'a square': { axes: [axis(47, 13), axis(61, 13)], border: 'clamp', extra: 0 },
  'a dilated square': {
    axes: [axis(47, 13, { dilation: 3 }), axis(61, 13, { dilation: 2 })],
    border: 'clamp',
    extra: 0,
  },
  'windows apart': { axes: [axis(48, 8, { stride: 8 }), axis(56, 7, { stride: 7 })], border: 'clamp', extra: 0 },
  'a box': { axes: [axis(9, 5), axis(17, 9), axis(18, 9)], border: 'clamp', extra: 0 },
  'halos, causal': { axes: [axis(40, 9, { causal: true }), axis(50, 8, { stride: 4 })], border: 'mask', extra: 0 },
  'registers first': { axes: [axis(40, 11), axis(50, 11)], border: 'clamp', extra: 7 },
};

/** Numbers of the keys that a row sees, by every binary digit, and how many they are. */
const DIGITS = 15;

function codes(count: number, heads: number): Tensor {
  const data = new Float32Array(heads * count * 16);
  for (let n = 0; n < heads * count; n += 1) {
    for (let digit = 0; digit < DIGITS; digit += 1) data[n * 16 + digit] = ((n % count) >> digit) & 1;
    data[n * 16 + 15] = 1;
  }
  return Tensor.from(data, [1, heads, count, 16]);
}

function wrongRow(item: Mask, sees: (i: number, j: number) => boolean, count: number): string | null {
  const zeros = Tensor.from(new Float32Array(2 * count * 16), [1, 2, count, 16]);
  const some = zeros.narrow(1, 0, 1);
  const { output, lse } = attentionSync(zeros, some, codes(count, 1), { mask: item, lse: true });
  const [data, logs] = [output.data as Float32Array, lse!.data as Float32Array];
  for (let row = 0; row < count; row += row === 0 || row === count - 2 ? 1 : 13) {
    const expected = new Array<number>(16).fill(0);
    for (let key = 0; key < count; key += 1) {
      if (!sees(row, key)) continue;
      for (let digit = 0; digit < DIGITS; digit += 1) expected[digit]! += (key >> digit) & 1;
      expected[15]! += 1;
    }
    const seen = expected[15]!;
    for (const head of [0, 1]) {
      const at = head * count + row;
      if (Math.round(Math.exp(logs[at]!)) !== seen)
        return `row ${row}, head ${head}: ${Math.exp(logs[at]!)} of ${seen}`;
      for (let digit = 0; digit < 16; digit += 1) {
        const sum = data[at * 16 + digit]! * seen;
        if (Math.abs(sum - expected[digit]!) > 1e-2) return `row ${row}, digit ${digit}: ${sum} of ${expected[digit]!}`;
      }
    }
  }
  return null;
}

for (const [name, one] of Object.entries(drawn)) {
  test(`${name}: exactly the keys of the definition`, (t) => {
    const count = cellsOf(one) + one.extra;
    t.is(wrongRow(neighborhood(optionsOf(one)), seesOf(one), count), null);
  });
  test(`${name}: the same bits with 1, 2 and 7 threads, alone and in a batch`, (t) => {
    const shape = [1, 2, cellsOf(one) + one.extra, 16];
    const random = new Random(51);
    const [q, k, v] = [0, 1, 2].map(() => normal(random, shape)) as [Tensor, Tensor, Tensor];
    const item = neighborhood(optionsOf(one));
    const expected = attentionSync(q, k, v, { mask: item, threads: 1 }).output.data as Float32Array;
    for (const threads of [2, 7]) t.deepEqual(attentionSync(q, k, v, { mask: item, threads }).output.data, expected);
    const thrice = (x: Tensor): Tensor =>
      Tensor.from(x.data, [3, ...shape.slice(1)], { strides: [0, ...x.strides.slice(1)] });
    const all = attentionSync(thrice(q), thrice(k), thrice(v), { mask: item, threads: 7 }).output.data as Float32Array;
    for (let n = 0; n < 3; n += 1) t.deepEqual(all.slice(n * expected.length, (n + 1) * expected.length), expected);
  });
}

test('what nobody of a window sees may be anything: NaN in keys and values of a whole grid row', (t) => {
  for (const name of ['a square', 'a dilated square'] as const) {
    const one = drawn[name]!;
    const count = cellsOf(one);
    const sees = seesOf(one);
    const random = new Random(7);
    const [q, k, v] = [0, 1, 2].map(() => normal(random, [1, 1, count, 16])) as [Tensor, Tensor, Tensor];
    const clean = attentionSync(q, k, v, { mask: neighborhood(optionsOf(one)) }).output.data as Float32Array;
    const from = 20 * 61;
    const spoil = (x: Tensor): Tensor =>
      Tensor.from((x.data as Float32Array).slice().fill(NaN, from * 16, (from + 61) * 16), [1, 1, count, 16]);
    const spoiled = attentionSync(q, spoil(k), spoil(v), { mask: neighborhood(optionsOf(one)) });
    const data = spoiled.output.data as Float32Array;
    const kept = { same: 0, lost: 0 };
    for (let row = 0; row < count; row += 1) {
      let hit = false;
      for (let key = from; key < from + 61; key += 1) hit ||= sees(row, key);
      for (let at = row * 16; at < row * 16 + 16; at += 1) {
        if (hit ? !Number.isNaN(data[at]!) : data[at] !== clean[at]) t.fail(`${name}: row ${row}`);
      }
      kept[hit ? 'lost' : 'same'] += 1;
    }
    t.true(kept.same > 400 && kept.lost > 400, JSON.stringify(kept));
  }
});

test('a grid and another mask at once are seen where both see', (t) => {
  const one = drawn['a square']!;
  const sees = seesOf(one);
  const thinned = and(neighborhood(optionsOf(one)), mask('(i, j) => (i * 3 + j) % 5 !== 0'));
  t.is(
    wrongRow(thinned, (i, j) => sees(i, j) && (i * 3 + j) % 5 !== 0, cellsOf(one)),
    null,
  );
});

test('a dilated grid beside a mask tensor: runs of every second key meet its bits', (t) => {
  const one: Neighborhood = {
    axes: [axis(31, 7, { dilation: 2 }), axis(40, 9, { dilation: 3 })],
    border: 'clamp',
    extra: 0,
  };
  const count = cellsOf(one);
  const sees = seesOf(one);
  const shown = (i: number, j: number): boolean => (i * 5 + j * 7) % 3 !== 0;
  const fill = (says: (i: number, j: number) => boolean): Tensor =>
    Tensor.from(
      Uint8Array.from({ length: count * count }, (_, p) => Number(says(Math.floor(p / count), p % count))),
      [1, 1, count, count],
      { dtype: 'bool' },
    );
  const random = new Random(52);
  const [q, k, v] = [0, 1, 2].map(() => normal(random, [1, 2, count, 16])) as [Tensor, Tensor, Tensor];
  const [both, whole] = [fill(shown), fill((i, j) => sees(i, j) && shown(i, j))];
  const got = attentionSync(q, k, v, { mask: [neighborhood(optionsOf(one)), both] }).output.toFloat32();
  const expected = attentionSync(q, k, v, { mask: whole }).output.toFloat32();
  t.true(got.every((value, n) => Math.abs(value - expected[n]!) < 1e-5));
});

test('masks of other programs with holes: prefill and a few queries, grouped heads, half types, bias and score', (t) => {
  const holes = mask('(i, j) => j <= i && (i - j < 40 || (j >> 3) % 16 === (i >> 3) % 16)');
  const keys = 2100;
  const random = new Random(53);
  for (const queries of [1, 3, 5, 130]) {
    const q = normal(random, [1, 4, queries, 32]);
    const floats = [0, 1].map(() => normal(random, [1, 2, keys, 32])) as [Tensor, Tensor];
    const halves = floats.map((tensor) => {
      const bits = new Uint32Array((tensor.data as Float32Array).buffer);
      return Tensor.from(
        Uint16Array.from(bits, (word) => word >> 16),
        tensor.shape,
        { dtype: 'bfloat16' },
      );
    }) as [Tensor, Tensor];
    const cells = Uint8Array.from({ length: queries * keys }, (_, p) => {
      const [i, j] = [Math.floor(p / keys) + keys - queries, p % keys];
      return Number(j <= i && (i - j < 40 || (j >> 3) % 16 === (i >> 3) % 16));
    });
    const whole = Tensor.from(cells, [1, 1, queries, keys], { dtype: 'bool' });
    const bias = normal(random, [1, 4, 1, keys]);
    for (const [k, v] of [floats, halves]) {
      for (const more of [{}, { bias }, { score: alibi(4) }]) {
        const options = { ...more, lse: true, outputDtype: 'float32' } as const;
        const [got, expected] = [holes, whole].map((item) => attentionSync(q, k, v, { ...options, mask: item }));
        for (const name of ['output', 'lse'] as const) {
          const [x, y] = [got![name].toFloat32(), expected![name].toFloat32()];
          t.true(
            x.every((value, n) => Math.abs(value - y[n]!) < 2e-5),
            `${queries} queries, ${k.dtype}, ${Object.keys(more).join()} ${name}`,
          );
        }
      }
    }
  }
});
