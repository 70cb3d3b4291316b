// A worker is terminated while a call of its works out what a mask hides, which takes many seconds. Prints how long that
// took, in milliseconds.
const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { attention, neighborhood, not, Tensor } = require('../../dist/index.js');

if (isMainThread) {
  const worker = new Worker(__filename);
  worker.once('message', () => {
    setTimeout(async () => {
      const start = performance.now();
      await worker.terminate();
      console.log(performance.now() - start);
    }, 100);
  });
} else {
  const mask = not(neighborhood({ grid: [256, 256], window: 63, dilation: 4 }));
  const x = Tensor.from(new Float32Array(2 * 65536), [1, 1, 65536, 2]);
  attention(x, x, x, { mask }).catch(() => {});
  parentPort.postMessage('started');
}
