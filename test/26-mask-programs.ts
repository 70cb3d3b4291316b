// Which keys are seen through mask programs, exactly: random programs against the function itself, called with plain
// reads, combined with mask tensors, lengths, grouped heads and biases; and that the bits of results stay a row's own.

import './helpers/seven-threads.js';
import test from 'ava';
import {
  AttentionError,
  attentionSync,
  causal,
  documents,
  explain,
  mask,
  slidingWindow,
  Tensor,
} from '../lib/index.js';
import { bitsOf, run } from './reference/call.js';
import { describe } from './reference/case.js';
import { draw, usual, type Topic } from './reference/grid.js';
import { flat, wrongKeys } from './reference/keys-seen.js';
import { callWith, fromZero, libraryMask, maskFor } from './reference/program-case.js';
import { Random } from './reference/random.js';
import { valuesOf } from './reference/values.js';

const topics: Topic[] = ['masks', 'lengths', 'decode', 'layouts', 'long', 'anything'];

/** null where the call is refused because the analysis cannot exclude that an integer leaves int32. */
function refusedOr<T>(body: () => T): T | null {
  try {
    return body();
  } catch (error) {
    if (error instanceof AttentionError && error.code === 'ERR_OUT_OF_RANGE' && error.expected?.includes('int32')) {
      return null;
    }
    throw error;
  }
}

for (const topic of topics) {
  test(`${topic}: random programs show the keys that the function shows`, (t) => {
    let some = 0;
    for (let n = 0; n < 50; n++) {
      const drawn = flat(topic, 261_000 + n, 'positions');
      if (Math.max(drawn.keys, ...(drawn.lengthsKv ?? [])) > 1200) continue;
      const values = valuesOf(drawn);
      const one = fromZero(drawn, values);
      const wrong = refusedOr(() => wrongKeys(one, 'positions', maskFor(one, values, 262_000 + n, 1 + (n % 4))));
      if (wrong === null) continue;
      some++;
      t.deepEqual(wrong, []);
    }
    t.true(some > 20);
  });
}

test('the same bits with any number of threads, again and again', (t) => {
  for (const topic of topics) {
    for (let n = 0; n < 8; n++) {
      const drawn = draw(topic, 263_000 + n, usual);
      const values = valuesOf(drawn);
      const one = fromZero({ ...drawn, lse: true }, values);
      const call = callWith(one, values, { mask: libraryMask(maskFor(one, values, 264_000 + n, 3)) });
      const bits = [1, 2, 7, 1].map((threads) => {
        const { output, lse } = run({ ...call, options: { ...call.options, threads } });
        return [...bitsOf(output), ...bitsOf(lse!)].join();
      });
      t.is(new Set(bits).size, 1, describe(one));
    }
  }
});

const random = new Random(265);
const tensor = (...shape: number[]) =>
  Tensor.from(Float32Array.from(random.normals(shape.reduce((a, b) => a * b))), shape);

test('a program and a mask tensor of the same pairs give the same bits', (t) => {
  const [nq, nkv] = [200, 333];
  const [q, k, v] = [tensor(1, 4, nq, 16), tensor(1, 2, nkv, 16), tensor(1, 2, nkv, 16)];
  const ids = Int32Array.from({ length: nkv }, (_, j) => Math.floor(j / 50) % 3);
  const start = nkv - nq;
  const each: [string, ReturnType<typeof mask>, (i: number, j: number) => boolean][] = [
    ['causal', causal(), (i, j) => j <= i],
    ['window', slidingWindow(20, 5), (i, j) => i - j <= 20 && j - i <= 5],
    ['documents', documents(ids), (i, j) => ids[i] === ids[j]],
    ['every third', mask('(i, j) => (i + j) % 3 === 0'), (i, j) => (i + j) % 3 === 0],
    ['nothing', mask('(i, j) => i < j - 1000'), () => false],
  ];
  for (const [name, program, shows] of each) {
    const cells = Uint8Array.from({ length: nq * nkv }, (_, n) => Number(shows(start + Math.floor(n / nkv), n % nkv)));
    const grid = Tensor.from(cells, [1, 1, nq, nkv], { dtype: 'bool' });
    const byProgram = attentionSync(q, k, v, { mask: program, lse: true });
    const byTensor = attentionSync(q, k, v, { mask: grid, lse: true });
    t.deepEqual(bitsOf(byProgram.output), bitsOf(byTensor.output), name);
    t.deepEqual(bitsOf(byProgram.lse), bitsOf(byTensor.lse), name);
  }
});

test('tiles that only a look at their pairs decides are promoted, and explain says so', (t) => {
  const [q, k, v] = [tensor(1, 1, 100, 8), tensor(1, 1, 300, 8), tensor(1, 1, 300, 8)];
  // n (n + 1) is even.
  const told = explain(q, k, v, { mask: mask('(i, j) => ((i + j) * (i + j + 1)) % 2 === 0') });
  t.is(told.tiles.partial, 0);
  t.true(told.tiles.full > 0);
});

test('a read outside of a table is refused where a pair hangs on it, and only there', (t) => {
  const [q, k, v] = [tensor(1, 2, 64, 8), tensor(1, 2, 64, 8), tensor(1, 2, 64, 8)];
  const near = (length: number) =>
    mask('(i, j, { near }) => j <= i && near(i - j) > 0', { near: new Int32Array(length).fill(1) });
  t.notThrows(() => attentionSync(q, k, v, { mask: near(64) }));
  // A window that hides those pairs anyway.
  t.notThrows(() => attentionSync(q, k, v, { mask: [near(63), slidingWindow(5, 5)] }));
  for (const options of [{ mask: near(63) }, { mask: [near(63), slidingWindow(63, 5)] }]) {
    const error = t.throws(() => attentionSync(q, k, v, options), { instanceOf: AttentionError })!;
    t.is(error.code, 'ERR_OUT_OF_RANGE');
    t.is(error.argument, 'options.mask');
  }
});
