// Shapes and options on which this library and onnxruntime's two contrib operators must agree.

export interface OracleCase {
  operator: 'MultiHeadAttention' | 'GroupQueryAttention';
  batch: number;
  headsQ: number;
  headsKv: number;
  queries: number;
  keys: number;
  dimQk: number;
  dimV: number;
  causal: boolean;
  /** Keys that a causal query sees at most. */
  window?: number;
  scale?: number;
  softcap?: number;
  sinks?: boolean;
  /** Keys of each batch entry that are not padding. */
  keyLengths?: readonly number[];
  /** Share of pairs that a [B, 1, Nq, Nkv] mask forbids; key 0 is always allowed. */
  masked?: number;
  /** Broadcast of the additive bias [B | 1, H | 1, Nq, Nkv]. */
  bias?: { batch: boolean; heads: boolean };
  /** Standard deviation of the queries; more makes sharper weights. */
  spread?: number;
}

const mha = (
  [batch, heads, queries, keys, dimQk, dimV = dimQk]: readonly [number, number, number, number, number, number?],
  options: Partial<OracleCase> = {},
): OracleCase => ({
  operator: 'MultiHeadAttention',
  batch,
  headsQ: heads,
  headsKv: heads,
  queries,
  keys,
  dimQk,
  dimV,
  causal: false,
  ...options,
});

const gqa = (
  [batch, headsQ, headsKv, queries, keys, dim]: readonly [number, number, number, number, number, number],
  options: Partial<OracleCase> = {},
): OracleCase => ({
  operator: 'GroupQueryAttention',
  batch,
  headsQ,
  headsKv,
  queries,
  keys,
  dimQk: dim,
  dimV: dim,
  causal: true,
  ...options,
});

export const oracleCases: readonly OracleCase[] = [
  // Dimensions, lengths, batches
  ...[1, 3, 8, 17, 24, 40, 64, 72, 80, 96, 128, 160, 256].map((dim) => mha([1, 2, 33, 33, dim])),
  mha([1, 1, 1, 1, 64]),
  mha([3, 5, 7, 7, 32]),
  mha([2, 8, 129, 129, 64]),
  mha([1, 3, 200, 200, 48]),
  mha([1, 1, 515, 515, 64]),
  mha([1, 2, 64, 64, 64, 32]),
  mha([2, 3, 31, 31, 24, 72]),
  mha([1, 2, 100, 100, 128, 1]),
  // Queries and keys of different number
  mha([1, 4, 1, 300, 64]),
  mha([2, 2, 5, 77, 32]),
  mha([1, 2, 90, 13, 40]),
  mha([2, 3, 17, 257, 80, 16]),
  // Causal, from the first row and over a past
  ...[1, 2, 31, 64, 131].map((rows) => mha([2, 3, rows, rows, 64], { causal: true })),
  mha([1, 2, 300, 300, 40], { causal: true }),
  mha([1, 2, 1, 65, 64], { causal: true }),
  mha([2, 2, 9, 40, 32], { causal: true }),
  // Scale, sharp and flat weights
  mha([1, 2, 50, 50, 64], { scale: 1 }),
  mha([1, 2, 50, 50, 64], { scale: 0.01 }),
  mha([1, 2, 70, 70, 64], { spread: 8 }),
  mha([1, 2, 70, 70, 64], { spread: 8, causal: true }),
  // Key padding, masks, bias
  mha([3, 2, 20, 20, 64], { keyLengths: [20, 1, 13] }),
  mha([2, 4, 64, 64, 32], { keyLengths: [63, 64] }),
  mha([2, 2, 6, 50, 24], { keyLengths: [50, 17] }),
  mha([2, 3, 40, 40, 64], { masked: 0.5 }),
  mha([1, 2, 65, 33, 40], { masked: 0.9 }),
  ...[true, false].flatMap((batch) =>
    [true, false].map((heads) => mha([2, 3, 37, 41, 32], { bias: { batch, heads } })),
  ),
  mha([2, 2, 48, 48, 64], { bias: { batch: true, heads: true }, keyLengths: [48, 30] }),
  mha([1, 4, 33, 33, 64], { bias: { batch: false, heads: true }, causal: true }),
  // Grouped heads
  ...[1, 2, 4, 8].map((headsKv) => gqa([1, 8, headsKv, 65, 65, 64])),
  gqa([2, 6, 2, 40, 40, 32]),
  gqa([1, 14, 2, 33, 33, 128]),
  gqa([1, 2, 1, 130, 130, 8]),
  gqa([1, 3, 3, 20, 20, 256]),
  // A cache: decode, and a chunk of a prompt after others
  gqa([2, 8, 2, 1, 100, 64]),
  gqa([1, 4, 4, 1, 1, 64]),
  gqa([1, 4, 1, 1, 513, 128]),
  gqa([1, 4, 2, 16, 80, 64]),
  // Windows
  ...[1, 4, 16, 64, 200].map((window) => gqa([1, 4, 2, 100, 100, 64], { window })),
  gqa([2, 4, 2, 1, 90, 64], { window: 20 }),
  gqa([1, 4, 1, 12, 90, 32], { window: 33 }),
  // Softcap and sinks
  gqa([1, 4, 2, 70, 70, 64], { softcap: 5 }),
  gqa([1, 4, 2, 70, 70, 64], { softcap: 30, spread: 8 }),
  gqa([2, 4, 1, 1, 70, 64], { softcap: 2, window: 32 }),
  gqa([1, 4, 2, 60, 60, 64], { sinks: true }),
  gqa([2, 8, 2, 1, 60, 64], { sinks: true }),
  gqa([1, 4, 4, 60, 60, 32], { sinks: true, window: 9 }),
  gqa([1, 4, 2, 60, 60, 64], { sinks: true, softcap: 4, window: 24 }),
  // Bias beside grouped heads
  gqa([1, 4, 2, 50, 50, 64], { bias: { batch: false, heads: true } }),
  gqa([2, 4, 2, 30, 30, 64], { bias: { batch: true, heads: false }, softcap: 8 }),
  gqa([1, 4, 2, 50, 50, 64], { scale: 0.3 }),
];

export function describeCase(c: OracleCase): string {
  const { operator, batch, headsQ, headsKv, queries, keys, dimQk, dimV } = c;
  const heads = headsQ === headsKv ? `H ${headsQ}` : `H ${headsQ}/${headsKv}`;
  const dims = dimQk === dimV ? `D ${dimQk}` : `D ${dimQk}/${dimV}`;
  const extras = [
    c.causal && 'causal',
    c.window !== undefined && `window ${c.window}`,
    c.scale !== undefined && `scale ${c.scale}`,
    c.softcap !== undefined && `softcap ${c.softcap}`,
    c.sinks && 'sinks',
    c.keyLengths && `key lengths ${c.keyLengths.join(' ')}`,
    c.masked !== undefined && `masked ${c.masked}`,
    c.bias && `bias [${c.bias.batch ? 'B' : '1'}, ${c.bias.heads ? 'H' : '1'}, Nq, Nkv]`,
    c.spread !== undefined && `spread ${c.spread}`,
  ].filter(Boolean);
  return [operator, `B ${batch}`, heads, `N ${queries}/${keys}`, dims, ...extras].join(', ');
}
