// The sentence encoder of examples/semantic-search against golden values that TensorFlow.js made from the same graph
// (bench/golden/make.ts), and the parts around it.

import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import test from 'ava';

import { cachePath, readCache, writeCache } from '../examples/semantic-search/cache.js';
import { embedAll, makeBatches } from '../examples/semantic-search/embed.js';
import { MAX_TOKENS, SentenceEncoder } from '../examples/semantic-search/encoder.js';
import { nearest } from '../examples/semantic-search/search.js';
import { mobyDick, splitSentences } from '../examples/semantic-search/sentences.js';
import { TextEmbedder } from '../examples/semantic-search/text-embedder.js';
import { loadVocabulary, Tokenizer } from '../examples/semantic-search/tokenizer.js';

const WIDTH = 512;
const TOLERANCE = 1e-5;

const golden = join(__dirname, '../bench/golden');
const sentences = JSON.parse(readFileSync(join(golden, 'sentences.json'), 'utf8')) as string[];
const tokens = JSON.parse(readFileSync(join(golden, 'tokens.json'), 'utf8')) as number[][];
const expected = new Float32Array(new Uint8Array(readFileSync(join(golden, 'embeddings.f32'))).buffer);

const encoderLoaded = SentenceEncoder.load();

function row(embeddings: Float32Array, index: number): Float32Array {
  return embeddings.subarray(index * WIDTH, (index + 1) * WIDTH);
}

/** Largest absolute difference; NaN if either side has one. */
function distance(left: Float32Array, right: Float32Array): number {
  return left.reduce((largest, value, index) => Math.max(largest, Math.abs(value - right[index]!)), 0);
}

test('the golden set is as large and as varied as it claims', (t) => {
  t.true(sentences.length >= 200);
  t.is(new Set(sentences).size, sentences.length);
  t.is(tokens.length, sentences.length);
  t.is(expected.length, sentences.length * WIDTH);
  const lengths = tokens.map((ids) => ids.length);
  for (const wanted of [0, 1, 2, MAX_TOKENS - 1, MAX_TOKENS, MAX_TOKENS + 1])
    t.true(lengths.includes(wanted), `${wanted}`);
  t.true(Math.max(...lengths) > 2 * MAX_TOKENS);
  t.true(tokens.filter((ids) => ids.includes(0)).length >= 10, 'unknown characters');
});

test('embeddings equal those of TensorFlow.js', async (t) => {
  const encoder = await encoderLoaded;
  t.is(encoder.dimensions, WIDTH);
  const embeddings = await encoder.encode(tokens);
  t.is(embeddings.length, expected.length);
  let largest = 0;
  for (const [index, sentence] of sentences.entries()) {
    const difference = distance(row(embeddings, index), row(expected, index));
    t.true(difference <= TOLERANCE, `${JSON.stringify(sentence)} is off by ${difference}`);
    largest = Math.max(largest, difference);
  }
  t.log(`largest difference of ${sentences.length} embeddings: ${largest.toExponential(1)}`);
});

test('the tokeniser equals the one the model was published with', (t) => {
  const tokenizer = new Tokenizer(loadVocabulary());
  for (const [index, sentence] of sentences.entries()) t.deepEqual(tokenizer.encode(sentence), tokens[index], sentence);
});

test('a sentence has the same bits alone, in a batch and in another place of it', async (t) => {
  const encoder = await encoderLoaded;
  const together = await encoder.encode(tokens);
  const reversed = await encoder.encode([...tokens].reverse());
  for (const index of tokens.keys()) {
    t.deepEqual(row(reversed, tokens.length - 1 - index), row(together, index), sentences[index]);
    if (index % 5 === 0) t.deepEqual(await encoder.encode([tokens[index]!]), row(together, index), sentences[index]);
  }
});

test('no sentences, and sentences without tokens', async (t) => {
  const encoder = await encoderLoaded;
  t.is((await encoder.encode([])).length, 0);
  const empty = row(expected, sentences.indexOf(''));
  const embeddings = await encoder.encode([[], []]);
  t.true(distance(row(embeddings, 0), empty) <= TOLERANCE);
  t.deepEqual(row(embeddings, 1), row(embeddings, 0));
});

test('tokens past the limit do not count, others do', async (t) => {
  const encoder = await encoderLoaded;
  const long = Array.from({ length: MAX_TOKENS + 10 }, (_, index) => 10 + index);
  const [clipped, whole, shorter] = [long.slice(0, MAX_TOKENS), long, long.slice(0, MAX_TOKENS - 1)];
  t.deepEqual(await encoder.encode([whole]), await encoder.encode([clipped]));
  t.true(distance(await encoder.encode([shorter]), await encoder.encode([clipped])) > 1e-4);
});

test('a token outside the vocabulary is an error', async (t) => {
  const encoder = await encoderLoaded;
  for (const id of [-1, 1e6, 0.5, NaN]) {
    await t.throwsAsync(encoder.encode([[10, id]]), { instanceOf: RangeError, message: /token id/ }, `${id}`);
  }
});

test('every embedding has length one and attention is timed', async (t) => {
  const encoder = await SentenceEncoder.load();
  const embeddings = await encoder.encode(tokens.slice(0, 20));
  for (let index = 0; index < 20; index++) t.true(Math.abs(Math.hypot(...row(embeddings, index)) - 1) < 1e-6);
  t.is(encoder.attentionCalls, 2);
  t.true(encoder.attentionTime > 0);
});

test('tokeniser: best split, ties, unknown runs, spaces', (t) => {
  const small = new Tokenizer([
    ['\ufffd', 0],
    ['<s>', 0],
    ['</s>', 0],
    ['x1', 0],
    ['x2', 0],
    ['x3', 0],
    ['\u2581', -3], // 6
    ['a', -2], // 7
    ['b', -2], // 8
    ['ab', -3.5], // 9: better than a + b
    ['\u2581a', -5], // 10: as good as space + a
    ['bb', -4], // 11: as good as b + b
    ['c', null], // 12: no score counts as 0
  ]);
  t.deepEqual(small.encode(''), []);
  t.deepEqual(small.encode('ab'), [6, 9]);
  t.deepEqual(small.encode('a'), [6, 7], 'of equal splits the one with the shorter last piece');
  t.deepEqual(small.encode('bb'), [6, 8, 8]);
  t.deepEqual(small.encode('zz\u{1f600}a\u4e2d'), [6, 0, 7, 0], 'a run of unknown characters is one token');
  t.deepEqual(small.encode('a  b'), [6, 7, 6, 6, 8], 'spaces are not merged');
  t.deepEqual(small.encode('\uff41\u00a0c'), [6, 7, 6, 12], 'text is normalised first');
  t.deepEqual(small.encode('x1'), [6, 0], 'control symbols do not come from text');
});

test('sentences: abbreviations, quotes, no text lost', (t) => {
  t.deepEqual(splitSentences('Call me Ishmael. Some years ago I went to sea! Why?'), [
    'Call me Ishmael.',
    'Some years ago I went to sea!',
    'Why?',
  ]);
  t.deepEqual(splitSentences('Then Mr. Starbuck and St. Elmo spoke. J. Ross Browne wrote.'), [
    'Then Mr. Starbuck and St. Elmo spoke.',
    'J. Ross Browne wrote.',
  ]);
  t.deepEqual(splitSentences('Aye. * * * '), ['Aye. * * *']);
  const all = mobyDick();
  t.true(all.length >= 2000);
  for (const { text, source } of all) {
    t.regex(text, /^\S(?:.*\S)?$/u);
    t.not(source, '');
  }
  t.true(all.some(({ text, source }) => text === 'Call me Ishmael.' && source === 'Chapter 1, Loomings'));
});

test('search: nearest first, ties by index, fewer rows than asked for', (t) => {
  const rows = Float32Array.of(1, 0, 0, 1, 0.6, 0.8, 0, 1);
  t.deepEqual(
    nearest(Float32Array.of(0, 1), rows, 3).map(({ index }) => index),
    [1, 3, 2],
  );
  t.is(nearest(Float32Array.of(0, 1), rows, 9).length, 4);
  t.is(nearest(Float32Array.of(1, 0), rows, 1)[0]!.similarity, 1);
});

test('cache: round trip, absent, damaged, another text', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'semantic-search-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const numbers = Float32Array.of(1.5, -2, NaN, 4);
  const path = cachePath(directory, '1.0.0', ['one', 'two']);
  t.is(readCache(path, 4), 'absent');
  writeCache(directory, path, numbers);
  t.deepEqual(readCache(path, 4), numbers);
  t.is(readCache(path, 5), 'damaged');
  for (const other of [cachePath(directory, '1.0.1', ['one', 'two']), cachePath(directory, '1.0.0', ['one two'])]) {
    t.not(other, path);
  }
  const bytes = readFileSync(path);
  bytes[40]! ^= 1;
  writeFileSync(path, bytes);
  t.is(readCache(path, 4), 'damaged');
});

test('batches keep the order and miss nothing', (t) => {
  const batches = makeBatches(['aaaa', 'bb', 'cc', 'ddddd', 'e'], 4);
  t.deepEqual(batches, [
    { first: 0, sentences: ['aaaa'] },
    { first: 1, sentences: ['bb', 'cc'] },
    { first: 3, sentences: ['ddddd'] },
    { first: 4, sentences: ['e'] },
  ]);
  t.deepEqual(makeBatches([], 4), []);
});

test('threads give the bits of one thread', async (t) => {
  const texts = mobyDick()
    .slice(0, 240)
    .map(({ text }) => text);
  t.true(makeBatches(texts).length >= 3);
  const steps: number[] = [];
  const { embeddings, statistics } = await embedAll(texts, WIDTH, (done) => steps.push(done), 2);
  const alone = await (await TextEmbedder.load()).embed(texts);
  t.deepEqual(embeddings, alone.embeddings);
  t.is(statistics.tokens, alone.tokens);
  t.is(statistics.threads, 2);
  t.true(statistics.attentionTime > 0 && statistics.attentionTime < statistics.threadTime);
  t.is(steps.at(-1), texts.length);
});

test('command line: unusable arguments end with the usage', async (t) => {
  for (const wrong of [[], [''], ['whale', '--top', '0'], ['whale', '--top', 'x'], ['whale', '--nope']]) {
    const { code, stderr } = await new Promise<{ code: unknown; stderr: string }>((resolve) => {
      const entry = join(__dirname, '../examples/semantic-search/index.ts');
      execFile(process.execPath, ['--import', 'tsx', entry, ...wrong], (error, _stdout, output) =>
        resolve({ code: error?.code, stderr: output }),
      );
    });
    t.is(code, 2, wrong.join(' '));
    t.regex(stderr, /Usage: npm run example/);
  }
});
