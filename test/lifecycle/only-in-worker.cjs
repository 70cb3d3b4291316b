// Loads the library in a worker alone, and says whether it is in memory before and after the worker's life.
const { readFileSync } = require('node:fs');
const { Worker } = require('node:worker_threads');

const mapped = () => readFileSync('/proc/self/maps', 'utf8').includes('fused_attention');
const before = mapped();
const program = `
  const { attention, Tensor } = require(${JSON.stringify(require.resolve('../../dist/index.js'))});
  const x = Tensor.from(new Float32Array(4096), [1, 2, 32, 64]);
  attention(x, x, x).then(() => process.exit());`;
new Worker(program, { eval: true }).on('exit', () =>
  setImmediate(() => console.log(`before ${before}, after ${mapped()}`)),
);
