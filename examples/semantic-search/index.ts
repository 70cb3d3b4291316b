// Command line: npm run example -- "a query" [--top 5]. Prints the sentences of Moby-Dick nearest in meaning.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

import { Presets, SingleBar } from 'cli-progress';

import { CACHE_DIRECTORY, cachePath, readCache, writeCache } from './cache.js';
import { embedAll } from './embed.js';
import { nearest } from './search.js';
import { mobyDick, type Sentence } from './sentences.js';
import { TextEmbedder } from './text-embedder.js';
import { modelDirectory } from './weights.js';

const USAGE = 'Usage: npm run example -- "a query" [--top 5]';

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(milliseconds < 1000 ? 3 : 1)} s`;
}

function share(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(1)} %`;
}

/** Reads the command line; null, after saying why, if it is not usable. */
function readArguments(): { query: string; top: number } | null {
  try {
    const { values, positionals } = parseArgs({
      options: { top: { type: 'string', default: '5' } },
      allowPositionals: true,
    });
    const query = positionals.join(' ').trim();
    const top = Number(values.top);
    if (query === '') throw new Error('the query is empty');
    if (!(Number.isInteger(top) && top >= 1)) throw new Error(`--top takes a whole number from 1, not ${values.top}`);
    return { query, top };
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return null;
  }
}

/** Embeddings of the whole text, from the cache if it has them. */
async function embedText(sentences: readonly Sentence[], dimensions: number): Promise<Float32Array> {
  const texts = sentences.map(({ text }) => text);
  const manifest = readFileSync(join(modelDirectory(), '..', 'package.json'), 'utf8');
  const path = cachePath(CACHE_DIRECTORY, (JSON.parse(manifest) as { version: string }).version, texts);
  const began = performance.now();
  const cached = readCache(path, texts.length * dimensions);
  if (cached instanceof Float32Array) {
    console.log(`${texts.length} sentences from the cache in ${seconds(performance.now() - began)}`);
    return cached;
  }
  if (cached === 'damaged') console.log(`${path} is damaged and will be made anew`);

  const bar = new SingleBar(
    {
      format: 'Embedding {bar} {value}/{total} sentences, {eta_formatted} left',
      noTTYOutput: true,
      notTTYSchedule: 10_000,
    },
    Presets.shades_classic,
  );
  bar.start(texts.length, 0);
  let result;
  try {
    result = await embedAll(texts, dimensions, (done) => bar.update(done));
  } finally {
    bar.stop();
  }
  const { embeddings, statistics } = result;
  writeCache(CACHE_DIRECTORY, path, embeddings);
  const { tokens, elapsed, threads, threadTime, attentionTime } = statistics;
  console.log(`${texts.length} sentences (${tokens} tokens) embedded in ${seconds(elapsed)} on ${threads} threads`);
  console.log(
    `Time in attention: ${seconds(attentionTime)} of ${seconds(threadTime)} over all threads ` +
      `(${share(attentionTime, threadTime)})`,
  );
  return embeddings;
}

async function main(): Promise<void> {
  const options = readArguments();
  if (options === null) {
    process.exitCode = 2;
    return;
  }
  const sentences = mobyDick();
  const embedder = await TextEmbedder.load();
  const embeddings = await embedText(sentences, embedder.dimensions);

  const query = await embedder.embed([options.query]);
  const hits = nearest(query.embeddings, embeddings, options.top);
  console.log(
    `Query of ${query.tokens} tokens embedded in ${seconds(query.time)}; ` +
      `time in attention: ${seconds(query.attentionTime)}\n`,
  );
  for (const { index, similarity } of hits) {
    const { text, source } = sentences[index]!;
    console.log(`${similarity.toFixed(3)}  ${text}\n       ${source}`);
  }
}

void main();
