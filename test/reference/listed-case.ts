// Random layouts of blocks, as the mask tensor that each stands for, and whether a call with one of them equals it.

import {
  BlockMask,
  Tensor,
  and,
  attentionSync,
  blockSparse,
  causal,
  explain,
  not,
  or,
  slidingWindow,
} from '../../lib/index.js';
import type { BlockLayoutInput, BlockSparseOptions, MaskItem } from '../../lib/index.js';
import type { Random } from './random.js';

export interface Layout {
  readonly sizeQ: number;
  readonly sizeK: number;
  readonly rows: number;
  readonly columns: number;
  readonly batches: number;
  readonly heads: number;
  readonly byRow: boolean;
  readonly cells: Uint8Array;
}

export function layoutSees(layout: Layout, b: number, h: number, i: number, j: number): boolean {
  const { sizeQ, sizeK, rows, columns, batches, heads, cells } = layout;
  const matrix = (batches === 1 ? 0 : b) * heads + (heads === 1 ? 0 : h);
  return cells[(matrix * rows + Math.floor(i / sizeQ)) * columns + Math.floor(j / sizeK)] === 1;
}

/** Mostly empty, mostly full, or anything between. */
export function randomLayout(random: Random, form: Omit<Layout, 'cells'>): Layout {
  const density = random.unit() ** 2;
  const count = form.batches * form.heads * form.rows * form.columns;
  return { ...form, cells: Uint8Array.from({ length: count }, () => Number(random.unit() < density)) };
}

const shapeOf = ({ batches, heads, rows, columns }: Layout): number[] => [batches, heads, rows, columns];

export function listsOf({ batches, heads, rows, columns, cells }: Layout): number[][][][] {
  const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n);
  return range(batches).map((b) =>
    range(heads).map((h) =>
      range(rows).map((r) => range(columns).filter((c) => cells[((b * heads + h) * rows + r) * columns + c] === 1)),
    ),
  );
}

function csrOf(layout: Layout, random: Random): BlockLayoutInput {
  const lists = listsOf(layout).flat(2);
  const indptr = [0];
  for (const list of lists) indptr.push(indptr.at(-1)! + list.length);
  // In any order.
  const indices = lists.flatMap((list) => (random.chance(0.5) ? list : [...list].reverse()));
  return { indptr: Int32Array.from(indptr), indices, shape: shapeOf(layout) };
}

/** The layout as one of the forms that it may be given in. */
export function maskOf(layout: Layout, kind: number, random: Random): BlockMask {
  const { sizeQ, sizeK, byRow, columns } = layout;
  const options: BlockSparseOptions = { blockSize: [sizeQ, sizeK], rows: byRow ? 'row' : 'position' };
  switch (kind % 3) {
    case 0:
      return blockSparse(Tensor.from(layout.cells, shapeOf(layout), { dtype: 'bool' }), options);
    case 1:
      return blockSparse(csrOf(layout, random), options);
    default:
      return blockSparse(listsOf(layout), { ...options, columns });
  }
}

type Shape = readonly [number, number, number, number];
type Sees = (b: number, h: number, r: number, c: number) => boolean;

export function pairTensor([B, H, nq, nkv]: Shape, sees: Sees): Tensor {
  const cells = new Uint8Array(B * H * nq * nkv);
  let n = 0;
  for (let b = 0; b < B; b += 1)
    for (let h = 0; h < H; h += 1)
      for (let r = 0; r < nq; r += 1) for (let c = 0; c < nkv; c += 1) cells[n++] = Number(sees(b, h, r, c));
  return Tensor.from(cells, [B, H, nq, nkv], { dtype: 'bool' });
}

export function randomTensor(random: Random, shape: readonly number[]): Tensor {
  const length = shape.reduce((a, b) => a * b, 1);
  return Tensor.from(
    Float32Array.from({ length }, () => 2 * random.unit() - 1),
    shape,
  );
}

export function difference(a: Tensor, b: Tensor): number {
  const [x, y] = [a.toFloat32(), b.toFloat32()];
  return x.reduce((worst, value, n) => (value === y[n] ? worst : Math.max(worst, Math.abs(value - y[n]!))), 0);
}

/** What is wrong with call `n` of a series; null when nothing is. */
export function wrongListed(random: Random, n: number): string | null {
  const many = n % 9 === 0;
  const nq = random.integer(1, many ? 700 : 150);
  const nkv = nq + random.integer(0, many ? 900 : 100);
  const B = 1 + (n % 2);
  const [H, Hkv] = [
    [1, 1],
    [2, 1],
    [4, 4],
    [6, 2],
  ][n % 4] as [number, number];
  const [D, Dv] = [
    [8, 24],
    [32, 16],
    [40, 40],
    [64, 8],
  ][n % 4] as [number, number];
  const byRow = n % 5 === 0;
  const [sizeQ, sizeK] = [Math.floor(128 ** random.unit()), Math.floor(128 ** random.unit())];
  const layout = randomLayout(random, {
    sizeQ,
    sizeK,
    byRow,
    rows: Math.ceil((byRow ? nq : nkv) / sizeQ) + random.integer(0, 1),
    columns: Math.ceil(nkv / sizeK) + random.integer(0, 1),
    batches: random.chance(0.3) ? B : 1,
    heads: random.chance(0.6) ? H : 1,
  });
  const own = maskOf(layout, n, random);
  const by: Sees = (b, h, r, c) => layoutSees(layout, b, h, byRow ? r : r + nkv - nq, c);
  const before = (r: number, c: number): boolean => c <= r + nkv - nq;
  const odd = (r: number, c: number): boolean => (r * 7 + c * 3) % 5 !== 0;
  const near = (r: number, c: number): boolean => before(r, c) && r + nkv - nq - c <= 40;
  const even = pairTensor([1, 1, nq, nkv], (_b, _h, r, c) => odd(r, c));
  const masks: [MaskItem | MaskItem[], Sees][] = [
    [own, by],
    [and(own, causal()), (b, h, r, c) => by(b, h, r, c) && before(r, c)],
    [[causal(), own, even], (b, h, r, c) => by(b, h, r, c) && before(r, c) && odd(r, c)],
    [or(own, causal()), (b, h, r, c) => by(b, h, r, c) || before(r, c)],
    [
      and(causal(), not(and(own, slidingWindow(40, 0)))),
      (b, h, r, c) => before(r, c) && !(by(b, h, r, c) && near(r, c)),
    ],
    [and(own, even), (b, h, r, c) => by(b, h, r, c) && odd(r, c)],
  ];
  const [given, says] = masks[n % masks.length]!;
  const whole = pairTensor([B, H, nq, nkv], says);
  const [q, k, v] = [
    randomTensor(random, [B, H, nq, D]),
    randomTensor(random, [B, Hkv, nkv, D]),
    randomTensor(random, [B, Hkv, nkv, Dv]),
  ];
  const options = { lse: true, softcap: n % 7 === 0 ? 3 : undefined } as const;
  const got = attentionSync(q, k, v, { ...options, mask: given, threads: 1 + (n % 2) });
  const expected = attentionSync(q, k, v, { ...options, mask: whole });
  const at = JSON.stringify({ n, nq, nkv, B, H, Hkv, D, Dv, layout: { ...layout, cells: undefined } });
  for (const name of ['output', 'lse'] as const) {
    const away = difference(got[name], expected[name]);
    if (!(away < 1e-5)) return `${name} is away by ${away}, ${at}`;
  }
  if (Array.isArray(given) || n % masks.length === 5) return null;
  const pairs = whole.toFloat32().reduce((sum, seen) => sum + seen, 0);
  const { flops } = explain(q, k, v, { mask: given });
  return flops === 2 * (D + Dv) * pairs ? null : `${flops} FLOP for ${pairs} pairs, ${at}`;
}

/** The same for lists of a few keys that each query has to itself, in blocks that do not divide the keys. */
export function wrongTokens(random: Random, n: number): string | null {
  const [nq, nkv, H, D] = [random.integer(20, 60), 3 * random.integer(100, 300) + 1 + (n % 2), 2, 40];
  const form = { sizeQ: 1, sizeK: 3, byRow: true, rows: nq, columns: Math.ceil(nkv / 3), batches: 1, heads: H };
  const cells = Uint8Array.from({ length: H * nq * form.columns }, (_, cell) =>
    Number(random.unit() < 0.05 || (cell + 1) % form.columns === 0),
  );
  const layout: Layout = { ...form, cells };
  const whole = pairTensor([1, H, nq, nkv], (b, h, r, c) => layoutSees(layout, b, h, r, c));
  const q = randomTensor(random, [1, H, nq, D]);
  const [k, v] = [randomTensor(random, [1, H, nkv, D]), randomTensor(random, [1, H, nkv, D])];
  const got = attentionSync(q, k, v, { lse: true, mask: maskOf(layout, n, random) });
  const expected = attentionSync(q, k, v, { lse: true, mask: whole });
  for (const name of ['output', 'lse'] as const) {
    const away = difference(got[name], expected[name]);
    if (!(away < 1e-5)) return `${name} is away by ${away}, ${JSON.stringify({ n, nq, nkv })}`;
  }
  return null;
}

/** The same for rows of blocks that each see what those before see and a block more: their keys differ in the end alone. */
export function wrongStairs(random: Random, n: number): string | null {
  const [size, count, H, D] = [8 + 8 * (n % 8), 6, 2, 16];
  const form = { sizeQ: size, sizeK: size, byRow: true, rows: count, columns: count, batches: 1, heads: 1 };
  const cells = Uint8Array.from({ length: count * count }, (_, cell) => Number(cell % count <= cell / count));
  const layout: Layout = { ...form, cells };
  const rows = size * count;
  const whole = pairTensor([1, 1, rows, rows], (b, h, r, c) => layoutSees(layout, b, h, r, c));
  const [q, k, v] = [0, 1, 2].map(() => randomTensor(random, [1, H, rows, D])) as [Tensor, Tensor, Tensor];
  const got = attentionSync(q, k, v, { mask: maskOf(layout, n, random) });
  const away = difference(got.output, attentionSync(q, k, v, { mask: whole }).output);
  return away < 1e-5 ? null : `output is away by ${away}, blocks of ${size}`;
}
