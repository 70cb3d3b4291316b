// The published methods of docs/methods: every snippet runs as it stands and computes what its paper says, in float64.

import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runInThisContext } from 'node:vm';
import test from 'ava';
import * as library from '../lib/index.js';
import { Source } from './methods/method.js';
import type { Method, Nested, Usual } from './methods/method.js';
import { pages } from './methods/pages.js';
import { attendHeads } from './methods/plain.js';

const folder = join(__dirname, '..', 'docs', 'methods');

interface Entry {
  readonly title: string;
  readonly text: string;
  readonly snippet: string;
}

/** The entries of a page: a heading, prose, one block of code. */
async function entriesOf(page: string): Promise<Entry[]> {
  const [, ...parts] = (await readFile(join(folder, page), 'utf8')).split(/^### /mu);
  return parts.map((text) => {
    const [title] = text.split('\n', 1) as [string];
    const blocks = [...text.matchAll(/^```js\n([\s\S]*?)^```$/gmu)];
    if (blocks.length !== 1) throw new Error(`${page}: ${title} has ${blocks.length} snippets`);
    return { title, text, snippet: blocks[0]![1]! };
  });
}

/** What the snippet leaves behind under the names of `results`. */
async function run(snippet: string, scope: object, results: readonly string[]): Promise<Record<string, unknown>> {
  const program = `(async ({ ${Object.keys(scope).join(', ')} }) => {\n${snippet}\nreturn { ${results.join(', ')} };\n})`;
  return (await runInThisContext(program)(scope)) as Record<string, unknown>;
}

function numbersOf(value: unknown): number[] {
  if (value instanceof library.Tensor) return [...value.toFloat32()];
  if (typeof value === 'number') return [value];
  return Array.from(value as ArrayLike<unknown>, numbersOf).flat();
}

/** The largest distance, in terms of the largest number expected; NaN where there is one. */
function distance(actual: readonly number[], expected: readonly number[]): number {
  let [most, size] = [0, 1];
  for (const [n, value] of expected.entries()) {
    const away = Math.abs(actual[n]! - value);
    if (!(away <= most)) most = away;
    size = Math.max(size, Math.abs(value));
  }
  return most / size;
}

async function check(entry: Entry, method: Method, seed: number): Promise<string | null> {
  const inputs = method.given(new Source(seed));
  const { paper: _, ...shown } = inputs;
  for (const name of Object.keys(shown).filter((key) => !['q', 'k', 'v'].includes(key))) {
    if (!entry.text.includes(`\`${name}\``)) return `\`${name}\` is not explained`;
  }
  const expected = method.formula(inputs);
  const actual = await run(entry.snippet, { ...library, ...shown }, Object.keys(expected));
  for (const [name, values] of Object.entries(expected)) {
    const [ours, theirs] = [numbersOf(actual[name]), numbersOf(values)];
    if (ours.length !== theirs.length) return `${name} has ${ours.length} numbers, not ${theirs.length}`;
    const away = distance(ours, theirs);
    if (!(away < 2e-5)) return `${name} is away by ${away}`;
  }
  return method.exact === isPlain(inputs, expected) ? null : 'plain attention, and not said to be (or the other way)';
}

/** Whether plain attention over q, k, v gives the same, so that the snippet's options would show nothing. */
function isPlain(inputs: Usual, expected: Record<string, Nested>): boolean {
  const [q, k, v] = [inputs.q.shape, inputs.k.shape, inputs.v.shape];
  const fits = q.length === 4 && k.length === 4 && q[0] === 1 && q[3] === k[3] && k[2] === v[2] && k[1] === v[1];
  if (!fits) return false;
  const plain = numbersOf(attendHeads(inputs));
  return Object.values(expected).some((values) => {
    const numbers = numbersOf(values);
    return numbers.length === plain.length && distance(numbers, plain) < 1e-3;
  });
}

for (const [page, methods] of Object.entries(pages)) {
  test(`docs/methods/${page}: snippets compute what the papers say`, async (t) => {
    const entries = await entriesOf(page);
    t.deepEqual(
      entries.map(({ title }) => title),
      Object.keys(methods),
      'the page and the formulas have the same methods in the same order',
    );
    for (const [n, entry] of entries.entries()) {
      const method = methods[entry.title];
      if (method !== undefined) t.is(await check(entry, method, 7 + n), null, entry.title);
    }
  });
}

test('every page has formulas', async (t) => {
  t.deepEqual((await readdir(folder)).sort(), Object.keys(pages).sort());
});
