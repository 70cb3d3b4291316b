// Ends workers while pool threads are in the kernels, at work on memory that goes away with the worker.
const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { attention, Tensor } = require('../../dist/index.js');
const native = require('../../dist/native.cjs').loadNative();

const tensor = () => Tensor.from(new Float32Array(8 * 2048 * 64).fill(0.5), [1, 8, 2048, 64]);

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

async function main() {
  for (let round = 0; round < 20; round += 1) {
    native.park('running');
    const worker = new Worker(__filename);
    await until(() => native.parked() === native.info().threads);
    native.park(null); // its calls go on
    await worker.terminate();
  }
  console.log('ok');
}

if (isMainThread) {
  main();
} else {
  for (let i = 0; i < native.info().threads + 2; i += 1) attention(tensor(), tensor(), tensor());
  setInterval(() => parentPort.postMessage('alive'), 1000);
}
