// One cell of the lifecycle matrix, repeated in one process: calls stand at a stage, one thing happens to them, and
// everything is as before. Faults that end the process or a worker are repeated by workers here and by test/66-matrix.ts
// with one process each. Prints a line of JSON; a repeat that hangs is a failure, named by its number.
//   node --expose-gc matrix.cjs <stage> <fault> <repeats>
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { readFileSync } = require('node:fs');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { attention, attentionSync, Tensor } = require('../../dist/index.js');
const native = require('../../dist/native.cjs').loadNative();

const places = native.info().threads;
const shape = [1, 2, 128, 32]; // 32 KiB a tensor: large enough to be seen when one stays behind
const count = 8192;
const deadline = 20_000;
const headroom = 2 ** 30;

const bytes = ({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
const tensor = (fill = 0.25) => Tensor.from(new Float32Array(count).fill(fill), shape);

const usual = tensor();
/** Of every call that is not hindered. */
const expected = Buffer.from(bytes(attentionSync(usual, usual, usual).output));

async function until(condition, what) {
  const end = Date.now() + deadline;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Fills every place and leaves one call waiting behind them. Idle: there is nobody. */
async function startCalls(stage, options = () => ({})) {
  if (stage === 'idle') return [];
  native.park(stage);
  const calls = Array.from({ length: places + 1 }, () => {
    const given = { inputs: [tensor(), tensor(), tensor()], output: tensor(4) };
    given.promise = attention(...given.inputs, { out: { output: given.output }, ...options() });
    given.promise.catch(() => {});
    return given;
  });
  await until(() => native.parked() === places, 'the calls stand parked');
  return calls;
}

const isAbort = ({ status, reason }) => status === 'rejected' && reason.code === 'ABORT_ERR';
const endsOf = (calls) => Promise.allSettled(calls.map(({ promise }) => promise));

/** Memory that calls held is free again: an output can be written by another. */
function requireFree(calls) {
  const x = tensor();
  for (const { output } of calls) if (output.data.byteLength > 0) attentionSync(x, x, x, { out: { output } });
}

const faults = {
  async abort(stage) {
    const controller = new AbortController();
    const calls = await startCalls(stage, () => ({ signal: controller.signal }));
    controller.abort('matrix');
    if (stage === 'idle') {
      const x = tensor();
      calls.push({ output: tensor(), promise: attention(x, x, x, { signal: controller.signal }) });
    }
    for (const end of await endsOf(calls)) assert(isAbort(end), `${end.status} ${end.reason}`);
    assert.equal(native.parked(), 0);
    native.park(null);
    requireFree(calls);
    return calls.length;
  },

  async transfer(stage) {
    const calls = await startCalls(stage);
    if (stage === 'idle') {
      const [q, k, v, output] = [tensor(), tensor(), tensor(), tensor()];
      structuredClone(k.data.buffer, { transfer: [k.data.buffer] });
      calls.push({ output, promise: attention(q, k, v, { out: { output } }) });
      const [end] = await endsOf(calls);
      assert.equal(end.reason?.code, 'ERR_INVALID_ARG_VALUE', String(end.reason));
      assert.match(end.reason.argument, /^key/);
      requireFree(calls);
      return 1;
    }
    for (const { inputs, output } of calls) {
      for (const { data } of [...inputs, output]) {
        try {
          structuredClone(data.buffer, { transfer: [data.buffer] });
        } catch (error) {
          assert.equal(error.name, 'DataCloneError');
        }
      }
    }
    // Whoever reads or writes what was freed meets these.
    const others = Array.from({ length: 8 }, () => new Float32Array(count).fill(7e7));
    native.park(null);
    for (const [index, end] of (await endsOf(calls)).entries()) {
      const { output } = calls[index];
      if (output.data.byteLength > 0) {
        assert.equal(end.status, 'fulfilled', String(end.reason));
        assert.equal(Buffer.compare(bytes(output), expected), 0, 'result');
      } else {
        assert.equal(end.reason?.code, 'ERR_INVALID_ARG_VALUE', String(end.reason));
      }
    }
    for (const other of others)
      assert(
        other.every((value) => value === 7e7),
        'foreign memory was written',
      );
    requireFree(calls);
    return calls.length;
  },

  /** Calls that need more than there is fail by themselves; those that stand are as before. See `limitMemory`. */
  async memory(stage) {
    const calls = await startCalls(stage);
    for (const call of Object.values(tooMuch)) assert.throws(() => call(attentionSync), { code: 'ERR_OUT_OF_MEMORY' });
    const greedy = Object.entries(tooMuch).map(([name, call]) => ({ name, promise: call(attention) }));
    native.park(null);
    for (const [index, end] of (await endsOf(greedy)).entries()) {
      assert.equal(end.reason?.code, 'ERR_OUT_OF_MEMORY', `${greedy[index].name}: ${end.reason ?? end.status}`);
    }
    for (const [index, end] of (await endsOf(calls)).entries()) {
      assert.equal(end.status, 'fulfilled', String(end.reason));
      assert.equal(Buffer.compare(bytes(calls[index].output), expected), 0, 'result');
    }
    requireFree(calls);
    return calls.length + greedy.length;
  },

  terminate: (stage) => byWorker(stage, 'stay', 1),
  exit: (stage) => byWorker(stage, 'exit', 7),
  uncaught: (stage) => byWorker(stage, 'uncaught', 1, /on purpose/),
};

/**
 * Address space for a gibibyte more than what the process has: V8 never reaches it, whose own end it would be, and larger
 * allocations fail as they do where memory is out.
 */
function limitMemory() {
  const mapped = Number(/VmSize:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
  const { status, stderr } = spawnSync('prlimit', ['--pid', String(process.pid), `--as=${mapped + headroom}`]);
  assert.equal(status, 0, String(stderr));
}

/** Calls by what they have no memory for. Every allocation within a call is refused by out_of_memory_test.cc. */
function makeTooMuch() {
  const few = new Float32Array(64).fill(0.5);
  const one = Tensor.from(few, [1, 1, 1, 64]);
  const long = Tensor.from(few, [1, 1, 2 ** 23, 64], { strides: [0, 0, 0, 1] });
  return { output: (attend) => attend(long, one, one) };
}
const tooMuch = process.argv[3] === 'memory' ? makeTooMuch() : {};

/** A worker whose calls stand at the stage ends; this thread goes on as before. */
async function byWorker(stage, ending, code, message) {
  const worker = new Worker(__filename, { workerData: { stage, ending } });
  let met;
  worker.on('error', (error) => (met = error));
  const exited = new Promise((resolve) => worker.on('exit', resolve));
  await new Promise((resolve) => worker.once('message', resolve));
  worker.postMessage('go');
  if (ending === 'stay') await worker.terminate();
  assert.equal(await exited, code, String(met));
  if (message) assert.match(String(met), message);
  assert.equal(native.parked(), 0, 'calls of the worker still stand');
  native.park(null);
  return stage === 'idle' ? 1 : places + 1;
}

async function live({ stage, ending }) {
  const x = tensor();
  await attention(x, x, x); // the environment has seen calls
  const calls = await startCalls(stage);
  // Listening for good: an idle worker without a listener would end by itself.
  parentPort.on('message', () => {
    if (ending === 'exit') process.exit(7);
    if (ending === 'uncaught')
      setImmediate(() => {
        throw new Error('on purpose');
      });
  });
  parentPort.postMessage(calls.length);
}

async function settledMemory() {
  for (let round = 0; round < 6; round += 1) {
    global.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { arrayBuffers, external, heapUsed, rss } = process.memoryUsage();
  return { external: Math.max(arrayBuffers, external), heapUsed, rss };
}

async function withDeadline(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('it hangs')), deadline);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function main() {
  const [stage, fault, repeats] = process.argv.slice(2);
  const once = async (repeat) => {
    try {
      const calls = await withDeadline(faults[fault](stage));
      const { output } = await withDeadline(attention(usual, usual, usual));
      assert.equal(Buffer.compare(bytes(output), expected), 0, 'later calls');
      return calls;
    } catch (error) {
      error.message = `repeat ${repeat}: ${error.message}`;
      throw error;
    }
  };
  if (fault === 'memory') {
    await settledMemory();
    limitMemory();
  }
  const warm = Math.min(30, Math.max(5, Number(repeats) >> 2));
  for (let repeat = 0; repeat < warm; repeat += 1) await once(repeat - warm);
  const before = await settledMemory();
  let calls = 0;
  for (let repeat = 0; repeat < Number(repeats); repeat += 1) {
    calls += await once(repeat);
    // Garbage that heaps up between V8's own collections leaves holes, and the allocator keeps those.
    if (repeat % 16 === 15) global.gc();
  }
  const after = await settledMemory();
  const growth = Object.fromEntries(Object.keys(after).map((name) => [name, after[name] - before[name]]));
  console.log(JSON.stringify({ repeats: Number(repeats), calls, ...growth }));
  process.exit(0);
}

(isMainThread ? main() : live(workerData)).catch((error) => {
  console.error(error);
  process.exit(101);
});
