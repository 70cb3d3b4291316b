// Takes memory from calls in flight (one way, one stage) and checks what comes of it: results as if nothing had happened,
// or, for a result whose memory is gone, a coded error.
//   node take-away.cjs <attempt> <queued | running | finishing>
const assert = require('node:assert/strict');
const { MessageChannel } = require('node:worker_threads');
const { attention, attentionSync, Tensor } = require('../../dist/index.js');
const native = require('../../dist/native.cjs').loadNative();

const [attempt, stage] = process.argv.slice(2);
const places = native.info().threads;
const shape = [1, 2, 128, 64]; // 64 KiB
const count = 16384;
const page = 65536;

const plain = () => ({ buffer: new ArrayBuffer(4 * count) });
const quietly = (action) => {
  try {
    action();
  } catch {}
};
/** How memory is made, and how it is taken away. */
const ways = {
  'structured-clone': {
    make: plain,
    take: ({ buffer }) => quietly(() => structuredClone(buffer, { transfer: [buffer] })),
  },
  'post-message': {
    make: plain,
    take: ({ buffer }) => {
      const { port1, port2 } = new MessageChannel();
      quietly(() => port1.postMessage(buffer, [buffer]));
      port1.close();
      port2.close();
    },
  },
  transfer: { needs: 'transfer', make: plain, take: ({ buffer }) => quietly(() => buffer.transfer()) },
  'transfer-fixed': {
    needs: 'transferToFixedLength',
    make: plain,
    take: ({ buffer }) => quietly(() => buffer.transferToFixedLength(8)),
  },
  'wasm-grow': {
    make: () => {
      const memory = new WebAssembly.Memory({ initial: 1 });
      return { buffer: memory.buffer, memory };
    },
    take: ({ memory }) => {
      memory.grow(64);
    },
  },
  resize: {
    needs: 'resize',
    make: () => ({ buffer: new ArrayBuffer(page, { maxByteLength: 4 * page }) }),
    take: ({ buffer }) => buffer.resize(0),
  },
  'shared-grow': {
    make: () => ({ buffer: new SharedArrayBuffer(page, { maxByteLength: 4 * page }) }),
    take: ({ buffer }) => buffer.grow(2 * page),
  },
};
const way = ways[attempt];
if (way.needs && !(way.needs in ArrayBuffer.prototype)) {
  console.log(`this runtime has no ${way.needs}`);
  process.exit(0);
}

function fill(memory, seed) {
  const data = new Float32Array(memory.buffer, 0, count);
  for (let i = 0; i < count; i += 1) data[i] = Math.sin(seed * 1000 + i);
  return { ...memory, tensor: Tensor.from(data, shape) };
}
const bytes = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

async function until(condition) {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

(async () => {
  const inputs = [1, 2, 3].map((seed) => fill(plain(), seed).tensor);
  const expected = Buffer.from(bytes(attentionSync(...inputs).output.data));

  native.park(stage);
  const calls = Array.from({ length: places + 2 }, () => {
    const given = [1, 2, 3].map((seed) => fill(way.make(), seed));
    const output = fill(way.make(), 4);
    const promise = attention(...given.map(({ tensor }) => tensor), { out: { output: output.tensor } });
    return { given, output, promise };
  });
  await until(() => native.parked() === places);
  for (const { given, output } of calls) [...given, output].forEach(way.take);
  // What was freed is handed out again: anybody who still reads or writes it shows.
  const others = Array.from({ length: 200 }, () => new Float32Array(count).fill(7e7));
  if (global.gc) global.gc();
  native.park(null);

  const ends = await Promise.allSettled(calls.map(({ promise }) => promise));
  for (const [index, { output }] of calls.entries()) {
    const settled = ends[index];
    if (output.tensor.data.byteLength >= 4 * count) {
      assert.equal(settled.status, 'fulfilled', settled.reason?.stack);
      assert.equal(Buffer.compare(bytes(output.tensor.data), expected), 0, 'bits');
    } else {
      assert.equal(settled.status, 'rejected', 'a result was written to memory that is gone');
      assert.equal(settled.reason.code, 'ERR_INVALID_ARG_VALUE', settled.reason.stack);
      assert.equal(settled.reason.argument, 'options.out.output');
      assert.match(settled.reason.message, /detached or shrunk/);
    }
  }
  for (const other of others)
    assert(
      other.every((value) => value === Math.fround(7e7)),
      'foreign memory was written',
    );
  const again = await attention(...inputs);
  assert.equal(Buffer.compare(bytes(again.output.data), expected), 0);
  console.log('ok');
})();
