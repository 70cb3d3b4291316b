// What must hold of attention whatever the numbers: properties over random calls, without the reference.

import { assert, constantFrom, integer, nat, oneof, property, record } from 'fast-check';
import test from 'ava';
import { attentionSync, causal, slidingWindow, Tensor } from '../lib/index.js';
import { Random } from './reference/random.js';

type Options = NonNullable<Parameters<typeof attentionSync>[3]>;

interface Draw {
  q: Float32Array;
  k: Float32Array;
  v: Float32Array;
  heads: number;
  queries: number;
  keys: number;
  dimQk: number;
  dimV: number;
}

const draws = record({
  heads: integer({ min: 1, max: 3 }),
  queries: integer({ min: 1, max: 40 }),
  keys: oneof(integer({ min: 1, max: 150 }), integer({ min: 500, max: 1100 })),
  dimQk: integer({ min: 1, max: 40 }),
  dimV: integer({ min: 1, max: 40 }),
  seed: nat(),
  spread: constantFrom(0.1, 1, 3),
}).map(({ seed, spread, ...sizes }): Draw => {
  const random = new Random(seed);
  const make = (length: number, deviation = 1) => Float32Array.from(random.normals(length, deviation));
  const { heads, queries, keys, dimQk, dimV } = sizes;
  return Object.assign(sizes, {
    q: make(heads * queries * dimQk, spread),
    k: make(heads * keys * dimQk),
    v: make(heads * keys * dimV),
  });
});

const options = record(
  {
    mask: constantFrom(causal(), slidingWindow(5, 3), slidingWindow(null, 40), slidingWindow(200, null)),
    softcap: constantFrom(2, 30),
    align: constantFrom('top-left' as const, 'bottom-right' as const),
    threads: constantFrom(1, 2, 5),
  },
  { requiredKeys: [] },
).map((given) => given as Options);

function attend({ q, k, v, heads, queries, keys, dimQk, dimV }: Draw, given: Options = {}) {
  const result = attentionSync(
    Tensor.from(q, [1, heads, queries, dimQk]),
    Tensor.from(k, [1, heads, keys, dimQk]),
    Tensor.from(v, [1, heads, keys, dimV]),
    { ...given, lse: true },
  );
  return { output: result.output.toFloat32(), lse: result.lse.toFloat32() };
}

const same = (a: Float32Array, b: Float32Array) => a.length === b.length && a.every((x, n) => Object.is(x, b[n]));

function check(name: string, holds: (one: Draw, given: Options) => boolean): void {
  test(name, (t) => {
    assert(property(draws, options, holds), { numRuns: 150, seed: 20_240 });
    t.pass();
  });
}

check('a power of two in the values comes out exactly', (one, given) => {
  const { output } = attend(one, given);
  const scaled = attend({ ...one, v: one.v.map((x) => x * 8) }, given);
  return same(
    scaled.output,
    output.map((x) => x * 8),
  );
});

check('every component lies between the least and the largest value', (one, given) => {
  const { output } = attend(one, given);
  for (let h = 0; h < one.heads; h++) {
    for (let d = 0; d < one.dimV; d++) {
      let [least, most] = [Infinity, -Infinity];
      for (let j = 0; j < one.keys; j++) {
        const x = one.v[(h * one.keys + j) * one.dimV + d]!;
        [least, most] = [Math.min(least, x), Math.max(most, x)];
      }
      const slack = 1e-5 * Math.max(Math.abs(least), Math.abs(most));
      for (let i = 0; i < one.queries; i++) {
        const x = output[(h * one.queries + i) * one.dimV + d]!;
        if (x !== 0 && !(x >= least - slack && x <= most + slack)) return false;
      }
    }
  }
  return true;
});

check('values of one are averaged to one, and hidden rows to zero', (one, given) => {
  const { output, lse } = attend({ ...one, v: one.v.map(() => 1) }, given);
  return output.every((x, n) => (lse[Math.floor(n / one.dimV)] === -Infinity ? x === 0 : Math.abs(x - 1) < 2e-6));
});

check('the order of keys does not matter without a band', (one) => {
  const order = new Random(one.keys).shuffle(Array.from({ length: one.keys }, (_, j) => j));
  const shuffled = (rows: Float32Array, dim: number) => {
    const out = new Float32Array(rows.length);
    for (let h = 0; h < one.heads; h++) {
      order.forEach((from, to) =>
        out.set(rows.subarray((h * one.keys + from) * dim, (h * one.keys + from + 1) * dim), (h * one.keys + to) * dim),
      );
    }
    return out;
  };
  const a = attend(one);
  const b = attend({ ...one, k: shuffled(one.k, one.dimQk), v: shuffled(one.v, one.dimV) });
  return (
    a.output.every((x, n) => Math.abs(x - b.output[n]!) < 1e-5) &&
    a.lse.every((x, n) => Math.abs(x - b.lse[n]!) < 1e-5 * (1 + Math.abs(x)))
  );
});

check('a bias that is the same for a whole row moves lse alone', (one, given) => {
  const random = new Random(one.queries);
  const shift = Float32Array.from({ length: one.queries }, () => random.integer(-6, 6));
  const a = attend(one, given);
  const b = attend(one, { ...given, bias: Tensor.from(shift, [1, 1, one.queries, 1]) });
  return (
    a.output.every((x, n) => Math.abs(x - b.output[n]!) < 1e-4) &&
    a.lse.every((x, n) => x === b.lse[n] || Math.abs(x + shift[n % one.queries]! - b.lse[n]!) < 1e-4)
  );
});

check('heads that share keys equal heads that have copies of them, bit for bit', (one, given) => {
  const { heads, queries, keys, dimQk, dimV } = one;
  const [k, v] = [one.k.subarray(0, keys * dimQk), one.v.subarray(0, keys * dimV)];
  const copies = (rows: Float32Array) => {
    const all = new Float32Array(rows.length * heads);
    for (let h = 0; h < heads; h++) all.set(rows, h * rows.length);
    return all;
  };
  const shared = attentionSync(
    Tensor.from(one.q, [1, heads, queries, dimQk]),
    Tensor.from(k.slice(), [1, 1, keys, dimQk]),
    Tensor.from(v.slice(), [1, 1, keys, dimV]),
    { ...given, lse: true },
  );
  const copied = attend({ ...one, k: copies(k), v: copies(v) }, given);
  return same(shared.output.toFloat32(), copied.output) && same(shared.lse.toFloat32(), copied.lse);
});

check('causal() is slidingWindow(null, 0), bit for bit', (one, given) => {
  const a = attend(one, { ...given, mask: causal() });
  const b = attend(one, { ...given, mask: slidingWindow(null, 0) });
  return same(a.output, b.output) && same(a.lse, b.lse);
});

check('items of a mask commute, and repeating one changes nothing', (one, given) => {
  const padding = Tensor.from(
    Uint8Array.from({ length: one.keys }, (_, j) => (j % 7 === 3 ? 0 : 1)),
    [1, one.keys],
    { dtype: 'bool' },
  );
  const a = attend(one, { ...given, mask: [slidingWindow(30, 9), padding, causal()] });
  const b = attend(one, { ...given, mask: [causal(), padding, slidingWindow(30, 9), padding, causal()] });
  return same(a.output, b.output) && same(a.lse, b.lse);
});

check('a sink only scales a row down, and lse is never below it', (one, given) => {
  const sinks = Array.from({ length: one.heads }, (_, h) => h - 1);
  const a = attend(one, given);
  const b = attend(one, { ...given, sinks });
  return a.lse.every((lse, row) => {
    const sink = sinks[Math.floor(row / one.queries)]!;
    const joint = Math.log(Math.exp(lse) + Math.exp(sink));
    if (!(Math.abs(b.lse[row]! - joint) < 1e-4) || b.lse[row]! < sink - 1e-6) return false;
    const share = lse === -Infinity ? 0 : Math.exp(lse - joint);
    for (let d = 0, at = row * one.dimV; d < one.dimV; d++, at++) {
      if (!(Math.abs(b.output[at]! - share * a.output[at]!) < 1e-4)) return false;
    }
    return true;
  });
});
