// Calls process.exit while pool threads are in the kernels, small calls settle and others wait.
const { attention, Tensor } = require('../../dist/index.js');
const native = require('../../dist/native.cjs').loadNative();

const tensor = (shape) => Tensor.from(new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5), shape);
const long = tensor([1, 8, 4096, 64]);
const small = tensor([1, 1, 4, 8]);
native.park('running');
attention(long, long, long);
const settled = [];
(function go() {
  if (native.parked() < 1) return setImmediate(go);
  native.park(null); // the long call goes on
  for (let i = 0; i < 100; i += 1) settled.push(attention(small, small, small));
  let turns = Number(process.argv[2]);
  (function leave() {
    if (turns-- > 0) return setImmediate(leave);
    process.exit(5);
  })();
})();
