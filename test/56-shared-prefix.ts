// A declared prefix is read once for its sequences: results within the bound of any call, and refusals where the pages
// are not the same ones.

import test from 'ava';
import { alibi, attention, attentionSync, causal, explain, mask, slidingWindow, Tensor } from '../lib/index.js';
import { refuses } from './helpers/errors.js';
import { joinQueries, makeBatch, numbersOf, outputOf, worstError } from './reference/paged.js';
import type { PagedBatch, PagedForm } from './reference/paged.js';
import { Random } from './reference/random.js';

const cases = process.env['LONG_GRID'] ? 2000 : 60;

function randomForm(random: Random): PagedForm & { shared: number } {
  const headsKv = random.integer(1, 3);
  const pageSize = [1, 2, 7, 16, 33, 128][random.integer(0, 5)]!;
  const shared = pageSize * random.integer(0, Math.max(1, Math.floor((random.chance(0.1) ? 1200 : 150) / pageSize)));
  const decoding = random.chance(0.6);
  const lengths = Array.from({ length: random.integer(1, 9) }, () => shared + random.integer(0, 60));
  return {
    lengths,
    queries: lengths.map((n) => Math.min(n - shared, decoding ? 1 : random.integer(0, 9))),
    headsKv,
    headsQ: headsKv * random.integer(1, 4),
    dim: [4, 24, 64][random.integer(0, 2)]!,
    dimV: [3, 40, 64][random.integer(0, 2)]!,
    pageSize,
    dtype: (['float32', 'float32', 'float16', 'bfloat16'] as const)[random.integer(0, 3)]!,
    layout: random.chance(0.5) ? 'bhsd' : 'bshd',
    shared,
  };
}

const start = (lengths: readonly number[]): number[] => {
  const starts = [0];
  for (const n of lengths) starts.push(starts.at(-1)! + n);
  return starts;
};

/** Why `explain` says that a prefix is not shared. */
const apart = (args: Parameters<typeof explain>): string | undefined =>
  explain(...args).notTaken.find(({ path }) => path === 'shared pages')?.reason;

function argumentsOf(batch: PagedBatch, ragged: boolean, more: object, pages: object): Parameters<typeof explain> {
  const { form, table } = batch;
  const options = {
    layout: form.layout,
    outputDtype: 'float32',
    ...(ragged ? { cuSeqlensQ: start(form.queries) } : { lengthsQ: form.queries }),
    ...more,
    pages: { table, lengths: form.lengths, ...pages },
  };
  return [joinQueries(batch, ragged), batch.key, batch.value, options as never];
}

test('random batches: the formula, in all types, layouts and groupings', (t) => {
  const random = new Random(56);
  let pairs = 0;
  for (let n = 0; n < cases; n += 1) {
    const form = randomForm(random);
    const batch = makeBatch(random, form);
    const ragged = random.chance(0.5);
    const sinks = random.chance(0.3) ? random.normals(form.headsQ) : undefined;
    const more = {
      mask: causal(),
      threads: random.integer(1, 2),
      lse: random.chance(0.5),
      ...(sinks ? { sinks: [...sinks] } : {}),
    };
    const everyone = form.lengths.map((_, b) => b);
    const groups = [
      { sequences: everyone.filter((b) => b % 2 === 0), tokens: form.shared },
      { sequences: everyone.filter((b) => b % 2 === 1), tokens: Math.min(form.shared, 20) },
    ].slice(0, form.lengths.length);
    const pages = random.chance(0.5) ? { sharedPrefix: form.shared } : { prefixes: groups };
    const args = argumentsOf(batch, ragged, more, pages);
    const plain = argumentsOf(batch, ragged, more, {});
    t.is(apart(args), undefined);
    if (explain(...args).bytes < explain(...plain).bytes) pairs += 1;
    const shared = attentionSync(...(args as Parameters<typeof attentionSync>)) as { output: Tensor; lse?: Tensor };
    const expected = attentionSync(...(plain as Parameters<typeof attentionSync>)) as { output: Tensor; lse?: Tensor };
    const [a, b] = [numbersOf(shared.output), numbersOf(expected.output)];
    const close = (x: number, i: number): boolean => Math.abs(x - b[i]!) <= 2e-5 * (1 + Math.abs(b[i]!));
    t.true(a.every(close), `case ${n}: ${JSON.stringify(form)}`);
    if (shared.lse) {
      const [x, y] = [numbersOf(shared.lse), numbersOf(expected.lse!)];
      t.true(x.every((value, i) => value === y[i] || Math.abs(value - y[i]!) <= 2e-6 * (8 + Math.abs(value))));
    }
    if (sinks || form.dtype !== 'float32' || n % 4 !== 0) continue;
    for (let s = 0; s < form.lengths.length; s += 1) {
      t.true(worstError(batch, s, outputOf(batch, ragged, shared.output, s)) <= 1, `case ${n}, sequence ${s}`);
    }
  }
  t.true(pairs > cases / 3, `${pairs} of ${cases} calls shared anything`);
});

const example = (random: Random): PagedBatch =>
  makeBatch(random, {
    lengths: [700, 650, 641],
    queries: [3, 1, 1],
    headsKv: 2,
    headsQ: 4,
    dim: 32,
    dimV: 32,
    pageSize: 16,
    dtype: 'float32',
    layout: 'bhsd',
    shared: 640,
  });

test('where it cannot be read once, explain says why, and the bits are those of a call without', (t) => {
  const batch = example(new Random(1));
  const columns = batch.columns * 16;
  const seen = Tensor.from(new Uint8Array(3 * columns).fill(1), [3, columns], { dtype: 'bool' });
  const reasons: [object, RegExp][] = [
    [{ score: alibi(4) }, /positions/],
    [{ mask: slidingWindow(50, 0) }, /mask/],
    [{ mask: mask('(i, j) => j !== 5') }, /mask/],
    [{ mask: seen }, /tensor/],
    [{ entropy: true }, /entropy/],
    [{ bias: Tensor.from(new Float32Array(1), [1, 1]) }, /bias/],
  ];
  for (const [more, reason] of reasons) {
    const args = argumentsOf(batch, false, more, { sharedPrefix: 640 });
    t.regex(apart(args) ?? '', reason);
    const run = (given: Parameters<typeof explain>): unknown =>
      attentionSync(...(given as [Tensor, Tensor, Tensor])).output.data;
    t.deepEqual(run(args), run(argumentsOf(batch, false, more, {})));
  }
});

test('read once: bytes and tasks; the same bits on any number of threads, and off the event loop', async (t) => {
  const batch = example(new Random(2));
  const whole = (pages: object): Parameters<typeof explain> => argumentsOf(batch, true, { mask: causal() }, pages);
  const width = 2 * 2 * 32 * 4;
  t.is(explain(...whole({})).bytes - explain(...whole({ sharedPrefix: 645 - 5 })).bytes, 2 * 640 * width);
  t.is(explain(...whole({})).bytes - explain(...whole({ sharedPrefix: 641 })).bytes, 2 * 640 * width);
  t.is(explain(...whole({})).flops, explain(...whole({ sharedPrefix: 640 })).flops);
  const runs = [1, 2, 7].map((threads) => {
    const args = argumentsOf(batch, true, { mask: causal(), threads }, { sharedPrefix: 640 });
    return attentionSync(...(args as [Tensor, Tensor, Tensor])).output.data;
  });
  const args = argumentsOf(batch, true, { mask: causal() }, { prefixes: [{ sequences: [2, 0, 1], tokens: 640 }] });
  runs.push((await attention(...(args as [Tensor, Tensor, Tensor]))).output.data);
  t.deepEqual(runs[1], runs[0]);
  t.deepEqual(runs[2], runs[0]);
  t.true((runs[3] as Float32Array).every((x, i) => Math.abs(x - (runs[0] as Float32Array)[i]!) < 1e-5));
});

test('a partial of a call with a shared prefix is that of one without', (t) => {
  const batch = example(new Random(3));
  const [a, b] = [{ sharedPrefix: 640 }, {}].map((pages) => {
    const args = argumentsOf(batch, false, { mask: causal(), partial: true }, pages);
    return attentionSync(...(args as [Tensor, Tensor, Tensor])) as unknown as { o: Tensor; m: Tensor; l: Tensor };
  }) as [{ o: Tensor; m: Tensor; l: Tensor }, { o: Tensor; m: Tensor; l: Tensor }];
  t.deepEqual(a.m.data, b.m.data);
  for (const name of ['o', 'l'] as const) {
    const [x, y] = [numbersOf(a[name]), numbersOf(b[name])];
    t.true(
      x.every((value, i) => Math.abs(value - y[i]!) <= 3e-5 * (1 + Math.abs(y[i]!))),
      name,
    );
  }
});

test('prefixes that are none are refused', (t) => {
  const batch = example(new Random(4));
  const call = (pages: object) => (): unknown =>
    attentionSync(...(argumentsOf(batch, false, {}, pages) as [Tensor, Tensor, Tensor]));
  const argument = 'options.pages';
  const table = Int32Array.from(batch.table);
  table[batch.columns + 7] = table[batch.columns + 8]!;
  refuses(t, call({ table, sharedPrefix: 640 }), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: `${argument}.table`,
    expected: /\[1, 7\]/,
  });
  t.notThrows(call({ table, sharedPrefix: 7 * 16 + 15 }));
  refuses(t, call({ sharedPrefix: 642 }), { code: 'ERR_OUT_OF_RANGE', argument: `${argument}.sharedPrefix` });
  refuses(t, call({ sharedPrefix: 1, prefixes: [] }), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: `${argument}.prefixes`,
  });
  const one = (sequences: unknown, tokens: unknown): object => ({ prefixes: [{ sequences, tokens }] });
  refuses(t, call(one([3], 1)), { code: 'ERR_OUT_OF_RANGE', argument: `${argument}.prefixes[0].sequences[0]` });
  refuses(t, call(one([0, 0], 1)), { code: 'ERR_INVALID_ARG_VALUE', argument: `${argument}.prefixes[0].sequences[1]` });
  refuses(t, call(one([0, 2], 642)), { code: 'ERR_OUT_OF_RANGE', argument: `${argument}.prefixes[0].tokens` });
  refuses(t, call(one(undefined, 1)), { code: 'ERR_INVALID_ARG_TYPE', argument: `${argument}.prefixes[0].sequences` });
});
