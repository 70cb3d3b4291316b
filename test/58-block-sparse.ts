// Masks of blocks: every kind of layout equals the mask tensor it stands for, alone and with other masks, whole, in
// chunks, ragged, paged and from a cache; their algebra; what is refused.

import test from 'ava';
import {
  KvCache,
  Mask,
  Tensor,
  and,
  attention,
  attentionSync,
  blockMap,
  blockSparse,
  causal,
  explain,
  mask,
} from '../lib/index.js';
import type { BlockLayoutInput, BlockSparseOptions, ErrorCode, MaskItem } from '../lib/index.js';
import { refuses, revoked, throwing } from './helpers/errors.js';
import {
  difference,
  layoutSees,
  listsOf,
  maskOf,
  pairTensor,
  randomLayout,
  randomTensor,
  wrongListed,
  wrongStairs,
  wrongTokens,
} from './reference/listed-case.js';
import { Random } from './reference/random.js';

const long = process.env['LONG_GRID'] === '1';

for (let part = 0; part < 4; part += 1) {
  test(`layouts of random sizes and shapes, alone and with other masks: part ${part}`, (t) => {
    const random = new Random(7000 + part);
    for (let n = 0; n < (long ? 600 : 30); n += 1) {
      const wrong = wrongListed(random, n);
      if (wrong !== null) t.fail(`${part}: ${wrong}`);
    }
    t.pass();
  });
}

test('lists of a few keys for each query', (t) => {
  const random = new Random(7050);
  for (let n = 0; n < (long ? 200 : 12); n += 1) t.is(wrongTokens(random, n), null);
});

test('rows of blocks that see the same keys but for the last ones', (t) => {
  const random = new Random(7060);
  for (let n = 0; n < 8; n += 1) t.is(wrongStairs(random, n), null);
});

test('a layout serves a sequence whole, in chunks and token by token', async (t) => {
  const random = new Random(7100);
  const [H, N, D] = [4, 300, 32];
  const form = { sizeQ: 24, sizeK: 10, byRow: false, rows: 13, columns: 30, batches: 1, heads: H };
  const own = and(maskOf(randomLayout(random, form), 1, random), causal());
  const [q, k, v] = [0, 1, 2].map(() => randomTensor(random, [1, H, N, D])) as [Tensor, Tensor, Tensor];
  const whole = (await attention(q, k, v, { mask: own })).output;
  for (const [from, count] of [
    [0, 1],
    [77, 1],
    [100, 3],
    [120, 60],
    [299, 1],
  ] as const) {
    const seen = from + count;
    const { output } = attentionSync(q.narrow(2, from, count), k.narrow(2, 0, seen), v.narrow(2, 0, seen), {
      mask: own,
    });
    t.true(difference(output, whole.narrow(2, from, count)) < 1e-5, `${count} from ${from}`);
  }
});

test('a cache whose tokens go out of a window keeps their places in the layout', (t) => {
  const random = new Random(7200);
  const [H, D, N] = [2, 32, 400];
  const form = { sizeQ: 1, sizeK: 3, byRow: false, rows: N, columns: 134, batches: 1, heads: 1 };
  const own = maskOf(randomLayout(random, form), 2, random);
  const options = { heads: H, dim: D, window: 150, pinned: 10 } as const;
  const cache = new KvCache(options);
  const [q, k, v] = [0, 1, 2].map(() => randomTensor(random, [1, H, N, D])) as [Tensor, Tensor, Tensor];
  const kept = mask(`(i, j) => j <= i && (j < 10 || i - j <= 150)`);
  const whole = attentionSync(q, k, v, { mask: [own, kept] }).output;
  for (let at = 0; at < N; at += 40) {
    const step = (tensor: Tensor): Tensor => tensor.narrow(2, at, 40);
    const { output } = cache.attendSync(step(q), { k: step(k), v: step(v), mask: own });
    t.true(difference(output, step(whole)) < 1e-5, `${at}`);
  }
});

test('ragged, padded and paged sequences, each with lists of its own', (t) => {
  const random = new Random(7300);
  const [B, H, D] = [3, 2, 32];
  const lengths = [130, 0, 77];
  const N = 130;
  const form = { sizeQ: 8, sizeK: 16, byRow: false, rows: 17, columns: 9, batches: B, heads: H };
  const layout = randomLayout(random, form);
  const own = maskOf(layout, 0, random);
  const [q, k, v] = [0, 1, 2].map(() => randomTensor(random, [B, H, N, D])) as [Tensor, Tensor, Tensor];
  const expected = lengths.map((length, b) => {
    const rows = (tensor: Tensor): Tensor => tensor.narrow(0, b, 1).narrow(2, 0, length);
    const whole = pairTensor([1, H, length, length], (_b, h, r, c) => layoutSees(layout, b, h!, r!, c!));
    return attentionSync(rows(q), rows(k), rows(v), { mask: whole }).output;
  });
  const padded = attentionSync(q, k, v, { mask: own, lengthsQ: lengths, lengthsKv: lengths }).output;
  lengths.forEach((length, b) => {
    t.true(difference(padded.narrow(0, b, 1).narrow(2, 0, length), expected[b]!) < 1e-5);
  });

  const pack = (tensor: Tensor): Tensor => {
    const rows = lengths.map((length, b) => tensor.narrow(0, b, 1).narrow(2, 0, length).transpose(1, 2).toFloat32());
    const data = new Float32Array(207 * H * D);
    let end = 0;
    for (const values of rows) {
      data.set(values, end);
      end += values.length;
    }
    return Tensor.from(data, [207, H, D]);
  };
  const cuSeqlens = [0, 130, 130, 207];
  const ragged = attentionSync(pack(q), pack(k), pack(v), { mask: own, cuSeqlensQ: cuSeqlens, cuSeqlensKv: cuSeqlens });
  lengths.forEach((length, b) => {
    const rows = ragged.output.narrow(0, cuSeqlens[b]!, length).reshape([1, length, H, D]).transpose(1, 2);
    t.true(difference(rows, expected[b]!) < 1e-5);
  });

  // Pages of 10 rows, [pages, H, 10, D], sequence b's in any order.
  const table = [[5, 2, 8, 0, 11, 1, 9, 3, 20, 7, 6, 4, 10], [], [12, 19, 13, 18, 14, 17, 15, 16]];
  const pool = (tensor: Tensor): Tensor => {
    const data = new Float32Array(21 * H * 10 * D).fill(NaN);
    table.forEach((pages, b) =>
      pages.forEach((page, n) => {
        for (let h = 0; h < H; h += 1)
          for (let r = 0; r < 10 && n * 10 + r < lengths[b]!; r += 1) {
            const row = tensor
              .narrow(0, b, 1)
              .narrow(1, h, 1)
              .narrow(2, n * 10 + r, 1)
              .toFloat32();
            data.set(row, ((page * H + h) * 10 + r) * D);
          }
      }),
    );
    return Tensor.from(data, [21, H, 10, D]);
  };
  const paged = attentionSync(q, pool(k), pool(v), {
    mask: own,
    align: 'top-left',
    pages: { table, lengths },
    lengthsQ: lengths,
  });
  lengths.forEach((length, b) => {
    t.true(difference(paged.output.narrow(0, b, 1).narrow(2, 0, length), expected[b]!) < 1e-5);
  });
});

test('a sequence without keys, or without queries, in a batch with others', (t) => {
  const random = new Random(7350);
  const own = blockSparse([[0], [0, 1]], { blockSize: 4 });
  for (const [H, Hkv] of [
    [2, 2],
    [4, 1],
  ] as const) {
    for (const queries of [1, 3, 8]) {
      for (const given of [own, and(own, causal())]) {
        const q = randomTensor(random, [2, H, queries, 32]);
        const [k, v] = [randomTensor(random, [2, Hkv, 8, 32]), randomTensor(random, [2, Hkv, 8, 32])];
        const empty = { mask: given, lse: true, lengthsKv: [0, 8], lengthsQ: [queries, queries] } as const;
        const { output, lse } = attentionSync(q, k, v, empty);
        const last = (tensor: Tensor): Tensor => tensor.narrow(0, 1, 1);
        const alone = attentionSync(last(q), last(k), last(v), { mask: given, lse: true });
        t.true(
          output
            .narrow(0, 0, 1)
            .toFloat32()
            .every((value) => value === 0),
        );
        t.true(
          lse
            .narrow(0, 0, 1)
            .toFloat32()
            .every((value) => value === -Infinity),
        );
        t.deepEqual(last(output).toFloat32(), alone.output.toFloat32());
        t.notThrows(() => explain(q, k, v, empty));
        t.notThrows(() => attentionSync(q, k, v, { mask: given, lengthsQ: [0, queries], lengthsKv: [8, 8] }));
      }
    }
  }
});

test('NaN in a key or value reaches none of the queries that do not see its block', (t) => {
  const random = new Random(7400);
  for (const [size, N] of [
    [1, 200],
    [5, 300],
    [64, 1200],
  ] as const) {
    const blocks = Math.ceil(N / size);
    const form = { sizeQ: size, sizeK: size, byRow: false, rows: blocks, columns: blocks, batches: 1, heads: 2 };
    const layout = randomLayout(random, form);
    const options = { mask: maskOf(layout, 0, random) };
    const [q, k, v] = [0, 1, 2].map(() => randomTensor(random, [1, 2, N, 24])) as [Tensor, Tensor, Tensor];
    const clean = attentionSync(q, k, v, options).output.toFloat32();
    const spoiled = random.integer(0, N - 1);
    for (const tensor of [k, v]) {
      const data = tensor.data as Float32Array;
      for (let h = 0; h < 2; h += 1) data.fill(NaN, (h * N + spoiled) * 24, (h * N + spoiled + 1) * 24);
    }
    const { output } = attentionSync(q, k, v, options);
    const values = output.toFloat32();
    let wrong = 0;
    for (let h = 0; h < 2; h += 1)
      for (let r = 0; r < N; r += 1)
        for (let d = 0; d < 24; d += 1) {
          const at = (h * N + r) * 24 + d;
          const reached = layoutSees(layout, 0, h, r, spoiled);
          if (reached ? !Number.isNaN(values[at]) : values[at] !== clean[at]) wrong += 1;
        }
    t.is(wrong, 0, `blocks of ${size}`);
  }
});

test('bits depend neither on threads nor on the batch', async (t) => {
  const random = new Random(7500);
  for (const size of [1, 16, 48]) {
    const [N, H] = [1500, 2];
    const blocks = Math.ceil(N / size);
    const form = { sizeQ: size, sizeK: size, byRow: false, rows: blocks, columns: blocks, batches: 1, heads: H };
    const own = maskOf(randomLayout(random, form), 0, random);
    const [q, k, v] = [0, 1, 2].map(() => randomTensor(random, [2, H, N, 32])) as [Tensor, Tensor, Tensor];
    const one = attentionSync(q, k, v, { mask: own, threads: 1 }).output.toFloat32();
    t.deepEqual((await attention(q, k, v, { mask: own, threads: 3 })).output.toFloat32(), one);
    const last = (tensor: Tensor): Tensor => tensor.narrow(0, 1, 1);
    const alone = attentionSync(last(q), last(k), last(v), { mask: own }).output.toFloat32();
    t.deepEqual(alone, one.slice(one.length / 2));
  }
});

test('half types and grouped heads', (t) => {
  const random = new Random(7600);
  const [H, Hkv, N, D] = [4, 2, 260, 48];
  const form = { sizeQ: 16, sizeK: 32, byRow: false, rows: 17, columns: 9, batches: 1, heads: H };
  const layout = randomLayout(random, form);
  const half = (shape: number[]): Tensor => {
    const data = Uint16Array.from({ length: shape.reduce((a, b) => a * b) }, () => 0x3c00 - random.integer(0, 0x800));
    return Tensor.from(data, shape, { dtype: 'float16' });
  };
  const [q, k, v] = [half([1, H, N, D]), half([1, Hkv, N, D]), half([1, Hkv, N, D])];
  const whole = pairTensor([1, H, N, N], (_b, h, r, c) => layoutSees(layout, 0, h!, r!, c!));
  const [a, b] = [maskOf(layout, 0, random), whole].map((given) =>
    attentionSync(q, k, v, { mask: given, outputDtype: 'float32' }),
  );
  t.true(difference(a!.output, b!.output) < 1e-5);
});

test('block masks: density, lists, dense forms, transpose, and, or, not, JSON', (t) => {
  const random = new Random(7700);
  for (let n = 0; n < 30; n += 1) {
    const form = { sizeQ: random.integer(1, 9), sizeK: random.integer(1, 9), byRow: false };
    const sizes = {
      rows: random.integer(1, 12),
      columns: random.integer(1, 12),
      batches: 1 + (n % 2),
      heads: 1 + (n % 3),
    };
    const [x, y] = [randomLayout(random, { ...form, ...sizes }), randomLayout(random, { ...form, ...sizes, heads: 1 })];
    const [a, b] = [maskOf(x, n, random), maskOf(y, n + 1, random)];
    const total = x.cells.length;
    t.deepEqual(a.shape, [sizes.batches, sizes.heads, sizes.rows, sizes.columns]);
    t.is(
      a.count,
      x.cells.reduce((sum, cell) => sum + cell, 0),
    );
    t.is(a.density, a.count / total);
    t.deepEqual(a.toDense().data, x.cells);
    t.deepEqual([...a.list(0, { h: sizes.heads - 1 })], listsOf(x)[0]!.at(-1)![0]);
    const at = (cells: Uint8Array, heads: number, m: number, r: number, c: number): number => {
      const [batch, head] = [Math.floor(m / sizes.heads), heads === 1 ? 0 : m % sizes.heads];
      return cells[((batch * heads + head) * sizes.rows + r) * sizes.columns + c]!;
    };
    const each = (f: (p: number, q: number) => number): number[] =>
      Array.from({ length: total }, (_, index) => {
        const c = index % sizes.columns;
        const r = Math.floor(index / sizes.columns) % sizes.rows;
        const m = Math.floor(index / sizes.columns / sizes.rows);
        return f(at(x.cells, sizes.heads, m, r, c), at(y.cells, 1, m, r, c));
      });
    t.deepEqual(
      [...(a.and(b).toDense().data as Uint8Array)],
      each((p, q) => p & q),
    );
    t.deepEqual(
      [...(b.or(a).toDense().data as Uint8Array)],
      each((p, q) => p | q),
    );
    t.deepEqual(
      [...(a.not().toDense().data as Uint8Array)],
      each((p) => 1 - p),
    );
    t.deepEqual(a.transpose().transpose().toDense().data, x.cells);
    const turned = a.transpose().toDense().data as Uint8Array;
    t.is(turned[1 % turned.length], x.cells[(1 % sizes.rows) * sizes.columns + Math.floor(1 / sizes.rows)]);
    const [nq, nkv] = [sizes.rows * form.sizeQ, sizes.columns * form.sizeK];
    const pairs = a.toDense({ nq, nkv });
    const expected = pairTensor([sizes.batches, sizes.heads, nq, nkv], (...[m, h, r, c]) =>
      layoutSees(x, m!, h!, r!, c!),
    );
    t.deepEqual(pairs.data, expected.data);
    const json = JSON.parse(JSON.stringify(a)) as never;
    t.deepEqual(blockSparse(json).toDense().data, x.cells);
    t.is(String(blockSparse(json)), String(a));
    const restored = mask(JSON.parse(JSON.stringify(and(a, causal()))) as object);
    t.true(restored instanceof Mask);
    const [q, k] = [
      randomTensor(random, [sizes.batches, sizes.heads, Math.min(nq, nkv), 8]),
      randomTensor(random, [sizes.batches, sizes.heads, Math.min(nq, nkv), 8]),
    ];
    t.is(
      difference(
        attentionSync(q, k, k, { mask: restored }).output,
        attentionSync(q, k, k, { mask: and(a, causal()) }).output,
      ),
      0,
    );
  }
  const own = blockSparse([[0], [0, 1], [1, 2]], { blockSize: 4 });
  t.is(String(own), 'blockSparse([1, 1, 3, 3] blocks of 4 x 4, density 55.56 %)');
  t.is(
    own.map().toString(),
    'BlockMap(12 x 12, blocks of 4 x 4: 5 full, 0 partial, 4 skipped, sparsity 44.44 %)\n██\n████\n  ████',
  );
  t.regex(own.toSVG(), /^<svg /);
});

test('blockMap reads lists, at any size of its own blocks', (t) => {
  const random = new Random(7800);
  for (let n = 0; n < 40; n += 1) {
    const [nq, nkv] = [random.integer(1, 60), random.integer(60, 100)];
    const [sizeQ, sizeK] = [random.integer(1, 20), random.integer(1, 20)];
    const sizes = { rows: Math.ceil(nkv / sizeQ), columns: Math.ceil(nkv / sizeK), batches: 1, heads: 2 };
    const layout = randomLayout(random, { sizeQ, sizeK, byRow: false, ...sizes });
    const block = [random.integer(1, 15), random.integer(1, 15)] as const;
    const map = blockMap(maskOf(layout, n, random), { nq, nkv, block, h: 1 });
    const expected = new Uint8Array(map.states.length);
    for (let tile = 0; tile < expected.length; tile += 1) {
      const [row, column] = [Math.floor(tile / map.shape[1]), tile % map.shape[1]];
      let [seen, all] = [0, 0];
      for (let r = row * block[0]; r < Math.min((row + 1) * block[0], nq); r += 1)
        for (let c = column * block[1]; c < Math.min((column + 1) * block[1], nkv); c += 1) {
          all += 1;
          seen += Number(layoutSees(layout, 0, 1, r + nkv - nq, c));
        }
      expected[tile] = seen === 0 ? 0 : seen === all ? 2 : 1;
    }
    t.deepEqual(map.states, expected);
  }
});

test('what does not fit is named', (t) => {
  const wrong = (layout: unknown, options: unknown, code: ErrorCode, argument: string): void =>
    refuses(t, () => blockSparse(layout as BlockLayoutInput, options as BlockSparseOptions), { code, argument });
  const size = { blockSize: 4 };
  wrong([[0]], undefined, 'ERR_INVALID_ARG_TYPE', 'options.blockSize');
  wrong([[0]], { blockSize: 0 }, 'ERR_OUT_OF_RANGE', 'options.blockSize');
  wrong([[0]], { blockSize: [4, NaN] }, 'ERR_OUT_OF_RANGE', 'options.blockSize[1]');
  wrong([[0]], { blockSize: [4] }, 'ERR_SHAPE_MISMATCH', 'options.blockSize');
  wrong([[0]], { blockSize: 4, size: 4 }, 'ERR_UNKNOWN_OPTION', 'options.size');
  wrong([[0]], { blockSize: 4, rows: 'rows' }, 'ERR_INVALID_ARG_VALUE', 'options.rows');
  wrong(undefined, size, 'ERR_INVALID_ARG_TYPE', 'layout');
  wrong([0, 1], size, 'ERR_INVALID_ARG_TYPE', 'layout');
  wrong([[0], [1, 2]], size, 'ERR_OUT_OF_RANGE', 'layout[1][1]');
  wrong([[0], [1, 1]], size, 'ERR_INVALID_ARG_VALUE', 'layout[1]: block 1');
  wrong([[0], ['1']], size, 'ERR_INVALID_ARG_TYPE', 'layout[1][0]');
  wrong([[[0], [1]], [[0]]], size, 'ERR_SHAPE_MISMATCH', 'layout[1]');
  wrong([[0], 5], size, 'ERR_INVALID_ARG_TYPE', 'layout[1]');
  wrong([Object.assign([], { length: 2 ** 31 })], size, 'ERR_OUT_OF_RANGE', 'layout[0]');
  wrong(Tensor.from(new Float32Array(4), [2, 2]), size, 'ERR_INVALID_ARG_VALUE', 'layout');
  wrong(Tensor.from(new Uint8Array(4), [4], { dtype: 'bool' }), size, 'ERR_SHAPE_MISMATCH', 'layout');
  wrong(
    Tensor.from(new Uint8Array(4), [2, 2], { dtype: 'bool' }),
    { ...size, columns: 2 },
    'ERR_INVALID_ARG_VALUE',
    'options.columns',
  );
  const csr = (indptr: unknown, indices: unknown, shape: unknown): object => ({ indptr, indices, shape });
  wrong(csr([0, 1], [0], 2), size, 'ERR_INVALID_ARG_TYPE', 'layout.shape');
  wrong(csr([0, 1], [0], [2, 2]), size, 'ERR_SHAPE_MISMATCH', 'layout.indptr');
  wrong(csr([0, 1, 1], [0, 1], [2, 2]), size, 'ERR_SHAPE_MISMATCH', 'layout.indptr');
  wrong(csr([1, 1, 1], [0], [2, 2]), size, 'ERR_OUT_OF_RANGE', 'layout.indptr[0]');
  wrong(csr([0, 2, 1], [0], [2, 2]), size, 'ERR_OUT_OF_RANGE', 'layout.indptr[1]');
  wrong(csr([0, 1, 1], [2], [2, 2]), size, 'ERR_OUT_OF_RANGE', 'layout.indices[0]');
  wrong(csr([0, 2, 2], [1, 1], [2, 2]), size, 'ERR_INVALID_ARG_VALUE', 'layout.indices: block 1 of line 0');

  const holes = (list: unknown[], at = 0): unknown[] => {
    delete list[at];
    return list;
  };
  const gone = new Int32Array([0]);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });
  wrong(holes([[0], [1], [2]], 1), size, 'ERR_INVALID_ARG_TYPE', 'layout[1]');
  wrong([[[0]], holes([[0]])], size, 'ERR_INVALID_ARG_TYPE', 'layout[1][0]');
  wrong(holes([[[0]], [[0]], [[0]]], 1), size, 'ERR_INVALID_ARG_TYPE', 'layout[1]');
  wrong([[[[0]]], holes([[[0]]])], size, 'ERR_INVALID_ARG_TYPE', 'layout[1][0]');
  wrong(
    [
      [[[0]], [[0]]],
      [[[0]], 5],
    ],
    size,
    'ERR_INVALID_ARG_TYPE',
    'layout[1][1]',
  );
  wrong(
    [
      [[[0]], [[0]]],
      [[[0]], [[0], [0]]],
    ],
    size,
    'ERR_SHAPE_MISMATCH',
    'layout[1][1]',
  );
  wrong([[0], holes([0, 1])], size, 'ERR_INVALID_ARG_TYPE', 'layout[1][0]');
  wrong(Object.assign([[0]], { length: 4e6 }), size, 'ERR_INVALID_ARG_TYPE', 'layout[1]');
  wrong([gone], size, 'ERR_INVALID_ARG_VALUE', 'layout[0]');
  wrong([[0], gone], size, 'ERR_INVALID_ARG_VALUE', 'layout[1]');
  wrong(csr([0, 1], [0], holes([2, 2], 1)), size, 'ERR_INVALID_ARG_TYPE', 'layout.shape[1]');
  wrong(csr(holes([0, 1]), [0], [1, 1]), size, 'ERR_INVALID_ARG_TYPE', 'layout.indptr[0]');
  wrong(csr([0, 1], holes([0]), [1, 1]), size, 'ERR_INVALID_ARG_TYPE', 'layout.indices[0]');

  const unreadable = (layout: unknown, argument: string): void =>
    refuses(t, () => blockSparse(layout as BlockLayoutInput, size), {
      code: 'ERR_INVALID_ARG_VALUE',
      argument,
      received: /throws/,
    });
  unreadable(revoked(), 'layout');
  unreadable(throwing(2), 'layout[0]');
  unreadable([[0], throwing()], 'layout');
  unreadable([[[0]], revoked()], 'layout[1]');
  unreadable(csr(throwing(2), [0], [1, 1]), 'layout.indptr');
  unreadable(csr([0, 1], throwing(), [1, 1]), 'layout.indices');
  unreadable(csr([0, 1], [0], throwing(2)), 'layout.shape[0]');
  unreadable(revoked({}), 'layout');

  const later = [0];
  const growing = Object.defineProperty([1], 0, { get: () => later.push(1, 2) && 1 });
  t.deepEqual(blockSparse([[0], growing, later], size).toJSON().layout.indptr, [0, 1, 2, 3]);

  const wide = blockSparse({ indptr: [0, 1, 1, 1], indices: [0], shape: [3, 2 ** 31 - 3] }, { blockSize: 1 });
  refuses(t, () => wide.not(), { code: 'ERR_OUT_OF_RANGE', argument: 'layout' });
  refuses(t, () => mask({ ...blockSparse([[0]], size).toJSON(), rows: 'rows' }), {
    code: 'ERR_INVALID_ARG_VALUE',
    argument: 'program.rows',
  });
  const own = blockSparse([[0], [0, 1]], size);
  refuses(t, () => own.and(causal() as never), { code: 'ERR_INVALID_ARG_TYPE', argument: 'other' });
  refuses(t, () => own.or(blockSparse([[0], [0, 1]], { blockSize: 5 })), {
    code: 'ERR_SHAPE_MISMATCH',
    argument: 'other',
  });
  refuses(t, () => own.list(2), { code: 'ERR_OUT_OF_RANGE', argument: 'row' });
  refuses(t, () => own.with({ x: 1 }), { code: 'ERR_INVALID_ARG_VALUE', argument: 'parameters' });
  const call =
    (nq: number, nkv: number, heads: number, item: MaskItem, more: object = {}) =>
    (): unknown => {
      const random = new Random(1);
      const k = randomTensor(random, [1, heads, nkv, 8]);
      return attentionSync(randomTensor(random, [1, heads, nq, 8]), k, k, { mask: item, ...more });
    };
  t.notThrows(call(8, 8, 2, own));
  const argument = 'options.mask';
  refuses(t, call(9, 9, 2, own), { code: 'ERR_SHAPE_MISMATCH', argument, expected: /9 queries/ });
  refuses(t, call(1, 9, 2, own), { code: 'ERR_SHAPE_MISMATCH', argument, expected: /9 queries/ });
  refuses(t, call(1, 9, 2, blockSparse([[0]], { ...size, rows: 'row' })), {
    code: 'ERR_SHAPE_MISMATCH',
    argument,
    expected: /9 keys/,
  });
  refuses(t, call(5, 3, 2, own), { code: 'ERR_OUT_OF_RANGE', argument, received: /-2/ });
  t.notThrows(call(5, 3, 2, own, { align: 'top-left' }));
  const perHead = blockSparse(
    [
      [[0], [0, 1]],
      [[0], [1]],
    ],
    size,
  );
  t.notThrows(call(8, 8, 2, perHead));
  refuses(t, call(8, 8, 3, perHead), { code: 'ERR_SHAPE_MISMATCH', argument, expected: /3 query heads/ });
});
