// A worker that makes calls over shared memory and reports the last output, or what failed.
const { parentPort, workerData } = require('node:worker_threads');
const { attention, attentionSync, Tensor } = require('../../dist/index.js');

const { inputs, shape, calls, out } = workerData;
const [q, k, v] = inputs.map((data) => Tensor.from(data, shape));
const options = out ? { out: { output: Tensor.from(out, shape) } } : {};

(async () => {
  const outputs = await Promise.all(Array.from({ length: calls }, () => attention(q, k, v, options)));
  const bytes = ({ output }) => Buffer.from(output.data.buffer, output.data.byteOffset, output.data.byteLength);
  const expected = bytes(attentionSync(q, k, v));
  const wrong = outputs.filter((result) => Buffer.compare(bytes(result), expected) !== 0).length;
  parentPort.postMessage(
    wrong > 0 ? { failed: `${wrong} outputs differ` } : { output: Float32Array.from(outputs[0].output.data) },
  );
})().catch((error) => parentPort.postMessage({ failed: error.stack }));
