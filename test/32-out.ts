// Results given in `out`: the same bits as allocated ones, and nothing written between or around their elements.

import test from 'ava';
import { Tensor } from '../lib/index.js';
import { bitsOf, callOf, run, type Options } from './reference/call.js';
import { describe, outputDtypeOf, sequencesOf } from './reference/case.js';
import { allocate } from './reference/half.js';
import { draw, usual, type Topic } from './reference/grid.js';
import { Random } from './reference/random.js';

test('strided outputs keep their surroundings', (t) => {
  for (const topic of ['masks', 'types', 'lengths', 'layouts', 'long'] as Topic[]) {
    for (let n = 0; n < 40; n++) {
      const random = new Random(n);
      const one = { ...draw(topic, 51_000 + n, usual), lse: true, entropy: true, rowMax: true };
      t.true(sequencesOf(one).length > 0);
      const call = callOf(one);
      const plain = run(call);
      const { shape } = plain.output;
      const dtype = outputDtypeOf(one);
      const canary = 12345.678;
      // Axes in any order, gaps after each.
      const strides: number[] = shape.map(() => 1);
      let step = shape.at(-1)! + random.integer(0, 3);
      for (const axis of random.shuffle(shape.slice(0, -1).map((_, index) => index))) {
        strides[axis] = step;
        step = step * Math.max(shape[axis]!, 1) + random.integer(0, 3);
      }
      const offset = random.integer(0, 5);
      const data = allocate(dtype, offset + step + 7, canary);
      const untouched = data.slice();
      const output = Tensor.from(data, shape, { dtype, strides, offset });
      const rows = plain.lse!.shape;
      const statistic = () =>
        Tensor.from(new Float32Array(rows.reduce((a, b) => a * b, 1) + 4).fill(canary), rows, { offset: 2 });
      const out = { output, lse: statistic(), entropy: statistic(), rowMax: statistic() };
      const given = run({ ...call, options: { ...call.options, out } as Options });
      t.is(given.output, output);
      for (const name of ['output', 'lse', 'entropy', 'rowMax'] as const) {
        t.deepEqual(bitsOf(given[name]!), bitsOf(plain[name]!), `${name} of ${describe(one)}`);
      }
      for (const tensor of [out.lse, out.entropy, out.rowMax]) {
        const memory = tensor.data as Float32Array;
        const edges = [memory[0], memory[1], memory.at(-1), memory.at(-2)];
        t.deepEqual(edges, Array(4).fill(Math.fround(canary)), describe(one));
      }
      const own = new Set<number>();
      const walk = (axis: number, at: number): void => {
        if (axis === shape.length) own.add(at);
        else for (let i = 0; i < shape[axis]!; i++) walk(axis + 1, at + i * strides[axis]!);
      };
      walk(0, offset);
      t.true(
        data.every((x, i) => own.has(i) || x === untouched[i]),
        describe(one),
      );
    }
  }
});
