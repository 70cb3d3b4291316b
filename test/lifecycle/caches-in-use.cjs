// Ends the process, or workers, while calls over caches are in the kernels, wait in the queue, or have just appended.
const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { KvCache, Tensor } = require('../../dist/index.js');
const native = require('../../dist/native.cjs').loadNative();

const tokens = (rows) => Tensor.from(new Float32Array(8 * rows * 64).fill(0.5), [1, 8, rows, 64]);

function start() {
  const step = tokens(200);
  for (let i = 0; i < native.info().threads + 2; i += 1) {
    const cache = new KvCache({ heads: 8, dim: 64, rope: { pairing: 'halves' } });
    cache.append(tokens(2000), tokens(2000));
    const other = cache.fork();
    cache.attend(step, { k: step, v: step });
    other.attend(step, { k: step, v: step });
    if (i % 2 === 0) other.free();
  }
}

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

async function main() {
  native.park('running');
  if (process.argv[2] === 'exit') {
    start();
    await until(() => native.parked() > 0);
    native.park(null);
    process.exit(5);
  }
  for (let round = 0; round < 8; round += 1) {
    native.park(['queued', 'running', 'finishing'][round % 3]);
    const worker = new Worker(__filename);
    await until(() => native.parked() === native.info().threads);
    if (round % 2 === 0) native.park(null);
    await worker.terminate();
    native.park(null);
  }
  console.log('ok');
}

if (isMainThread) {
  main();
} else {
  start();
  setInterval(() => parentPort.postMessage('alive'), 1000);
}
