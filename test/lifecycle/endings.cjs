// A process, or a worker in it, that ends in one of many ways with calls standing at a stage and others waiting behind them.
//   node endings.cjs <main | worker> <ending> <idle | queued | running | finishing> [cuda]
// idle: after calls that settled; cuda: calls on a device, over tensors there and here, and copies
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { attention, attentionSync, Tensor } = require('../../dist/index.js');
const native = require('../../dist/native.cjs').loadNative();

const [where, ending, stage, device = 'cpu'] = isMainThread ? process.argv.slice(2) : workerData;
const { threads } = native.info();

const shape = [2, 4, 64, 32];
const ones = (half) =>
  half ? new Uint16Array(2 * 4 * 64 * 32).fill(0x3c00) : new Float32Array(2 * 4 * 64 * 32).fill(1);
const tensor = (half = device !== 'cpu') => Tensor.from(ones(half), shape, half ? { dtype: 'float16' } : {});

let there;

/** More calls than there are places, over memory that only they hold; on a device, more than the pool has places for. */
function startCalls() {
  if (device !== 'cpu') {
    const computed = Array.from({ length: threads + 1 }, () => attention(tensor(), tensor(), tensor(), { device }));
    return [...computed, attention(there, there, there), tensor().to(device), there.to('cpu')];
  }
  return Array.from({ length: threads + 3 }, () => attention(tensor(), tensor(), tensor(), { lse: true }));
}

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

const endings = {
  exit: () => process.exit(7),
  throw: () =>
    setImmediate(() => {
      throw new Error('on purpose');
    }),
  reject: () => void Promise.reject(new Error('on purpose')),
  // The last callbacks of a process are a place to make calls too.
  'exit-handler': () => {
    process.on('exit', () => {
      startCalls();
      attentionSync(tensor(), tensor(), tensor(), { device });
    });
    process.exit(7);
  },
  drain: (calls) => {
    native.park(null);
    Promise.all(calls).then(() => console.log('all settled'));
  },
  // Waits for worker.terminate().
  stay: () => setInterval(() => {}, 1000),
};

async function live() {
  if (device !== 'cpu') there = await tensor().to(device);
  const places = device === 'cpu' ? threads : threads + 4;
  if (stage === 'idle') await Promise.all(startCalls());
  else native.park(stage);
  const calls = stage === 'idle' ? [] : startCalls();
  for (const call of calls) call.catch(() => {});
  await until(() => native.parked() === (stage === 'idle' ? 0 : places));
  parentPort?.postMessage('parked');
  endings[ending](calls);
}

async function host() {
  const worker = new Worker(__filename, { workerData: ['worker', ending, stage, device] });
  let error;
  worker.on('error', (met) => (error = met));
  const exited = new Promise((resolve) => worker.on('exit', resolve));
  await new Promise((resolve) => worker.on('message', resolve));
  if (ending === 'stay') await worker.terminate();
  const code = await exited;
  // The worker's calls are gone although the hook still holds what stops there; the pool serves this thread as before.
  if (native.parked() !== 0) throw new Error(`${native.parked()} calls of the worker still stand`);
  native.park(null);
  const now = attentionSync(tensor(), tensor(), tensor(), { device });
  const later = await attention(tensor(), tensor(), tensor(), { device });
  if (Buffer.compare(Buffer.from(now.output.data.buffer), Buffer.from(later.output.data.buffer)) !== 0)
    throw new Error('bits');
  console.log(JSON.stringify({ code, error: error?.message }));
}

(where === 'worker' && isMainThread ? host : live)();
