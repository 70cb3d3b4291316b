// A cache that grows step by step, on a machine that says to have 256 MiB: it is stopped before the memory is used. Prints
// what it held then, in MiB, and what happened.
const os = require('node:os');
const most = 256 * 2 ** 20;
os.totalmem = () => most;
const assert = require('node:assert/strict');
const { KvCache, Tensor } = require('../../dist/index.js');

const rows = Tensor.from(new Float32Array(8192 * 64), [1, 1, 8192, 64], { strides: [8192 * 64, 8192 * 64, 64, 1] });
const grow = (cache) => {
  for (let step = 0; step < 200; step += 1) {
    const [length, bytes] = [cache.length, cache.bytes];
    try {
      cache.append(rows, rows);
    } catch (error) {
      assert.equal(cache.length, length);
      assert.equal(cache.bytes, bytes);
      return error.code;
    }
  }
  return 'never';
};
const [first, second] = [new KvCache({ heads: 1, dim: 64 }), new KvCache({ heads: 1, dim: 64 })];
for (let step = 0; step < 16; step += 1) second.append(rows, rows); // 64 MiB
const code = grow(first);
const held = (first.bytes + second.bytes) / 2 ** 20;
second.free();
first.append(rows, rows); // there is room again
console.log(JSON.stringify({ code, held }));
