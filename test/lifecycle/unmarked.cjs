// After asynchronous calls: WebAssembly memory still grows, resizable and shared buffers are as they were, buffers of
// results that the library made can be transferred, and a resizable result keeps elements that the call does not write.
const assert = require('node:assert/strict');
const { attention, Tensor } = require('../../dist/index.js');

(async () => {
  const shape = [1, 1, 4, 8];
  const over = (buffer) => Tensor.from(new Float32Array(buffer, 0, 32).fill(0.5), shape);
  const memory = new WebAssembly.Memory({ initial: 1 });
  const resizable = new ArrayBuffer(128, { maxByteLength: 4096 });
  const shared = new SharedArrayBuffer(128);
  const { output } = await attention(over(memory.buffer), over(resizable), over(shared));

  assert.equal(memory.grow(1), 1);
  assert.equal(memory.buffer.byteLength, 2 * 65536);
  resizable.resize(64);
  assert.equal(resizable.byteLength, 64);
  const made = output.data.buffer;
  structuredClone(made, { transfer: [made] });
  assert.equal(made.byteLength, 0);

  const strided = new Float32Array(new ArrayBuffer(4 * 64, { maxByteLength: 4096 })).fill(-3);
  const result = Tensor.from(strided, shape, { strides: [64, 64, 16, 1] });
  const call = attention(over(new ArrayBuffer(128)), over(new ArrayBuffer(128)), over(shared), {
    out: { output: result },
  });
  strided[9] = 42; // between the rows of the result: not the call's
  await call;
  strided.forEach((value, i) => assert.equal(value, i === 9 ? 42 : i % 16 < 8 ? 0.5 : -3, `element ${i}`));
  console.log('ok');
})();
