// Ends the process, or workers, while kernels run on a device: over tensors there and here, and another worker goes on.
//   node device-computing.cjs <exit | terminate>
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { attention, attentionSync, Tensor } = require('../../dist/index.js');
const native = require('../../dist/native.cjs').loadNative();

const tensor = (rows) => Tensor.from(new Uint16Array(rows * 64).fill(0x3c00), [1, 1, rows, 64], { dtype: 'float16' });

async function start() {
  const there = await tensor(1024).to('cuda');
  native.park('running');
  attention(there, there, there);
  attention(tensor(1024), tensor(1024), tensor(1024), { device: 'cuda' });
}

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

async function main() {
  if (process.argv[2] === 'exit') {
    await start();
    await until(() => native.parked() === 2);
    native.park(null); // the calls go on
    process.exit(5);
  }
  const alive = new Worker(__filename, { workerData: 'alive' });
  await new Promise((resolve) => alive.once('message', resolve)); // or its transfer would stand parked, too
  for (let round = 0; round < 3; round += 1) {
    const worker = new Worker(__filename, { workerData: 'ended' });
    await until(() => native.parked() === 2);
    native.park(null);
    await worker.terminate();
  }
  const computed = await new Promise((resolve) => {
    alive.once('message', resolve);
    alive.postMessage('compute');
  });
  await alive.terminate();
  const { output } = attentionSync(tensor(64), tensor(64), tensor(64), { device: 'cuda' });
  console.log(computed, output.toFloat32()[5]);
}

/** A worker with a tensor of its own, which it computes with when the others are gone. */
async function live() {
  if (workerData === 'ended') {
    await start();
    setInterval(() => parentPort.postMessage('alive'), 1000);
    return;
  }
  const there = await tensor(64).to('cuda');
  parentPort.once('message', async () => {
    const { output } = await attention(there, there, there);
    parentPort.postMessage((await output.to('cpu')).toFloat32()[7]);
  });
  parentPort.postMessage('ready');
}

(isMainThread ? main : live)();
