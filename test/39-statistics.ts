// Statistics of weights: against every weight of the float64 reference over the grid, and what they share with outputs -
// repeatable bits, any threads, layouts, homes of keys; sinks, spoiled rows and padding.

import './helpers/seven-threads.js';
import test from 'ava';
import {
  and,
  attention,
  attentionSync,
  blockSparse,
  causal,
  explain,
  neighborhood,
  slidingWindow,
  Tensor,
  type AttentionOptions,
  type MaskItem,
  type Statistics,
  type StatisticsOptions,
} from '../lib/index.js';
import { refuses, revoked, throwing } from './helpers/errors.js';
import { bitsOf, callOf, run } from './reference/call.js';
import { describe } from './reference/case.js';
import { deep, type Topic } from './reference/grid.js';
import { Random } from './reference/random.js';
import { everything, statisticsCase, wrongStatistics } from './reference/statistics-case.js';

const topics: Topic[] = ['masks', 'scores', 'types', 'layouts', 'lengths', 'decode', 'dims', 'long', 'anything'];
const many = process.env['LONG_GRID'] === undefined ? 12 : 200;

for (const topic of topics) {
  test(`${topic}: statistics are right`, (t) => {
    for (let n = 0; n < many; n++) t.deepEqual(wrongStatistics(statisticsCase(topic, 391_000 + n)), []);
  });
}

const statisticsOf = (result: unknown): Statistics => (result as { statistics: Statistics }).statistics;

function bits(statistics: Statistics): Record<string, unknown> {
  const { topK, ...tensors } = statistics;
  const found = Object.entries(tensors).map(([name, tensor]) => [name, bitsOf(tensor as Tensor)]);
  return { ...Object.fromEntries(found), ...(topK && { top: bitsOf(topK.weights), columns: [...topK.columns] }) };
}

test('the same bits with any number of threads, and an output that does not change', (t) => {
  const cases = [
    ...deep,
    ...(['masks', 'lengths', 'decode'] as Topic[]).map((topic) => statisticsCase(topic, 392_001)),
  ];
  for (const one of cases) {
    const call = callOf(one);
    const statistics = everything(one);
    const at = (threads: number) => run({ ...call, options: { ...call.options, statistics, threads } as never });
    const first = at(1);
    t.deepEqual(bitsOf(first.output), bitsOf(run({ ...call, options: { ...call.options, threads: 7 } }).output));
    for (const threads of [2, 7])
      t.deepEqual(bits(statisticsOf(at(threads))), bits(statisticsOf(first)), describe(one));
  }
});

function normal(random: Random, shape: number[]): Tensor {
  return Tensor.from(Float32Array.from(random.normals(shape.reduce((a, b) => a * b, 1))), shape);
}

/** Weights by giving the identity for values: columns of an output of ours are what statistics have to agree with. */
function weightsOf(q: Tensor, k: Tensor, options: AttentionOptions): number[][][] {
  const [, heads, queries] = q.shape as [number, number, number];
  const keys = k.shape[2]!;
  const identity = new Float32Array(keys * keys);
  for (let n = 0; n < keys; n++) identity[n * keys + n] = 1;
  // One identity for all heads.
  const v = Tensor.from(identity, [1, k.shape[1]!, keys, keys], { strides: [0, 0, keys, 1] });
  const { data } = attentionSync(q, k, v, options).output;
  return Array.from({ length: heads }, (_none, h) =>
    Array.from({ length: queries }, (_row, row) =>
      Array.from({ length: keys }, (_column, column) => (data as Float32Array)[(h * queries + row) * keys + column]!),
    ),
  );
}

/** Statistics of one sequence against its weights. */
function agree(q: Tensor, k: Tensor, options: AttentionOptions, wanted: StatisticsOptions): string[] {
  const v = normal(new Random(5), [1, k.shape[1]!, k.shape[2]!, 24]);
  const { statistics } = attentionSync(q, k, v, { ...options, statistics: wanted }) as { statistics?: Statistics };
  const wrong: string[] = [];
  const near = (name: string, got: number, expected: number) => {
    if (!(Math.abs(got - expected) <= 2e-5 * expected + 1e-6)) wrong.push(`${name}: ${got}, expected ${expected}`);
  };
  const add = (list: number[]) => list.reduce((a, b) => a + b, 0);
  const weights = weightsOf(q, k, options);
  const [queries, keys] = [q.shape[2]!, k.shape[2]!];
  const read = (tensor: Tensor, n: number) => (tensor.data as Float32Array)[n]!;
  weights.forEach((rows, h) => {
    rows.forEach((row, i) => {
      const at = h * queries + i;
      wanted.mass?.forEach(([begin, end], n) => {
        near(`mass ${at}, ${n}`, read(statistics!.mass!, at * wanted.mass!.length + n), add(row.slice(begin, end)));
      });
      const ranked = [...row].sort((a, b) => b - a);
      for (let n = 0; n < (wanted.topK ?? 0); n++) {
        const weight = read(statistics!.topK!.weights, at * wanted.topK! + n);
        const column = statistics!.topK!.columns[at * wanted.topK! + n]!;
        near(`top ${at}, ${n}`, weight, ranked[n]!);
        near(`column of top ${at}, ${n}`, column < 0 ? 0 : row[column]!, weight);
      }
    });
    if (wanted.blocks) {
      const size = wanted.blocks.blockSize as number;
      const width = Math.ceil(keys / size);
      for (let y = 0; y * size < queries; y++) {
        for (let x = 0; x < width; x++) {
          const inside = rows
            .slice(y * size, (y + 1) * size)
            .flatMap((row) => row.slice(x * size, Math.min(keys, (x + 1) * size)));
          const at = (h * Math.ceil(queries / size) + y) * width + x;
          near(`sum of block ${at}`, read(statistics!.blockSums!, at), add(inside));
          near(`max of block ${at}`, read(statistics!.blockMax!, at), Math.max(...inside));
        }
      }
    }
    for (let column = 0; column < keys; column++) {
      near(`column ${column}`, read(statistics!.columnSums!, h * keys + column), add(rows.map((row) => row[column]!)));
    }
  });
  return wrong.slice(0, 3);
}

const wanted: StatisticsOptions = {
  mass: [
    [0, 4],
    [4, 130],
    [300, 301],
    [500, 600],
  ],
  topK: 7,
  blocks: { blockSize: 32, max: true },
  columnSums: true,
};

test('grids, lists of blocks and dilation: tiles gathered in other orders of rows and keys', (t) => {
  const random = new Random(393);
  const q = normal(random, [1, 4, 600, 24]);
  const k = normal(random, [1, 2, 600, 24]);
  const layout = Tensor.from(
    Uint8Array.from({ length: 4 * 19 * 19 }, () => (random.chance(0.3) ? 1 : 0)),
    [4, 19, 19],
    { dtype: 'bool' },
  );
  const masks: MaskItem[] = [
    neighborhood({ grid: [20, 30], window: [5, 9] }),
    neighborhood({ grid: [20, 30], window: [5, 5], dilation: [2, 3] }),
    neighborhood({ grid: [20, 30], window: [5, 5], stride: [5, 5], causal: [true, false] }),
    blockSparse(layout, { blockSize: 32 }),
    and(blockSparse(layout, { blockSize: 32 }), causal()),
    slidingWindow(40, 3),
  ];
  for (const mask of masks) t.deepEqual(agree(q, k, { mask }, wanted), []);
});

test('a sink takes its share of every weight', (t) => {
  const random = new Random(394);
  const [q, k] = [normal(random, [1, 4, 90, 16]), normal(random, [1, 2, 600, 16])];
  t.deepEqual(agree(q, k, { mask: causal(), sinks: [0, 3, -2, 8] }, wanted), []);
});

test('equal weights: the first columns are the largest', (t) => {
  const zeros = Tensor.from(new Float32Array(700 * 32), [1, 1, 700, 32]);
  for (const queries of [1, 40]) {
    const q = zeros.narrow(2, 0, queries);
    const { statistics } = attentionSync(q, zeros, zeros, { statistics: { topK: 5 }, mask: slidingWindow(600, 0) });
    for (let row = 0; row < queries; row++) {
      const first = Math.max(0, 700 - queries + row - 600);
      t.deepEqual(
        statistics.topK.columns.slice(row * 5, row * 5 + 5),
        Int32Array.from([0, 1, 2, 3, 4], (n) => first + n),
      );
    }
  }
});

test('keys that are not seen, spoiled or not, have no weight; spoiled rows spoil no other row', (t) => {
  const random = new Random(395);
  const [q, k, v] = [normal(random, [1, 1, 50, 16]), normal(random, [1, 1, 50, 16]), normal(random, [1, 1, 50, 16])];
  const mask = slidingWindow(5, 0);
  const options = { mask, statistics: { mass: [[0, 10]], topK: 3 } } as const;
  const clean = attentionSync(q, k, v, options).statistics;
  (v.data as Float32Array).fill(NaN, 40 * 16);
  (q.data as Float32Array).fill(NaN, 45 * 16, 46 * 16);
  const spoiled = attentionSync(q, k, v, options).statistics;
  for (let row = 0; row < 50; row++) {
    if (row === 45) continue;
    t.is((spoiled.mass.data as Float32Array)[row], (clean.mass.data as Float32Array)[row]);
    t.deepEqual(spoiled.topK.columns.slice(3 * row, 3 * row + 3), clean.topK.columns.slice(3 * row, 3 * row + 3));
  }
  t.deepEqual(spoiled.topK.columns.slice(3 * 45, 3 * 46), new Int32Array(3).fill(-1));
});

for (const [label, mask, first] of [
  ['causal', causal(), 0],
  ['window', slidingWindow(2, 0), 8],
] as const) {
  test(`a spoiled row spoils what it sees and nothing else: ${label}`, (t) => {
    const ones = Tensor.from(new Float32Array(300).fill(1), [1, 1, 300, 1]);
    const q = Tensor.from(new Float32Array(300).fill(1), [1, 1, 300, 1]);
    const statistics = {
      columnSums: true,
      blocks: { blockSize: 4, max: true },
      mass: [
        [0, 11],
        [11, 20],
      ],
      columns: [10, 11, 200],
    } as const;
    const clean = attentionSync(q, ones, ones, { mask, statistics }).statistics;
    (q.data as Float32Array)[10] = NaN; // sees the columns from `first` to 10
    const spoiled = attentionSync(q, ones, ones, { mask, statistics }).statistics;
    const expect = (
      name: 'columnSums' | 'blockSums' | 'blockMax' | 'mass' | 'columns',
      isSpoiled: (at: number) => boolean,
    ) => {
      const [was, is] = [clean[name].data as Float32Array, spoiled[name].data as Float32Array];
      t.deepEqual(
        is,
        was.map((x, at) => (isSpoiled(at) ? NaN : x)),
        name,
      );
    };
    expect('columnSums', (column) => column >= first && column <= 10);
    expect('blockSums', (at) => Math.floor(at / 75) === 2 && at % 75 >= first / 4 && at % 75 <= 2);
    expect('blockMax', () => false); // other rows of the block have larger weights
    expect('mass', (at) => at === 2 * 10);
    expect('columns', (at) => at === 3 * 10);
  });
}

test('over pages: by row and largest weights, as over keys in one piece', (t) => {
  const random = new Random(396);
  const [q, k, v] = [normal(random, [2, 4, 3, 16]), normal(random, [2, 2, 96, 16]), normal(random, [2, 2, 96, 16])];
  const statistics = { mass: [[0, 20]], columns: [3, 90], topK: 4 } as const;
  const table = Int32Array.from([5, 1, 3, 0, 4, 2]);
  const paged = (tensor: Tensor) => {
    const pool = new Float32Array(6 * 2 * 32 * 16);
    const data = tensor.data as Float32Array;
    for (let b = 0; b < 2; b++) {
      for (let h = 0; h < 2; h++) {
        for (let row = 0; row < 96; row++) {
          const page = table[3 * b + Math.floor(row / 32)]!;
          const from = ((b * 2 + h) * 96 + row) * 16;
          pool.set(data.subarray(from, from + 16), ((page * 2 + h) * 32 + (row % 32)) * 16);
        }
      }
    }
    return Tensor.from(pool, [6, 2, 32, 16]);
  };
  const pages = {
    table: [0, 3].map((first) => Array.from(table.slice(first, first + 3))),
    lengths: [96, 96],
    pageSize: 32,
  };
  const contiguous = attentionSync(q, k, v, { statistics });
  const result = attentionSync(q, paged(k), paged(v), { statistics, pages });
  t.deepEqual(bits(result.statistics), bits(contiguous.statistics));
  refuses(t, () => attentionSync(q, paged(k), paged(v), { statistics: { columnSums: true }, pages }), {
    code: 'ERR_UNSUPPORTED',
    argument: 'options.statistics.columnSums',
  });
});

test('no queries, no keys, no sequences', (t) => {
  const at = (batch: number, queries: number, keys: number) =>
    attentionSync(
      Tensor.from(new Float32Array(batch * queries * 8), [batch, 1, queries, 8]),
      Tensor.from(new Float32Array(batch * keys * 8), [batch, 1, keys, 8]),
      Tensor.from(new Float32Array(batch * keys * 8), [batch, 1, keys, 8]),
      { statistics: { mass: [[0, 0]], topK: 2, blocks: { blockSize: [2, 3], max: true }, columnSums: true } },
    ).statistics;
  t.deepEqual(at(2, 0, 40_000).columnSums.data, new Float32Array(80_000));
  t.deepEqual(at(2, 5, 0).topK.columns, new Int32Array(20).fill(-1));
  t.deepEqual(at(2, 5, 0).blockSums.shape, [2, 1, 3, 0]);
  t.deepEqual(at(0, 5, 4).columnSums.shape, [0, 1, 4]);
});

test('asynchronous calls have the same bits', async (t) => {
  const one = statisticsCase('masks', 397_003);
  const { query, key, value, options } = callOf(one);
  const all = { ...options, statistics: everything(one) } as AttentionOptions;
  const later = await attention(query, key, value, all);
  t.deepEqual(bits(statisticsOf(later)), bits(statisticsOf(attentionSync(query, key, value, all))));
});

test('what cannot be asked is refused by name', (t) => {
  const x = Tensor.from(new Float32Array(6 * 4), [1, 1, 6, 4]);
  const call =
    (statistics: unknown, more: object = {}) =>
    () =>
      attentionSync(x, x, x, { statistics, ...more } as never);
  const wrong: [unknown, string, string][] = [
    [5, 'ERR_INVALID_ARG_TYPE', ''],
    [{ masses: [] }, 'ERR_UNKNOWN_OPTION', '.masses'],
    [{ mass: [] }, 'ERR_INVALID_ARG_VALUE', '.mass'],
    [{ mass: 'all' }, 'ERR_INVALID_ARG_TYPE', '.mass'],
    [{ mass: [[0, 7]] }, 'ERR_OUT_OF_RANGE', '.mass[0][1]'],
    [
      {
        mass: [
          [0, 3],
          [2, 4],
        ],
      },
      'ERR_OUT_OF_RANGE',
      '.mass[1][0]',
    ],
    [{ mass: [[3, 2]] }, 'ERR_OUT_OF_RANGE', '.mass[0][1]'],
    [{ mass: [[3]] }, 'ERR_SHAPE_MISMATCH', '.mass[0]'],
    [{ mass: [3] }, 'ERR_INVALID_ARG_TYPE', '.mass[0]'],
    [{ columns: [6] }, 'ERR_OUT_OF_RANGE', '.columns[0]'],
    [{ columns: [2, 2] }, 'ERR_OUT_OF_RANGE', '.columns[1]'],
    [{ columns: [5, 6] }, 'ERR_OUT_OF_RANGE', '.columns[1]'],
    [{ columns: [0.5] }, 'ERR_OUT_OF_RANGE', '.columns[0]'],
    [{ topK: 0 }, 'ERR_OUT_OF_RANGE', '.topK'],
    [{ topK: 17 }, 'ERR_OUT_OF_RANGE', '.topK'],
    [{ topK: NaN }, 'ERR_OUT_OF_RANGE', '.topK'],
    [{ blocks: {} }, 'ERR_INVALID_ARG_TYPE', '.blocks.blockSize'],
    [{ blocks: { blockSize: 0 } }, 'ERR_OUT_OF_RANGE', '.blocks.blockSize'],
    [{ blocks: { blockSize: 2, sums: false } }, 'ERR_INVALID_ARG_VALUE', '.blocks.sums'],
    [{ columnSums: 1 }, 'ERR_INVALID_ARG_TYPE', '.columnSums'],
  ];
  const holes = (list: unknown[]): unknown[] => {
    delete list[1];
    return list;
  };
  const gone = new Int32Array([0]);
  structuredClone(gone.buffer, { transfer: [gone.buffer] });
  wrong.push(
    [{ mass: holes([[0, 1], 0, [2, 3]]) }, 'ERR_INVALID_ARG_TYPE', '.mass[1]'],
    [{ mass: new Array(3) }, 'ERR_INVALID_ARG_TYPE', '.mass[0]'],
    [{ mass: [holes([0, 1])] }, 'ERR_INVALID_ARG_TYPE', '.mass[0][1]'],
    [{ columns: holes([0, 1, 2]) }, 'ERR_INVALID_ARG_TYPE', '.columns[1]'],
    [{ columns: gone }, 'ERR_INVALID_ARG_VALUE', '.columns'],
    [{ mass: throwing() }, 'ERR_INVALID_ARG_VALUE', '.mass[0]'],
    [{ mass: [throwing(2)] }, 'ERR_INVALID_ARG_VALUE', '.mass[0][0]'],
    [{ mass: revoked() }, 'ERR_INVALID_ARG_VALUE', '.mass'],
    [{ columns: throwing() }, 'ERR_INVALID_ARG_VALUE', '.columns[0]'],
    [{ blocks: { blockSize: throwing(2) } }, 'ERR_INVALID_ARG_VALUE', '.blocks.blockSize[0]'],
    [revoked({}), 'ERR_INVALID_ARG_VALUE', ''],
  );
  for (const [statistics, code, name] of wrong) {
    refuses(t, call(statistics), { code: code as never, argument: `options.statistics${name}` });
  }
  for (const more of [{ partial: true }, { normalizer: 'sigmoid' }]) {
    refuses(t, call({ topK: 1 }, more), { code: 'ERR_UNSUPPORTED', argument: 'options.statistics' });
  }
  const ragged = { cuSeqlensQ: [0, 6], cuSeqlensKv: [0, 6] };
  const y = x.reshape([6, 1, 4]);
  refuses(t, () => attentionSync(y, y, y, { ...ragged, statistics: { blocks: { blockSize: 2 } } }), {
    code: 'ERR_UNSUPPORTED',
    argument: 'options.statistics.blocks',
  });
  t.is(attentionSync(x, x, x, { statistics: {} }).statistics as unknown, undefined);
});

test('explain says that rows stay whole', (t) => {
  const q = Tensor.from(new Float32Array(8), [1, 1, 1, 8]);
  const k = Tensor.from(new Float32Array(8192 * 8), [1, 1, 8192, 8]);
  t.true(explain(q, k, k, { statistics: { topK: 1 } }).notTaken.some(({ path }) => path === 'split keys'));
});
