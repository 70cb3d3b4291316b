// Queries, keys and values of the sentence encoder's first layer, for some rows of a document.

import { Tensor } from 'fused-attention';

import { Dense, startDense } from '../semantic-search/dense.js';
import { layerNorm } from '../semantic-search/layer-norm.js';
import { PositionSignal } from '../semantic-search/positions.js';
import { loadWeights } from '../semantic-search/weights.js';
import type { LongDocument } from './document.js';

/** Rows that go through the matrix product at a time. */
const ROWS = 4096;

export type Projections = readonly [query: Tensor, key: Tensor, value: Tensor];

/** norm(x)·Wqkv + b of rows [begin, end), x = 2·E[token] + position signal: three tensors [1, 4, rows, 64]. */
export async function projections(document: LongDocument, begin: number, end: number): Promise<Projections> {
  await startDense();
  const { embeddings, embeddingSize: width, frequencies, heads, layers } = loadWeights();
  const { attentionNorm, qkv } = layers[0]!;
  const dense = new Dense(qkv);
  const signals = new PositionSignal(
    frequencies,
    document.places.reduce((most, place) => Math.max(most, place), 0) + 1,
  );
  const all = new Float32Array((end - begin) * dense.outputs);
  for (let first = begin; first < end; first += ROWS) {
    const last = Math.min(first + ROWS, end);
    const rows = new Float32Array((last - first) * width);
    for (let row = first; row < last; row++) {
      const signal = signals.at(document.places[row]!);
      const source = document.tokens[row]! * width;
      for (let c = 0; c < width; c++) rows[(row - first) * width + c] = 2 * embeddings[source + c]! + signal[c]!;
    }
    all.set(dense.apply(layerNorm(rows, attentionNorm)), (first - begin) * dense.outputs);
    // Groups need the event loop now and then.
    await new Promise((resolve) => setImmediate(resolve));
  }
  const size = dense.outputs / 3 / heads;
  const part = (index: number): Tensor =>
    Tensor.from(all, [1, heads, end - begin, size], {
      strides: [all.length, size, dense.outputs, 1],
      offset: (index * dense.outputs) / 3,
    });
  return [part(0), part(1), part(2)];
}
