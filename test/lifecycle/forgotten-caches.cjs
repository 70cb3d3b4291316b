// Makes caches that nobody frees, one after the other, and prints how much memory the process came to need.
const { KvCache, Tensor } = require('../../dist/index.js');

const rows = 4096;
const tokens = Tensor.from(new Float32Array(8 * rows * 64).fill(0.5), [1, 8, rows, 64]);

(async () => {
  let made = 0;
  for (let round = 0; round < 120; round += 1) {
    const cache = new KvCache({ heads: 8, dim: 64 });
    cache.append(tokens, tokens);
    made += cache.bytes;
    await new Promise((resolve) => setImmediate(resolve));
  }
  console.log(JSON.stringify({ made, resident: process.resourceUsage().maxRSS * 1024 }));
})();
