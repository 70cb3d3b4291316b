// Random operations on families of caches against lists of tokens: equal contents, and all memory given back.
// LONG_GRID makes it a million.

import test from 'ava';
import { AttentionError, KvCache, Tensor } from '../lib/index.js';
import type { KvCacheOptions } from '../lib/index.js';
import { Random } from './reference/random.js';

const operations = process.env['LONG_GRID'] ? 1_000_000 : 6000;
const dim = 4;
const most = { caches: 12, tokens: 700 };

interface Token {
  key: Float32Array;
  value: Float32Array;
}

interface Live {
  cache: KvCache;
  form: KvCacheOptions;
  tokens: Token[];
}

const forms: KvCacheOptions[] = [
  { heads: 1, dim },
  { heads: 1, dim, window: 200 },
  { heads: 1, dim, window: 60, pinned: 3 },
  { heads: 1, dim, window: 0, pinned: 130 },
];

const makeTokens = (random: Random, count: number): Token[] =>
  Array.from({ length: count }, () => ({
    key: Float32Array.from(random.normals(dim)),
    value: Float32Array.from(random.normals(dim)),
  }));

function tensorOf(rows: readonly Float32Array[]): Tensor {
  const data = new Float32Array(rows.length * dim);
  rows.forEach((row, n) => data.set(row, n * dim));
  return Tensor.from(data, [1, 1, rows.length, dim]);
}

/** What the last token's query reads of the tokens that it sees, in float64. */
function expectedOf({ form, tokens }: Live, query: Float32Array): Float64Array {
  const last = tokens.length - 1;
  const output = new Float64Array(dim);
  let sum = 0;
  tokens.forEach(({ key, value }, j) => {
    if (form.window !== undefined && j < last - form.window && j >= (form.pinned ?? 0)) return;
    let score = 0;
    for (let d = 0; d < dim; d += 1) score += query[d]! * key[d]!;
    const weight = Math.exp(score / Math.sqrt(dim));
    sum += weight;
    for (let d = 0; d < dim; d += 1) output[d]! += weight * value[d]!;
  });
  return sum === 0 ? output : output.map((x) => x / sum);
}

test('random operations leave the tokens of a plain list, and no page behind', (t) => {
  const random = new Random(57);
  const row = tensorOf([new Float32Array(dim)]);
  const first = new KvCache(forms[0]!); // what the addon loads once
  first.attendSync(row, { k: row, v: row });
  first.free();
  const before = pagesInUse();
  const live: Live[] = [];
  let [attends, refusals] = [0, 0];

  const attend = (one: Live, added: readonly Token[]): boolean => {
    const query = Float32Array.from(random.normals(dim));
    const { cache } = one;
    const given =
      added.length > 0
        ? { k: tensorOf(added.map(({ key }) => key)), v: tensorOf(added.map(({ value }) => value)) }
        : {};
    let output: Tensor;
    try {
      output = cache.attendSync(tensorOf([query]), { ...given, threads: 1 }).output;
    } catch (error) {
      // After a truncation the window of the last token may be gone, though not that of the next one.
      if (added.length > 0 || !isGone(error, one)) throw error;
      refusals += 1;
      return true;
    }
    one.tokens = [...one.tokens, ...added];
    attends += 1;
    const [expected, actual] = [expectedOf(one, query), output.data as Float32Array];
    return expected.every((x, d) => Math.abs(x - actual[d]!) <= 2e-5 * (1 + Math.abs(x)));
  };

  const truncate = (one: Live): void => {
    const length = Math.max(0, one.tokens.length - random.integer(0, random.chance(0.3) ? most.tokens : 5));
    try {
      one.cache.truncate(length);
      one.tokens = one.tokens.slice(0, length);
    } catch (error) {
      // The window of what would come next is gone: nothing has changed.
      if (!isGone(error, one)) throw error;
      refusals += 1;
    }
  };

  for (let n = 0; n < operations; n += 1) {
    if (live.length === 0 || (live.length < most.caches && random.chance(0.02))) {
      const form = forms[random.integer(0, forms.length - 1)]!;
      live.push({ cache: new KvCache(form), form, tokens: [] });
    }
    const at = random.integer(0, live.length - 1);
    const one = live[at]!;
    const kind = random.unit();
    const added = makeTokens(random, random.integer(1, random.chance(0.1) ? 150 : 6));
    if (one.tokens.length > most.tokens || kind < 0.05) {
      one.cache.free();
      live.splice(at, 1);
    } else if (kind < 0.35) {
      one.cache.append(tensorOf(added.map(({ key }) => key)), tensorOf(added.map(({ value }) => value)));
      one.tokens = [...one.tokens, ...added];
    } else if (kind < 0.45) {
      if (live.length < most.caches) live.push({ ...one, cache: one.cache.fork() });
    } else if (kind < 0.55) {
      truncate(one);
    } else if (!attend(one, kind < 0.8 ? added : [])) {
      return t.fail(`operation ${n}: what ${one.cache.toString()} holds is not what was appended`);
    }
    if (live.includes(one) && one.cache.length !== one.tokens.length) return t.fail(`operation ${n}: another length`);
  }
  // What windows leave of a cache is bounded by them.
  for (const { cache, form, tokens } of live) {
    const pages = form.window === undefined ? tokens.length / 128 : ((form.pinned ?? 0) + form.window + 150) / 128 + 2;
    t.true(cache.bytes <= (Math.ceil(pages) + 2) * 128 * 2 * dim * 4);
    cache.free();
  }
  t.true(attends > operations / 4 && refusals > 0);
  // A page a hundred operations would be 40 MB of a million; the garbage collector's own share comes and goes.
  t.true(Math.abs(pagesInUse() - before) < 2 ** 22, `${pagesInUse() - before} bytes are left`);
  t.log(`${attends} attends, ${refusals} refused truncations`);
});

/** Whether a windowed cache says that it has dropped what is asked for. */
function isGone(error: unknown, { form }: Live): boolean {
  return error instanceof AttentionError && error.code === 'ERR_OUT_OF_RANGE' && form.window !== undefined;
}

/** Bytes that the addon has told the garbage collector of: external memory but for array buffers. */
function pagesInUse(): number {
  const { external, arrayBuffers } = process.memoryUsage();
  return external - arrayBuffers;
}
