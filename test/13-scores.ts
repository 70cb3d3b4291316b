// What is done to scores: bias of every broadcast, softcap, sinks, scale, against the float64 reference.

import test from 'ava';
import { attentionSync, Tensor } from '../lib/index.js';
import { testGrid } from './reference/verify.js';

testGrid('scores');

test('entropies where some keys, or all of them, lie immeasurably far below', (t) => {
  for (const queries of [1, 40]) {
    for (const [keys, below] of [
      [700, 650],
      [700, 700],
    ] as const) {
      const zeros = (rows: number) => Tensor.from(new Float32Array(rows * 32), [1, 1, rows, 32]);
      const bias = Float32Array.from({ length: keys }, (_, key) => (key < below ? -1e38 : 0));
      const { entropy } = attentionSync(zeros(queries), zeros(keys), zeros(keys), {
        bias: Tensor.from(bias, [1, 1, 1, keys]),
        entropy: true,
      });
      const seen = below < keys ? keys - below : keys;
      for (const value of entropy.toFloat32()) t.true(Math.abs(value - Math.log(seen)) < 1e-5, `${value}`);
    }
  }
});
