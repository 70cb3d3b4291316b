// Small calls that take every path of a kernel, with an edge at every place where it has one: of tiles, of what rows see,
// of tensors. Keys that nobody sees are NaN, and so is what lies between the elements of tensors.

import { documents, mask, prefixLm, Tensor, type Mask } from '../../../lib/index.js';
import { callOf, type Call } from '../../reference/call.js';
import { plainCase, type Case } from '../../reference/case.js';
import { attendHead } from '../../reference/attention.js';
import { headsOf, type Expected } from '../../reference/expected.js';
import { encode16, type Dtype } from '../../reference/half.js';
import { lp } from '../../reference/lp.js';
import { copy } from '../../reference/poison.js';
import { valuesOf, type Values } from '../../reference/values.js';

/** A mask of the library's, and what it shows where queries are counted from the first key on (`align: 'top-left'`). */
interface Shown {
  mask: Mask;
  allowed(row: number, key: number): boolean;
}

export interface Check {
  readonly test: Case;
  readonly call: Call;
  readonly expected: Expected;
}

interface Shape {
  family: 'forward' | 'decode' | 'merge';
  dtype: Dtype;
  dim: number;
  general: boolean;
  /** Of a block, and of a tile. */
  queries: number;
  keys: number;
}

/** As the names of the kernels say it, and native and device code cut their work up. */
function shapeOf(kernel: string): Shape {
  const [, name, type, dim = 64, special] =
    /^(forward|decode|merge)_(f16|bf16|f32)(?:_(\d+))?(_general)?$/u.exec(kernel) ?? [];
  if (type === undefined) throw new Error(`no calls are known that take ${kernel}`);
  const family = name as Shape['family'];
  const dtype = ({ f16: 'float16', bf16: 'bfloat16', f32: 'float32' } as const)[type as 'f16' | 'bf16' | 'f32'];
  const shape = { family, dtype, dim: Number(dim), general: special !== undefined || family !== 'forward' };
  if (family !== 'forward') return { ...shape, queries: 16, keys: 16 };
  const wide = Number(dim) * (type === 'f32' ? 4 : 2) > 256;
  return { ...shape, queries: wide ? 64 : 128, keys: wide ? (type === 'f32' ? 16 : 32) : 64 };
}

/** With what only the general instances have. */
function caseOf({ dtype, dim, general }: Shape, seed: number, parts: Partial<Case>): Case {
  return plainCase(seed, dtype, dim, { entropy: general, ...parts });
}

/** Keys and values that no query sees, of any head that shares them, become NaN. */
function poisonUnseen(test: Case, heads: Expected['heads'], values: Values): Values {
  const poisoned = copy(values);
  const group = test.headsQ / test.headsKv;
  heads.forEach((list, s) => {
    list.forEach(({ keys }, h) => {
      if (h % group !== 0) return;
      for (let key = 0; key < keys; key++) {
        const seen = list
          .slice(h, h + group)
          .some(({ queries, allowed }) =>
            Array.from({ length: queries }, (_, row) => row).some((row) => allowed(row, key)),
          );
        if (seen) continue;
        poisoned.key[s]![h / group]!.fill(NaN, key * test.dimQk, (key + 1) * test.dimQk);
        poisoned.value[s]![h / group]!.fill(NaN, key * test.dimV, (key + 1) * test.dimV);
      }
    });
  });
  return poisoned;
}

function checkOf(test: Case, shown?: Shown): Check {
  const values = valuesOf(test);
  const heads = headsOf(test, values).map((list) =>
    list.map((head) => ({
      ...head,
      allowed: (row: number, key: number) => head.allowed(row, key) && (shown?.allowed(row, key) ?? true),
    })),
  );
  const call = callOf(test, poisonUnseen(test, heads, values));
  if (shown) call.options.mask = [call.options.mask ?? [], shown.mask].flat() as NonNullable<typeof call.options.mask>;
  const output = test.dtypes.query;
  return {
    test,
    call,
    expected: {
      heads,
      results: heads.map((list) => list.map((head) => attendHead(head))),
      lp: output === 'float32' ? null : heads.map((list) => list.map((head) => lp(head, { ...test.dtypes, output }))),
    },
  };
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, n) => n);

/** Of a kernel, those first that find most. */
export function checksOf(kernel: string): Check[] {
  const shape = shapeOf(kernel);
  const { dim, general, queries: block, keys: tile } = shape;
  let seed = 0;
  const check = (parts: Partial<Case>, shown?: Shown): Check => checkOf(caseOf(shape, ++seed, parts), shown);
  const odd = { dimQk: dim - 21, dimV: dim - 24 };
  const strided = { query: 'strided', key: 'strided', value: 'offset' } as const;
  if (shape.family !== 'forward') return fewChecks(shape, check);
  return [
    // Many tiles, so that each stage is used again; scores that raise the reference of some rows.
    check({ queries: 37, keys: 4 * tile + 39, headsQ: 2, scores: 'wide' }),
    check({ queries: block + 3, keys: block + 3, causal: true, headsQ: 4, headsKv: 2, ...odd, storage: strided }),
    // Both ends of what rows see, at every place of a tile.
    ...[0, 8, 16, 24].map((shift) => check({ queries: block, keys: block + shift, window: [3, 4] })),
    // First and last tiles that are seen in part, from and to any row of them.
    ...upTo(4).map((n) => check({ queries: 19, keys: 3 * tile + 5 + n * 16, window: [tile + 7, Infinity], ...odd })),
    ...upTo(tile / 16).map((n) => check({ queries: 19, keys: 5 + n * 16 })),
    // No statistics.
    check({ queries: 40, keys: 20, lse: false }),
    // The last query at every place of a block; up to 16 of them are few, and take another kernel.
    ...upTo(block / 8).map((n) => {
      const before = n < 2 ? block : 0;
      return check({ queries: before + 8 * n + 5, keys: before + block + 1, causal: true, align: 'top-left' });
    }),
    // Lists of sequences; rows of padding; the signs of queries.
    check({
      batch: 5,
      lengths: 'padded',
      queries: 48,
      keys: 90,
      lengthsQ: [37, 45, 21, 29, 48],
      lengthsKv: [80, 1, 67, 12, 90],
      sinks: true,
      scale: -0.3,
      dimQk: dim - 1,
      dimV: dim - 3,
    }),
    check({ batch: 3, lengths: 'ragged', lengthsQ: [25, 19, 40], lengthsKv: [70, 0, 33], causal: true, headsQ: 2 }),
    // Ranges of keys that do not move on with their rows.
    check({ queries: 65, keys: 65 }, prefix(23)),
    check({ queries: 85, keys: 85, ...odd }, documentsOf(upTo(85).map((n) => Math.floor(Math.sqrt(n))))),
    ...(general ? [paged(check({ batch: 2, queries: block + 3, keys: block + 12, causal: true, headsQ: 2 }), 0)] : []),
    ...(general ? generalChecks(shape, check) : []),
  ];
}

/** Keys and values in pages of seven rows, the last page first; all else of the pool is NaN. The table has spare slots. */
function paged(check: Check, spare = 1): Check {
  const { key, options } = check.call;
  const [batch, heads, keys] = key.shape as [number, number, number];
  const rows = 7;
  const slots = Math.ceil(keys / rows) + spare;
  const pages = batch * slots;
  const table = Array.from({ length: batch }, (_, b) => upTo(slots).map((slot) => pages - 1 - b * slots - slot));
  const pool = (tensor: Tensor): Tensor => {
    const dim = tensor.shape[3]!;
    const values = tensor.toFloat32();
    const filled = new Float32Array(pages * heads * rows * dim).fill(NaN);
    for (let line = 0; line < batch * heads * keys; line++) {
      const [b, h, n] = [Math.floor(line / keys / heads), Math.floor(line / keys) % heads, line % keys];
      const page = table[b]![Math.floor(n / rows)]!;
      filled.set(values.subarray(line * dim, (line + 1) * dim), ((page * heads + h) * rows + (n % rows)) * dim);
    }
    const shape = [pages, heads, rows, dim];
    const { dtype } = tensor;
    if (dtype === 'float32') return Tensor.from(filled, shape);
    return Tensor.from(
      Uint16Array.from(filled, (x) => encode16(dtype as 'float16', x)),
      shape,
      { dtype },
    );
  };
  const { lengthsKv, ...others } = options;
  const lengths = (lengthsKv as number[] | undefined) ?? Array.from({ length: batch }, () => keys);
  const call = { ...check.call, key: pool(key), value: pool(check.call.value) };
  return { ...check, call: { ...call, options: { ...others, pages: { table, lengths } } } };
}

/** Few queries, of heads that share keys, over chunks of 256 of them, which four warps take in turns. */
function fewChecks({ dim }: Shape, check: (parts: Partial<Case>, shown?: Shown) => Check): Check[] {
  const odd = { dimQk: dim - 21, dimV: dim - 23 };
  const every = [true, true, true, true] as [boolean, boolean, boolean, boolean];
  return [
    // Tiles in turns, stages used again, chunks; the reference of some rows is raised.
    check({ queries: 3, keys: 600, headsQ: 10, headsKv: 2, scores: 'wide', rowMax: true }),
    paged(check({ queries: 2, keys: 300, headsQ: 6, headsKv: 2, causal: true, ...odd })),
    // More rows than a block has, and every last one.
    ...[9, 12, 15, 16].map((queries) => check({ queries, keys: 40, headsQ: 3, causal: true, sinks: true, ...odd })),
    // Sequences that fill their part of a table of pages; blocks of one of which rows see keys apart.
    paged(check({ batch: 3, queries: 2, keys: 21, headsQ: 2 }), 0),
    check({ queries: 16, keys: 600, headsQ: 2, window: [20, 3], align: 'top-left' }),
    ...upTo(17).map((n) => check({ queries: 1, keys: 1 + 15 * n, headsQ: n + 1 })),
    // Both ends of what is seen, at every place of a tile.
    ...upTo(16).map((n) => check({ queries: 16, keys: 280 + n, window: [9 + n, 2] })),
    // The same in a tile that is not a warp's first.
    ...upTo(4).map((n) => check({ queries: 2, keys: 242 + 4 * n, window: [150, 2] })),
    // Ranges of keys that do not move on with their rows.
    check({ queries: 16, keys: 50, align: 'top-left' }, prefix(12)),
    check({ queries: 2, keys: 90, lse: false, entropy: false }),
    check({
      batch: 5,
      lengths: 'padded',
      queries: 6,
      keys: 290,
      lengthsQ: [5, 1, 0, 6, 3],
      lengthsKv: [280, 0, 67, 12, 290],
      sinks: true,
      scale: -0.3,
      headsQ: 4,
      headsKv: 2,
      rowMax: true,
      ...odd,
    }),
    paged(
      check({
        batch: 3,
        lengths: 'padded',
        queries: 5,
        keys: 50,
        lengthsQ: [5, 1, 3],
        lengthsKv: [30, 0, 50],
        headsQ: 2,
      }),
    ),
    check({ batch: 3, lengths: 'ragged', lengthsQ: [9, 1, 4], lengthsKv: [70, 0, 333], causal: true, headsQ: 2 }),
    check({ queries: 9, keys: 100, headsQ: 2, rowMax: true, align: 'top-left' }, chequered),
    check({ queries: 2, keys: 700 }, endsOf(690)),
    // Each key is seen by one row.
    check(
      { queries: 16, keys: 250, align: 'top-left' },
      {
        mask: mask('(i, j) => j % 16 === i * 5 % 16'),
        allowed: (row, key) => key % 16 === (row * 5) % 16,
      },
    ),
    check({ queries: 5, keys: 300, headsQ: 4, headsKv: 2, masks: [{ batch: false, head: true }], scores: 'wide' }),
    check({ queries: 4, keys: 270, headsQ: 3, softcap: 5, rowMax: true, bias: { dtype: 'float32', axes: every } }),
    check({ queries: 3, keys: 70, scale: -0.2, bias: { dtype: 'float16', axes: [true, true, false, true] } }),
    ...upTo(8).flatMap((n) =>
      [3, 16].map((queries) => check({ queries, keys: 2 * n + 1, bias: { dtype: 'float32', axes: every } })),
    ),
    // What chunks are put together from: as many of them as there are lanes for, and more.
    ...[1, 7, 8, 9, 17].map((chunks) => check({ queries: 1, keys: 256 * chunks - 3, scores: 'wide', sinks: true })),
    // Scores so far apart that the weights of some chunks are 0. Few components: where one key has all the weight there
    // are no errors that a mean could be compared with.
    ...[2, 12, 28, 30, 31, 32].map((chunks) =>
      check({ queries: 1, keys: 256 * chunks, dimV: 24, scale: 30, scores: 'wide', rowMax: true }),
    ),
  ];
}

const chequered: Shown = {
  mask: mask('(i, j) => (i * 7 + j * 13) % 31 < 12'),
  allowed: (row, key) => (row * 7 + key * 13) % 31 < 12,
};

/** The first keys, and those from one on. */
function endsOf(far: number): Shown {
  return {
    mask: mask('(i, j, { far }) => j < 5 || j >= far', { far }),
    allowed: (_, key) => key < 5 || key >= far,
  };
}

function prefix(length: number): Shown {
  return { mask: prefixLm(length), allowed: (row, key) => key <= row || key < length };
}

function documentsOf(ids: number[]): Shown {
  return { mask: documents(Int32Array.from(ids)), allowed: (row, key) => ids[row] === ids[key] };
}

/** Bits for each pair, biases, softcaps and what is told of rows. */
function generalChecks(
  { dim, queries: block, keys: tile }: Shape,
  check: (parts: Partial<Case>, shown?: Shown) => Check,
): Check[] {
  const every = [true, true, true, true] as [boolean, boolean, boolean, boolean];
  return [
    check({ queries: block + 5, keys: 2 * tile + 9, headsQ: 2, rowMax: true, align: 'top-left' }, chequered),
    check({ queries: 40, keys: 5 * tile + 3, dimV: dim - 3 }, endsOf(4 * tile - 9)),
    check({ queries: 40, keys: 10, lse: false, entropy: false, align: 'top-left' }, chequered),
    check({ queries: 50, keys: 130, headsQ: 2, masks: [{ batch: false, head: true }], sinks: true, scores: 'wide' }),
    check({ batch: 2, queries: 19, keys: 150, masks: ['keys'], softcap: 3, rowMax: true, scores: 'wide' }),
    check({ queries: 45, keys: 77, headsQ: 2, softcap: 5, bias: { dtype: 'float32', axes: every } }),
    check({
      queries: 33,
      keys: 100,
      causal: true,
      scale: -0.2,
      bias: { dtype: 'float16', axes: [true, true, false, true] },
    }),
    // The end of a bias at every column that a lane has.
    ...upTo(tile / 8).flatMap((n) =>
      [1, 2].map((more) => check({ queries: 19, keys: 8 * n + more, bias: { dtype: 'float32', axes: every } })),
    ),
  ];
}
