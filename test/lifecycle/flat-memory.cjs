// Prints how much memory grows over many small calls, each third of them aborted or refused.
const { attention, Tensor } = require('../../dist/index.js');

const calls = Number(process.argv[2]);
const shape = [1, 2, 8, 8];
const tensor = () => Tensor.from(new Float32Array(128).fill(0.5), shape);
const [q, k, v] = [tensor(), tensor(), tensor()];

async function round(count) {
  for (let done = 0; done < count; done += 50) {
    const under = [];
    for (let i = 0; i < 50; i += 1) {
      const controller = new AbortController();
      const broken = i % 10 === 0;
      under.push(
        attention(tensor(), k, broken ? q.narrow(3, 0, 4) : v, {
          lse: true,
          signal: controller.signal,
          ...(broken && { scale: NaN }),
        }),
      );
      if (i % 5 === 1) controller.abort();
    }
    await Promise.allSettled(under);
  }
}

async function settleMemory() {
  for (let i = 0; i < 8; i += 1) {
    global.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage();
}

(async () => {
  await round(Math.max(4000, calls / 4));
  const before = await settleMemory();
  await round(calls);
  const after = await settleMemory();
  console.log(
    JSON.stringify({
      heapGrowth: after.heapUsed - before.heapUsed,
      externalGrowth: after.external + after.arrayBuffers - before.external - before.arrayBuffers,
      residentGrowth: after.rss - before.rss,
    }),
  );
})();
