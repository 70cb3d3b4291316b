// Runs in the bare root: one attention call against a plain loop, from `require` or, given 'import', from `import`.
'use strict';

const { existsSync } = require('node:fs');

/** softmax(scale * Q K^T) V of one head in float64. */
function reference(query, key, value, rows, columns, dim) {
  const output = new Float64Array(rows * dim);
  for (let i = 0; i < rows; i++) {
    const scores = Array.from({ length: columns }, (_, j) => {
      let dot = 0;
      for (let d = 0; d < dim; d++) dot += query[i * dim + d] * key[j * dim + d];
      return dot / Math.sqrt(dim);
    });
    const top = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - top));
    const sum = weights.reduce((a, b) => a + b, 0);
    for (let j = 0; j < columns; j++) {
      for (let d = 0; d < dim; d++) output[i * dim + d] += (weights[j] / sum) * value[j * dim + d];
    }
  }
  return output;
}

function check(worst, way) {
  if (!(worst < 1e-5)) throw new Error(`${way}: off by ${worst}`);
}

async function main(way) {
  const required = require('fused-attention');
  const imported = await import('fused-attention');
  const { Tensor, attention, attentionSync, devices } = way === 'import' ? imported : required;
  const [rows, columns, dim] = [5, 37, 24];
  const random = (count, seed) => Float32Array.from({ length: count }, (_, n) => Math.sin(seed + n * 12.9898));
  const [query, key, value] = [random(rows * dim, 1), random(columns * dim, 2), random(columns * dim, 3)];
  const tensors = [
    Tensor.from(query, [1, 1, rows, dim]),
    Tensor.from(key, [1, 1, columns, dim]),
    Tensor.from(value, [1, 1, columns, dim]),
  ];
  const expected = reference(query, key, value, rows, columns, dim);
  const distance = (data) => Math.max(...expected.map((number, n) => Math.abs(number - data[n])));
  check(distance(attentionSync(...tensors, {}).output.data), 'attentionSync');
  check(distance((await attention(...tensors, {})).output.data), 'attention');
  console.log(
    JSON.stringify({
      names: { required: Object.keys(required).sort(), imported: Object.keys(imported).sort() },
      sameTensor: imported.Tensor === required.Tensor,
      instance: tensors[0] instanceof required.Tensor,
      compilers: ['/usr/bin/cc', '/usr/bin/g++', '/usr/bin/cmake', '/bin/sh'].filter((path) => existsSync(path)),
      devices: devices(),
    }),
  );
}

main(process.argv[2]);
