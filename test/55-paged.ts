// Keys and values in the pages of a pool: the same bits as over rows side by side, whatever lies in the rest of the pool.

import test from 'ava';
import { alibi, attention, attentionSync, causal, explain, mask, slidingWindow, Tensor } from '../lib/index.js';
import { refuses, revoked, throwing } from './helpers/errors.js';
import { alone, joinQueries, makeBatch, outputOf, worstError } from './reference/paged.js';
import type { PagedBatch, PagedForm } from './reference/paged.js';
import { Random } from './reference/random.js';

const cases = process.env['LONG_GRID'] ? 3000 : 150;

function randomForm(random: Random): PagedForm {
  const headsKv = random.integer(1, 3);
  const ragged = random.integer(1, 5);
  const decoding = random.chance(0.5);
  const lengths = Array.from({ length: ragged }, () => random.integer(0, random.chance(0.1) ? 700 : 90));
  return {
    lengths,
    // More queries than keys, too.
    queries: lengths.map((n) => (decoding ? 1 : random.integer(0, Math.min(n + 1, 40)))),
    headsKv,
    headsQ: headsKv * random.integer(1, 4),
    dim: [4, 16, 24, 64][random.integer(0, 3)]!,
    dimV: [3, 16, 40, 64][random.integer(0, 3)]!,
    pageSize: [1, 1, 2, 3, 7, 16, 16, 33, 128, 200][random.integer(0, 9)]!,
    dtype: (['float32', 'float32', 'float16', 'bfloat16'] as const)[random.integer(0, 3)]!,
    layout: random.chance(0.5) ? 'bhsd' : 'bshd',
  };
}

const start = (lengths: readonly number[]): number[] => {
  const starts = [0];
  for (const n of lengths) starts.push(starts.at(-1)! + n);
  return starts;
};

function pagesOf(random: Random, { form, table, columns }: PagedBatch): object {
  const { lengths, pageSize } = form;
  const rows = lengths.map((n, b) => [...table.subarray(b * columns, b * columns + Math.ceil(n / pageSize))]);
  const tables = [table, rows, { data: table, dims: [lengths.length, columns] }];
  return {
    table: tables[random.integer(0, 2)],
    lengths: random.chance(0.5) ? lengths : Int32Array.from(lengths),
    ...(random.chance(0.5) ? { pageSize } : {}),
  };
}

test('the bits of a call over rows side by side, and the formula', (t) => {
  const random = new Random(55);
  const odd = mask('(i, j, { nkv, nq }) => (i * 3 + j) % 5 !== 1 && j < nkv && i - (nkv - nq) < nq');
  const surroundings = [{}, { mask: slidingWindow(20, 0) }, { mask: odd, softcap: 3 }, { score: alibi }] as const;
  for (let n = 0; n < cases; n += 1) {
    const form = randomForm(random);
    const batch = makeBatch(random, form);
    const ragged = random.chance(0.4);
    const threads = random.integer(1, 2);
    const chosen = random.integer(0, 5);
    const other = surroundings[chosen];
    const options =
      other === undefined ? { mask: causal() } : 'score' in other ? { score: alibi(form.headsQ) } : (other as object);
    const { output } = attentionSync(joinQueries(batch, ragged), batch.key, batch.value, {
      ...options,
      layout: form.layout,
      threads,
      pages: pagesOf(random, batch) as never,
      ...(ragged ? { cuSeqlensQ: start(form.queries) } : { lengthsQ: form.queries }),
    });
    for (let b = 0; b < form.lengths.length; b += 1) {
      const ours = outputOf(batch, ragged, output, b);
      t.deepEqual(ours, alone(batch, b, options), `case ${n}, sequence ${b}: ${JSON.stringify(form)}`);
      if (other === undefined && form.dtype === 'float32') t.true(worstError(batch, b, ours) <= 1, `case ${n}`);
    }
  }
});

test('strided pools: keys and values interleaved in one, and pages apart', (t) => {
  const random = new Random(7);
  const form: PagedForm = { ...randomForm(random), lengths: [50, 3], queries: [1, 1], dim: 16, dimV: 16, pageSize: 4 };
  Object.assign(form, { headsQ: 4, headsKv: 2, dtype: 'float32', layout: 'bhsd' });
  const batch = makeBatch(random, form);
  const pages = batch.key.shape[0]!;
  const page = 2 * 4 * 16;
  const both = new Float32Array(pages * 3 * page).fill(NaN);
  for (let n = 0; n < pages; n += 1) {
    both.set((batch.key.data as Float32Array).subarray(n * page, (n + 1) * page), 3 * n * page);
    both.set((batch.value.data as Float32Array).subarray(n * page, (n + 1) * page), (3 * n + 1) * page);
  }
  const half = (offset: number): Tensor =>
    Tensor.from(both, [pages, 2, 4, 16], { strides: [3 * page, 64, 16, 1], offset });
  const options = { pages: { table: batch.table, lengths: form.lengths } };
  const q = joinQueries(batch, false);
  const expected = attentionSync(q, batch.key, batch.value, options).output;
  t.deepEqual(attentionSync(q, half(0), half(page), options).output.data, expected.data);
});

test('sequences may name the same pages, in any order and twice', (t) => {
  const random = new Random(8);
  const values = Float32Array.from(random.normals(3 * 2 * 2 * 8));
  const pool = Tensor.from(values, [3, 2, 2, 8]);
  const q = Tensor.from(Float32Array.from(random.normals(2 * 2 * 8)), [2, 2, 1, 8]);
  const table = [
    [2, 0, 2],
    [0, 2, 1],
  ];
  const { output } = attentionSync(q, pool, pool, { pages: { table, lengths: [6, 5] } });
  table.forEach((row, b) => {
    const n = [6, 5][b]!;
    const own = new Float32Array(2 * n * 8);
    for (let h = 0; h < 2; h += 1) {
      for (let token = 0; token < n; token += 1) {
        const at = ((row[token >> 1]! * 2 + h) * 2 + (token & 1)) * 8;
        own.set(values.subarray(at, at + 8), (h * n + token) * 8);
      }
    }
    const k = Tensor.from(own, [1, 2, n, 8]);
    const single = Tensor.from((q.data as Float32Array).slice(b * 16, (b + 1) * 16), [1, 2, 1, 8]);
    t.deepEqual(
      (output.data as Float32Array).slice(b * 16, (b + 1) * 16),
      attentionSync(single, k, k).output.data as Float32Array,
    );
  });
});

test('the table is copied when an asynchronous call is made', async (t) => {
  const random = new Random(9);
  const form: PagedForm = { ...randomForm(random), lengths: [300, 200], queries: [1, 1], pageSize: 16 };
  const batch = makeBatch(random, form);
  const table = Int32Array.from(batch.table);
  const lengths = Int32Array.from(form.lengths);
  const q = joinQueries(batch, false);
  const options = { layout: form.layout, pages: { table, lengths } };
  const expected = attentionSync(q, batch.key, batch.value, options).output;
  const pending = attention(q, batch.key, batch.value, options);
  table.fill(2 ** 30);
  lengths.fill(0);
  t.deepEqual((await pending).output.data, expected.data);
});

test('mask tensors and biases have a column a token that the table has room for', (t) => {
  const random = new Random(10);
  const form: PagedForm = { ...randomForm(random), lengths: [30, 17], queries: [3, 3], pageSize: 4, dtype: 'float32' };
  const batch = makeBatch(random, form);
  const width = batch.columns * 4;
  const bias = Tensor.from(Float32Array.from(random.normals(2 * 3 * width)), [2, 1, 3, width]);
  const seen = Uint8Array.from({ length: 2 * width }, () => random.integer(0, 1));
  const padding = Tensor.from(seen, [2, width], { dtype: 'bool' });
  const { output } = attentionSync(joinQueries(batch, false), batch.key, batch.value, {
    layout: form.layout,
    bias,
    mask: padding,
    pages: { table: batch.table, lengths: form.lengths },
  });
  form.lengths.forEach((n, b) => {
    const own = { bias: bias.narrow(0, b, 1).narrow(3, 0, n), mask: padding.narrow(0, b, 1).narrow(1, 0, n) };
    t.deepEqual(outputOf(batch, false, output, b), alone(batch, b, own));
  });
});

test('explain counts what is in use; empty batches, no tokens and no pages', (t) => {
  const q = Tensor.from(new Float32Array(2 * 8), [2, 1, 1, 8]);
  const pool = Tensor.from(new Float32Array(5 * 4 * 8), [5, 1, 4, 8]);
  const pages = { table: [[0, 1, 2], [4]], lengths: [9, 2] };
  t.is(explain(q, pool, pool, { pages }).flops, 2 * 11 * 16);
  const none = attentionSync(q, pool, pool, { lse: true, pages: { table: [[], []], lengths: [0, 0] } });
  t.deepEqual([...(none.lse.data as Float32Array)], [-Infinity, -Infinity]);
  const noPool = Tensor.from(new Float32Array(0), [0, 1, 4, 8]);
  const empty = attentionSync(q, noPool, noPool, { pages: { table: new Int32Array(6), lengths: [0, 0] } });
  t.deepEqual([...(empty.output.data as Float32Array)], new Array(16).fill(0));
  const noBatch = Tensor.from(new Float32Array(0), [0, 1, 1, 8]);
  t.is(attentionSync(noBatch, pool, pool, { pages: { table: [], lengths: [] } }).output.shape[0], 0);
});

test('what does not fit is named', (t) => {
  const q = Tensor.from(new Float32Array(2 * 8), [2, 1, 1, 8]);
  const pool = Tensor.from(new Float32Array(5 * 4 * 8), [5, 1, 4, 8]);
  const table = new Int32Array(6);
  const lengths = [9, 2];
  const call =
    (pages: unknown, more: object = {}) =>
    (): unknown =>
      attentionSync(q, pool, pool, { ...more, pages: pages as never });
  const argument = 'options.pages';
  refuses(t, call([]), { code: 'ERR_INVALID_ARG_TYPE', argument });
  refuses(t, call({ table, lengths, size: 4 }), { code: 'ERR_UNKNOWN_OPTION', argument: `${argument}.size` });
  refuses(t, call({ lengths }), { code: 'ERR_INVALID_ARG_TYPE', argument: `${argument}.table` });
  refuses(t, call({ table }), { code: 'ERR_INVALID_ARG_TYPE', argument: `${argument}.lengths` });
  refuses(t, call({ table: new Int32Array(5), lengths }), {
    code: 'ERR_SHAPE_MISMATCH',
    argument: `${argument}.table`,
  });
  refuses(t, call({ table: [[0]], lengths }), { code: 'ERR_SHAPE_MISMATCH', argument: `${argument}.table` });
  refuses(t, call({ table: [[0], 'x'], lengths }), { code: 'ERR_INVALID_ARG_TYPE', argument: `${argument}.table[1]` });
  refuses(t, call({ table: [[0], ['x']], lengths: [1, 1] }), {
    code: 'ERR_INVALID_ARG_TYPE',
    argument: `${argument}.table[1][0]`,
  });
  refuses(t, call({ table: { data: table, dims: [3, 2] }, lengths }), {
    code: 'ERR_SHAPE_MISMATCH',
    argument: `${argument}.table`,
  });
  refuses(t, call({ table, lengths: [9, 13] }), { code: 'ERR_OUT_OF_RANGE', argument: `${argument}.lengths[1]` });
  refuses(t, call({ table, lengths: [9] }), { code: 'ERR_SHAPE_MISMATCH', argument: `${argument}.lengths` });
  refuses(t, call({ table, lengths, pageSize: 8 }), { code: 'ERR_SHAPE_MISMATCH', argument: 'key' });
  refuses(t, call({ table, lengths, pageSize: 0 }), { code: 'ERR_OUT_OF_RANGE', argument: `${argument}.pageSize` });
  refuses(t, call({ table, lengths }, { lengthsKv: [1, 1] }), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: 'options.lengthsKv',
  });
  const endless = { length: 2 ** 31 };
  refuses(t, call({ table: [[0], Object.assign([], endless)], lengths }), {
    code: 'ERR_OUT_OF_RANGE',
    argument: `${argument}.table`,
  });
  refuses(t, call({ table: [[], Object.assign([], { length: 2 ** 26 })], lengths }), {
    code: 'ERR_INVALID_ARG_TYPE',
    argument: `${argument}.table[1][0]`,
  });
  refuses(t, call({ table, lengths, prefixes: [{ sequences: Object.assign([], endless), tokens: 1 }] }), {
    code: 'ERR_OUT_OF_RANGE',
    argument: `${argument}.prefixes[0].sequences`,
  });
  const holes = (list: unknown[]): unknown[] => {
    delete list[0];
    return list;
  };
  const kinds: Record<string, object> = {
    'table[0]': { table: holes([[0], [0]]), lengths: [1, 1] },
    'table[1][0]': { table: [[0], holes([0])], lengths: [1, 1] },
    'lengths[0]': { table, lengths: holes([1, 1]) },
    'prefixes[0]': { table, lengths, prefixes: holes([0, { sequences: [0], tokens: 1 }]) },
    'prefixes[0].sequences[0]': { table, lengths, prefixes: [{ sequences: holes([0, 1]), tokens: 1 }] },
  };
  for (const [name, pages] of Object.entries(kinds)) {
    refuses(t, call(pages), { code: 'ERR_INVALID_ARG_TYPE', argument: `${argument}.${name}` });
  }
  const unreadable: Record<string, object> = {
    'table[0]': { table: throwing(2), lengths },
    'table[1][0]': { table: [[0], throwing()], lengths },
    'table[1]': { table: [[0], revoked()], lengths },
    'table.dims[0]': { table: { data: table, dims: throwing(2) }, lengths },
    lengths: { table, lengths: throwing(2) },
    prefixes: { table, lengths, prefixes: revoked() },
    'prefixes[0]': { table, lengths, prefixes: throwing() },
    'prefixes[0].sequences[0]': { table, lengths, prefixes: [{ sequences: throwing(), tokens: 1 }] },
  };
  for (const [name, pages] of Object.entries(unreadable)) {
    refuses(t, call(pages), { code: 'ERR_INVALID_ARG_VALUE', argument: `${argument}.${name}`, received: /throws/ });
  }
  for (const wrong of [-1, 5, 2 ** 30, NaN, 0.5]) {
    const rows = [
      [0, 1, 2],
      [wrong, 0, 0],
    ];
    const refusal = {
      code: 'ERR_OUT_OF_RANGE',
      argument: `${argument}.table[1, 0]`,
      expected: /^one of the pool's 5 pages$/,
      received: new RegExp(`^${wrong}$`),
    } as const;
    refuses(t, call({ table: rows, lengths }), refusal);
    refuses(t, () => explain(q, pool, pool, { pages: { table: rows, lengths } }), refusal);
    t.notThrows(call({ table: rows, lengths: [9, 0] }));
  }
});
