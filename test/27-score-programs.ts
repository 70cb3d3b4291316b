// What score programs make of scores: random programs by the float32 interpreter of their graph inside the float64
// reference, with softcap, masks, bias, sinks, lengths and grouped heads around them; and that bits stay a row's own.

import './helpers/seven-threads.js';
import test from 'ava';
import { alibi, AttentionError, attentionSync, causal, score, Tensor } from '../lib/index.js';
import { bitsOf, run } from './reference/call.js';
import { describe, type Case } from './reference/case.js';
import type { Topic } from './reference/grid.js';
import { callWith } from './reference/program-case.js';
import { caseOf, scoreFor, smooth, smoothProgram, wrongScores } from './reference/program-scores.js';
import type { RandomProgram } from './reference/random-program.js';
import { Random } from './reference/random.js';
import { valuesOf } from './reference/values.js';

const topics: Topic[] = ['scores', 'masks', 'lengths', 'decode', 'long', 'anything'];

for (const topic of topics) {
  test(`${topic}: random programs`, (t) => {
    let some = 0;
    for (let n = 0; n < 40; n++) {
      const drawn = caseOf(topic, 271_000 + n, true);
      if (Math.max(drawn.keys, ...(drawn.lengthsKv ?? [])) > 1200) continue;
      const make = (one: Case): RandomProgram => scoreFor(one, 272_000 + 50 * n, 1 + (n % 4));
      const wrong = wrongScores(drawn, make, 273_000 + n, n % 2 === 0);
      if (wrong === null) continue;
      some++;
      t.deepEqual(wrong, []);
    }
    t.true(some > 10, `${some}`);
  });
}

for (const topic of topics) {
  test(`${topic}: smooth programs after any softcap and scale`, (t) => {
    let some = 0;
    for (let n = 0; n < 28; n++) {
      const wrong = wrongScores(caseOf(topic, 274_000 + n, false), () => smoothProgram(n), 275_000 + n, n % 3 === 0);
      if (wrong === null) continue;
      some++;
      t.deepEqual(wrong, []);
    }
    t.true(some > 14, `${some}`);
  });
}

test('the same bits with any number of threads, again and again', (t) => {
  for (const topic of topics) {
    for (let n = 0; n < 8; n++) {
      const drawn = caseOf(topic, 276_000 + n, false);
      const values = valuesOf(drawn);
      const call = callWith(drawn, values, {
        score: score(smooth[n % smooth.length]![0], smooth[n % smooth.length]![1]),
      });
      const bits = [1, 2, 7, 1].map((threads) => {
        const { output, lse } = run({ ...call, options: { ...call.options, threads } });
        return [...bitsOf(output), ...bitsOf(lse!)].join();
      });
      t.is(new Set(bits).size, 1, describe(drawn));
    }
  }
});

const random = new Random(277);
const tensor = (...shape: number[]) =>
  Tensor.from(Float32Array.from(random.normals(shape.reduce((a, b) => a * b))), shape);

test('a head alone has the bits that it has among others', (t) => {
  const [q, k, v] = [tensor(1, 4, 70, 16), tensor(1, 2, 200, 16), tensor(1, 2, 200, 16)];
  const program = '(s, i, j, { h, first, slope }) => s - slope(h + first) * Math.abs(i - j) + Math.tanh(s)';
  const slope = [0.5, 0.25, 0.125, 0.0625];
  const options = (first: number) => ({ score: score(program, { slope, first }), mask: causal(), lse: true as const });
  const whole = attentionSync(q, k, v, options(0));
  for (let h = 0; h < 4; h++) {
    const hkv = Math.floor(h / 2);
    const alone = attentionSync(q.narrow(1, h, 1), k.narrow(1, hkv, 1), v.narrow(1, hkv, 1), options(h));
    t.deepEqual(bitsOf(alone.output), bitsOf(whole.output.narrow(1, h, 1)), `head ${h}`);
    t.deepEqual(bitsOf(alone.lse), bitsOf(whole.lse.narrow(1, h, 1)), `lse of head ${h}`);
  }
});

test('scores of hidden pairs may be anything', (t) => {
  const [q, k, v] = [tensor(1, 2, 50, 8), tensor(1, 2, 50, 8), tensor(1, 2, 50, 8)];
  const plain = attentionSync(q, k, v, { mask: causal(), score: score('(s) => s * 1'), lse: true });
  for (const wild of ['0 / (0 * s)', '1 / 0', 'table(i - j)']) {
    const source = `(s, i, j, { table }) => j <= i ? s : ${wild}${wild.includes('table') ? '' : ' + 0 * table(0)'}`;
    const given = attentionSync(q, k, v, {
      mask: causal(),
      score: score(source, { table: new Float32Array(50) }),
      lse: true,
    });
    t.deepEqual(bitsOf(given.output), bitsOf(plain.output), wild);
    t.deepEqual(bitsOf(given.lse), bitsOf(plain.lse), wild);
  }
});

test('a read outside of a table is refused where the pair is visible', (t) => {
  const [q, k, v] = [tensor(1, 2, 64, 8), tensor(1, 2, 64, 8), tensor(1, 2, 64, 8)];
  const near = (length: number) => score('(s, i, j, { bias }) => s + bias(i - j)', { bias: new Float32Array(length) });
  t.notThrows(() => attentionSync(q, k, v, { mask: causal(), score: near(64) }));
  for (const options of [{ score: near(64) }, { mask: causal(), score: near(63) }]) {
    const error = t.throws(() => attentionSync(q, k, v, options), { instanceOf: AttentionError })!;
    t.is(error.code, 'ERR_OUT_OF_RANGE');
    t.is(error.argument, 'options.score');
  }
});

test('a linear bias as a program equals the same bias as a tensor', (t) => {
  const [q, k, v] = [tensor(1, 4, 90, 16), tensor(1, 4, 90, 16), tensor(1, 4, 90, 16)];
  const slopes = [0.5, 0.25, 0.125, 0.0625];
  const cells = Float32Array.from({ length: 4 * 90 * 90 }, (_, n) => {
    const [h, i, j] = [Math.floor(n / 8100), Math.floor(n / 90) % 90, n % 90];
    return -slopes[h]! * Math.abs(i - j);
  });
  const byProgram = attentionSync(q, k, v, { mask: causal(), score: alibi(slopes) });
  const byTensor = attentionSync(q, k, v, { mask: causal(), bias: Tensor.from(cells, [1, 4, 90, 90]) });
  const [a, b] = [byProgram.output.toFloat32(), byTensor.output.toFloat32()];
  a.forEach((x, n) => t.true(Math.abs(x - b[n]!) < 2e-6));
});
