// The Universal Sentence Encoder Lite, tokens to embeddings: two transformer layers over a ragged batch.
//
// With E the embedding table, t the token at position p of a sentence and n the sentence's length (at most 128):
//
//   x   = 2·E[t] + [sin(p·f), cos(p·f)]                       256 wide, f: 128 frequencies
//   per layer (4 heads; first 64, then 128 wide; scale 1/√64, 1/√128):
//     q, k, v = norm(x)·Wqkv + b
//     y = attention(q, k, v)·Wo + b + residual(x)             residual: 256 to 512 in the first layer, then x itself
//     x = relu(norm(y)·W1 + b1)·W2 + b2 + y                   512 to 1536 to 512
//   u   = mean of x over the sentence's tokens (0 if it has none)
//   out = h / ‖h‖,  h = tanh(u·Wh + bh)                       512 wide
//
// The graph pads its batches and masks scores of padding with −1e9. Rows here lie end to end instead, and cumulative
// lengths tell the attention where sentences begin, so padding costs nothing.

import { attention, Tensor } from 'fused-attention';

import { Dense, startDense } from './dense.js';
import { layerNorm } from './layer-norm.js';
import { PositionSignal } from './positions.js';
import { loadWeights, type LayerWeights, type ModelWeights, type NormWeights } from './weights.js';

/** Tokens after this many are dropped, as the graph does. */
export const MAX_TOKENS = 128;

interface Layer {
  residual: Dense | null;
  attentionNorm: NormWeights;
  qkv: Dense;
  output: Dense;
  feedForwardNorm: NormWeights;
  expand: Dense;
  contract: Dense;
}

/** Sentences end to end: rows [starts[s], starts[s + 1]) are sentence s. */
interface Ragged {
  starts: Int32Array;
  total: number;
}

export class SentenceEncoder {
  /** Numbers in an embedding. */
  readonly dimensions: number;
  /** Milliseconds spent waiting for attention since construction. */
  attentionTime = 0;
  /** Attention calls since construction. */
  attentionCalls = 0;

  readonly #weights: ModelWeights;
  readonly #positions: PositionSignal;
  readonly #layers: Layer[];
  readonly #hidden: Dense;

  private constructor(weights: ModelWeights) {
    this.#weights = weights;
    this.#positions = new PositionSignal(weights.frequencies, MAX_TOKENS);
    this.#layers = weights.layers.map(makeLayer);
    this.#hidden = new Dense(weights.hidden);
    this.dimensions = this.#hidden.outputs;
  }

  /** Loads the weights from the installed model package. */
  static async load(): Promise<SentenceEncoder> {
    await startDense();
    return new SentenceEncoder(loadWeights());
  }

  /** Embeddings of sentences given as token ids, [sentences, dimensions] row-major, each of length one. */
  async encode(sentences: readonly (readonly number[])[]): Promise<Float32Array> {
    const clipped = sentences.map((tokens) => tokens.slice(0, MAX_TOKENS));
    const starts = new Int32Array(clipped.length + 1);
    clipped.forEach((tokens, index) => (starts[index + 1] = starts[index]! + tokens.length));
    const batch: Ragged = { starts, total: starts[clipped.length]! };

    // Sentences without tokens keep a mean of 0.
    const pooled =
      batch.total === 0
        ? new Float32Array(clipped.length * this.#hidden.inputs)
        : await this.#transform(this.#embed(clipped, batch), batch);
    return normalizeRows(this.#hidden.apply(pooled).map(Math.tanh), this.dimensions);
  }

  /** Both layers and the mean over tokens: [tokens, 256] to [sentences, 512]. */
  async #transform(embedded: Float32Array, batch: Ragged): Promise<Float32Array> {
    let x = embedded;
    for (const layer of this.#layers.slice(0, -1)) {
      const y = await this.#attend(layer, x, batch);
      x = add(layer.contract.apply(layer.expand.apply(layerNorm(y, layer.feedForwardNorm))), y);
    }
    // The mean over tokens and the last layer's W2 are both linear: taking the mean first leaves one row a sentence.
    const last = this.#layers.at(-1)!;
    const y = await this.#attend(last, x, batch);
    const expanded = last.expand.apply(layerNorm(y, last.feedForwardNorm));
    const means = last.contract.apply(mean(expanded, last.expand.outputs, batch));
    return clearEmpty(add(means, mean(y, last.contract.outputs, batch)), batch);
  }

  /** Token embeddings and positions, [tokens, 256]. */
  #embed(sentences: readonly (readonly number[])[], batch: Ragged): Float32Array {
    const { embeddings, embeddingSize: width } = this.#weights;
    const rows = new Float32Array(batch.total * width);
    let row = 0;
    for (const tokens of sentences) {
      for (const [position, token] of tokens.entries()) {
        const source = token * width;
        if (!(Number.isInteger(token) && token >= 0 && source < embeddings.length)) {
          throw new RangeError(`token id ${token} is not in the vocabulary of ${embeddings.length / width}`);
        }
        const signal = this.#positions.at(position);
        for (let c = 0; c < width; c++) {
          // The graph adds the embedding twice: once under the position signal and once beside it.
          const value = embeddings[source + c]!;
          rows[row * width + c] = value + Math.fround(value + signal[c]!);
        }
        row++;
      }
    }
    return rows;
  }

  /** attention(norm(x))·Wo + b + residual(x), [tokens, 512]. */
  async #attend(layer: Layer, x: Float32Array, batch: Ragged): Promise<Float32Array> {
    const { heads } = this.#weights;
    const qkv = layer.qkv.apply(layerNorm(x, layer.attentionNorm));
    const width = layer.qkv.outputs / 3;
    const headSize = width / heads;
    // Queries, keys and values are three columns of one matrix: views of it, nothing is copied.
    const part = (index: number): Tensor =>
      Tensor.from(qkv, [batch.total, heads, headSize], { strides: [3 * width, headSize, 1], offset: index * width });

    const began = performance.now();
    const { output } = await attention(part(0), part(1), part(2), {
      cuSeqlensQ: batch.starts,
      cuSeqlensKv: batch.starts,
    });
    this.attentionTime += performance.now() - began;
    this.attentionCalls++;

    return add(layer.output.apply(output.data as Float32Array), layer.residual?.apply(x) ?? x);
  }
}

function makeLayer(weights: LayerWeights): Layer {
  return {
    residual: weights.residual && new Dense(weights.residual),
    attentionNorm: weights.attentionNorm,
    qkv: new Dense(weights.qkv),
    output: new Dense(weights.output),
    feedForwardNorm: weights.feedForwardNorm,
    expand: new Dense(weights.expand, 'relu'),
    contract: new Dense(weights.contract),
  };
}

/** left + right, into left. */
function add(left: Float32Array, right: Float32Array): Float32Array {
  for (let i = 0; i < left.length; i++) left[i]! += right[i]!;
  return left;
}

/** Mean over the rows of each sentence: [tokens, width] to [sentences, width]; 0 where a sentence has no tokens. */
function mean(rows: Float32Array, width: number, { starts }: Ragged): Float32Array {
  const means = new Float32Array((starts.length - 1) * width);
  const sum = new Float64Array(width);
  for (let s = 0; s + 1 < starts.length; s++) {
    const count = starts[s + 1]! - starts[s]!;
    if (count === 0) continue;
    sum.fill(0);
    for (let i = starts[s]! * width; i < starts[s + 1]! * width; i += width) {
      for (let c = 0; c < width; c++) sum[c]! += rows[i + c]!;
    }
    for (let c = 0; c < width; c++) means[s * width + c] = sum[c]! / count;
  }
  return means;
}

/** The mean of no tokens is 0 in the graph: takes back, in place, the bias that W2 gave such rows. */
function clearEmpty(rows: Float32Array, { starts }: Ragged): Float32Array {
  const width = rows.length / (starts.length - 1);
  for (let s = 0; s + 1 < starts.length; s++) {
    if (starts[s + 1] === starts[s]) rows.fill(0, s * width, (s + 1) * width);
  }
  return rows;
}

/** Scales every row to length one, in place. */
function normalizeRows(rows: Float32Array, width: number): Float32Array {
  for (let i = 0; i < rows.length; i += width) {
    let squares = 0;
    for (let c = 0; c < width; c++) squares += rows[i + c]! ** 2;
    const factor = 1 / Math.sqrt(Math.max(squares, 1e-12));
    for (let c = 0; c < width; c++) rows[i + c]! *= factor;
  }
  return rows;
}
