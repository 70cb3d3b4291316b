// A process, or a worker in it, that ends in one of many ways with calls standing at a stage and others waiting behind them.
//   node endings.cjs <main | worker> <ending> <idle | queued | running | finishing>      idle: after calls that settled
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { attention, attentionSync, Tensor } = require('../../dist/index.js');
const native = require('../../dist/native.cjs').loadNative();

const [where, ending, stage] = isMainThread ? process.argv.slice(2) : workerData;
const places = native.info().threads;

const shape = [2, 4, 64, 32];
const tensor = () => Tensor.from(new Float32Array(2 * 4 * 64 * 32).fill(0.25), shape);

/** More calls than there are places, over memory that only they hold. */
function startCalls() {
  return Array.from({ length: places + 3 }, () => attention(tensor(), tensor(), tensor(), { lse: true }));
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
      attentionSync(tensor(), tensor(), tensor());
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
  if (stage === 'idle') await Promise.all(startCalls());
  else native.park(stage);
  const calls = stage === 'idle' ? [] : startCalls();
  for (const call of calls) call.catch(() => {});
  await until(() => native.parked() === (stage === 'idle' ? 0 : places));
  parentPort?.postMessage('parked');
  endings[ending](calls);
}

async function host() {
  const worker = new Worker(__filename, { workerData: ['worker', ending, stage] });
  let error;
  worker.on('error', (met) => (error = met));
  const exited = new Promise((resolve) => worker.on('exit', resolve));
  await new Promise((resolve) => worker.on('message', resolve));
  if (ending === 'stay') await worker.terminate();
  const code = await exited;
  // The worker's calls are gone although the hook still holds what stops there; the pool serves this thread as before.
  if (native.parked() !== 0) throw new Error(`${native.parked()} calls of the worker still stand`);
  native.park(null);
  const now = attentionSync(tensor(), tensor(), tensor());
  const later = await attention(tensor(), tensor(), tensor());
  if (Buffer.compare(Buffer.from(now.output.data.buffer), Buffer.from(later.output.data.buffer)) !== 0)
    throw new Error('bits');
  console.log(JSON.stringify({ code, error: error?.message }));
}

(where === 'worker' && isMainThread ? host : live)();
