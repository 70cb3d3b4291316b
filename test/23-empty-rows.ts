// Queries that see no key: output 0, lse -infinity - or the sink, exactly - entropy 0, row maximum -infinity.

import test from 'ava';
import { attentionSync, causal, slidingWindow, Tensor } from '../lib/index.js';
import { encode16 } from './reference/half.js';
import { Random } from './reference/random.js';

function tensor(random: Random, shape: number[]): Tensor {
  const length = shape.reduce((a, b) => a * b, 1);
  return Tensor.from(Float32Array.from(random.normals(length)), shape);
}

const wanted = { lse: true, entropy: true, rowMax: true } as const;

test('no key at all', (t) => {
  const random = new Random(1);
  for (const queries of [0, 1, 5, 40]) {
    const result = attentionSync(
      tensor(random, [2, 4, queries, 8]),
      tensor(random, [2, 2, 0, 8]),
      tensor(random, [2, 2, 0, 3]),
      wanted,
    );
    t.deepEqual(result.output.shape, [2, 4, queries, 3]);
    t.true(result.output.toFloat32().every((x) => Object.is(x, 0)));
    t.true(result.lse.toFloat32().every((x) => x === -Infinity));
    t.true(result.entropy!.toFloat32().every((x) => x === 0));
    t.true(result.rowMax!.toFloat32().every((x) => x === -Infinity));
  }
});

test('bottom-right causal with more queries than keys: the first rows are empty', (t) => {
  const random = new Random(2);
  for (const [queries, keys] of [
    [5, 2],
    [70, 3],
    [60, 59],
  ] as const) {
    const result = attentionSync(
      tensor(random, [1, 1, queries, 4]),
      tensor(random, [1, 1, keys, 4]),
      tensor(random, [1, 1, keys, 4]),
      {
        mask: causal(),
        ...wanted,
      },
    );
    const lse = result.lse.toFloat32();
    const output = result.output.toFloat32();
    for (let row = 0; row < queries; row++) {
      const empty = row < queries - keys;
      t.is(lse[row] === -Infinity, empty);
      t.is(
        output.subarray(row * 4, row * 4 + 4).every((x) => x === 0),
        empty,
      );
      t.is(result.rowMax!.toFloat32()[row] === -Infinity, empty);
    }
  }
});

test('with a sink, lse of an empty row is the sink itself', (t) => {
  const random = new Random(3);
  const sinks = [0.1, -3.7, 55, -Infinity].map(Math.fround);
  const [q, k] = [tensor(random, [1, 4, 6, 5]), tensor(random, [1, 2, 9, 5])];
  const nothing = Tensor.from(new Uint8Array(9), [1, 9], { dtype: 'bool' });
  const { output, lse, entropy } = attentionSync(q, k, k, { mask: nothing, sinks, ...wanted });
  t.true(output.toFloat32().every((x) => x === 0));
  t.true(entropy!.toFloat32().every((x) => x === 0));
  sinks.forEach((sink, h) => t.deepEqual([...lse.toFloat32().subarray(h * 6, h * 6 + 6)], Array(6).fill(sink)));
});

test('a sink of -infinity is no sink, bit for bit; a huge one takes everything', (t) => {
  const random = new Random(4);
  const [q, k] = [tensor(random, [1, 2, 7, 16]), tensor(random, [1, 2, 33, 16])];
  const without = attentionSync(q, k, k, { lse: true });
  const never = attentionSync(q, k, k, { lse: true, sinks: [-Infinity, -Infinity] });
  t.deepEqual(never.output.toFloat32(), without.output.toFloat32());
  t.deepEqual(never.lse.toFloat32(), without.lse.toFloat32());
  const taken = attentionSync(q, k, k, { lse: true, sinks: [1e4, 1e4] });
  t.true(taken.output.toFloat32().every((x) => Math.abs(x) < 1e-30));
  t.true(taken.lse.toFloat32().every((x) => Math.abs(x - 1e4) < 1e-2));
});

test('empty rows of 16-bit outputs are +0', (t) => {
  const random = new Random(5);
  for (const dtype of ['float16', 'bfloat16'] as const) {
    const bits = (length: number) => Uint16Array.from(random.normals(length), (x) => encode16(dtype, x));
    const q = Tensor.from(bits(12), [1, 1, 4, 3], { dtype });
    const k = Tensor.from(bits(6), [1, 1, 2, 3], { dtype });
    const { output } = attentionSync(q, k, k, { mask: slidingWindow(0, 0), align: 'top-left' });
    const data = [...(output.data as Uint16Array)];
    t.deepEqual(data.slice(6), Array(6).fill(0));
    t.false(data.slice(0, 6).every((x) => x === 0));
  }
});
