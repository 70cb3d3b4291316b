// The reference itself: what it says is checked by hand, by another formula, and against rounding done by the platform.

import test from 'ava';
import { attendHead, type Head } from './reference/attention.js';
import { decode16, encode16, round, spacing } from './reference/half.js';
import { lp } from './reference/lp.js';
import { Random } from './reference/random.js';
import { HalfRule, within } from './reference/tolerance.js';

function head(changes: Partial<Head>): Head {
  return {
    queries: 1,
    keys: 2,
    dimQk: 1,
    dimV: 1,
    query: Float64Array.of(1),
    key: Float64Array.of(0, Math.LN2),
    value: Float64Array.of(3, 6),
    scale: 1,
    softcap: 0,
    allowed: () => true,
    ...changes,
  };
}

const close = (a: number, b: number) => within(a, b, 1e-14 * (1 + Math.abs(b)));

test('two keys by hand: weights 1/3 and 2/3', (t) => {
  const { output, lse, entropy, rowMax, count, magnitude, spread } = attendHead(head({}));
  t.true(close(output[0]!, 5));
  t.true(close(lse[0]!, Math.log(3)));
  t.true(close(entropy[0]!, Math.log(3) - (2 / 3) * Math.LN2));
  t.is(rowMax[0], Math.LN2);
  t.is(count[0], 2);
  t.is(magnitude[0], Math.LN2);
  t.true(close(spread[0]!, 5));
});

test('scale, softcap, bias and sink by hand', (t) => {
  const scaled = attendHead(head({ scale: 2 }));
  t.true(close(scaled.output[0]!, (3 + 4 * 6) / 5));
  const capped = attendHead(head({ softcap: 0.25 }));
  const weight = Math.exp(0.25 * Math.tanh(Math.LN2 / 0.25));
  t.true(close(capped.output[0]!, (3 + weight * 6) / (1 + weight)));
  const biased = attendHead(head({ bias: (_, column) => (column === 0 ? Math.log(4) : 0) }));
  t.true(close(biased.output[0]!, (4 * 3 + 2 * 6) / 6));
  const sunk = attendHead(head({ sink: Math.log(3) }));
  t.true(close(sunk.output[0]!, 15 / 6));
  t.true(close(sunk.lse[0]!, Math.log(6)));
  t.is(sunk.rowMax[0], Math.LN2);
});

test('masked keys are selected away; empty rows are 0 and -infinity, or the sink', (t) => {
  const poisoned = { key: Float64Array.of(NaN, Math.LN2), value: Float64Array.of(NaN, 6) };
  t.is(attendHead(head({ ...poisoned, allowed: (_, column) => column === 1 })).output[0], 6);
  const empty = attendHead(head({ ...poisoned, allowed: () => false }));
  t.deepEqual([empty.output[0], empty.lse[0], empty.entropy[0], empty.rowMax[0]], [0, -Infinity, 0, -Infinity]);
  t.is(attendHead(head({ allowed: () => false, sink: 0.5 })).lse[0], 0.5);
  t.is(attendHead(head({ bias: () => -Infinity })).lse[0], -Infinity);
  t.is(attendHead(head({ bias: (_, column) => (column === 0 ? -Infinity : 0) })).output[0], 6);
  t.is(attendHead(head({ keys: 0, key: new Float64Array(), value: new Float64Array() })).lse[0], -Infinity);
});

test('a NaN or infinite score spoils its row', (t) => {
  for (const bad of [NaN, Infinity]) {
    const spoiled = attendHead(head({ bias: (_, column) => (column === 0 ? bad : 0) }));
    t.true(Number.isNaN(spoiled.output[0]));
    t.false(Number.isFinite(spoiled.lse[0]));
  }
});

test('the same as plain softmax of whole score matrices', (t) => {
  const random = new Random(7);
  for (let n = 0; n < 50; n++) {
    const [queries, keys, dimQk, dimV] = [
      random.integer(1, 6),
      random.integer(1, 9),
      random.integer(1, 5),
      random.integer(1, 5),
    ];
    const one: Head = head({
      queries,
      keys,
      dimQk,
      dimV,
      query: random.normals(queries * dimQk),
      key: random.normals(keys * dimQk),
      value: random.normals(keys * dimV),
      scale: 0.7,
    });
    const result = attendHead(one);
    for (let i = 0; i < queries; i++) {
      const weights = Array.from({ length: keys }, (_, j) => {
        let s = 0;
        for (let d = 0; d < dimQk; d++) s += one.query[i * dimQk + d]! * one.key[j * dimQk + d]!;
        return Math.exp(0.7 * s);
      });
      const sum = weights.reduce((a, b) => a + b);
      t.true(close(result.lse[i]!, Math.log(sum)));
      t.true(close(result.entropy[i]!, -weights.reduce((h, w) => h + (w / sum) * Math.log(w / sum), 0)));
      for (let d = 0; d < dimV; d++) {
        const mean = weights.reduce((o, w, j) => o + (w / sum) * one.value[j * dimV + d]!, 0);
        t.true(within(result.output[i * dimV + d]!, mean, 1e-13));
      }
    }
  }
});

test('16-bit patterns and values are inverse; NaN stays NaN', (t) => {
  for (const dtype of ['float16', 'bfloat16'] as const) {
    for (let bits = 0; bits < 65536; bits++) {
      const value = decode16(dtype, bits);
      if (Number.isNaN(value)) {
        if (!Number.isNaN(decode16(dtype, encode16(dtype, value)))) t.fail(`${dtype} ${bits}`);
      } else if (encode16(dtype, value) !== bits || round(dtype, value) !== value) {
        t.fail(`${dtype} ${bits}`);
      }
    }
  }
  t.deepEqual(
    [0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00].map((b) => decode16('float16', b)),
    [1, -2, 65504, 2 ** -24, Infinity],
  );
  t.deepEqual(
    [0x3f80, 0xc000, 0x0001, 0xff80].map((b) => decode16('bfloat16', b)),
    [1, -2, 2 ** -133, -Infinity],
  );
});

test('rounding goes to the nearest, ties to even, once', (t) => {
  for (const dtype of ['float16', 'bfloat16'] as const) {
    for (let bits = 0; bits < 0x7fff; bits++) {
      const low = decode16(dtype, bits);
      const high = decode16(dtype, bits + 1);
      if (!Number.isFinite(low) || !Number.isFinite(high)) continue;
      const middle = (low + high) / 2;
      const step = (high - low) * 2 ** -20;
      const even = bits % 2 === 0 ? low : high;
      const right =
        round(dtype, middle) === even &&
        round(dtype, middle - step) === low &&
        round(dtype, middle + step) === high &&
        round(dtype, -middle) === -even &&
        spacing(dtype, low) === high - low;
      if (!right) t.fail(`${dtype} between ${low} and ${high}`);
    }
  }
  t.is(round('float16', 65519.999), 65504);
  t.is(round('float16', 65520), Infinity);
  t.is(round('float16', -1e300), -Infinity);
  t.is(round('bfloat16', 3.4e38), Infinity);
  t.is(round('float16', 2 ** -25), 0);
  t.true(Object.is(round('float16', -(2 ** -26)), -0));
  t.is(round('float16', 2 ** -25 * 1.001), 2 ** -24);
});

test('lp rounds inputs, weights and output, each to its own type', (t) => {
  const third = head({
    key: Float64Array.of(0, 1),
    query: Float64Array.of(Math.LN2),
    value: Float64Array.of(1, 1.001),
  });
  const types = { query: 'float32', key: 'float32', value: 'bfloat16', output: 'float16' } as const;
  const p = [
    round('bfloat16', 1 / (1 + Math.exp(Math.fround(Math.LN2)))),
    round('bfloat16', 1 / (1 + Math.exp(-Math.fround(Math.LN2)))),
  ];
  t.is(lp(third, types)[0], round('float16', p[0]! + p[1]! * round('bfloat16', 1.001)));
});

test('the half rule bites: a weight forgotten, a NaN, a mean that drifts', (t) => {
  const rule = (errors: (n: number) => number) => {
    const made = new HalfRule('float16');
    for (let n = 0; n < 100; n++) made.add(1 + n / 128 + errors(n), 1 + n / 128, 1 + n / 128 + (n % 2) * 2 ** -11);
    return made.verdict();
  };
  t.is(
    rule(() => 0),
    null,
  );
  t.is(
    rule((n) => (n % 2) * 2 ** -11),
    null,
  );
  t.regex(
    rule((n) => (n === 50 ? 0.1 : 0))!,
    /max/,
  );
  t.regex(
    rule((n) => (n === 50 ? NaN : 0))!,
    /max/,
  );
  t.regex(
    rule(() => 2 ** -11)!,
    /mean/,
  );
});
