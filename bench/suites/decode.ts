import { square, type Case } from '../case.js';

const KEYS = 16384;

const step = (dim: number, headsKv: number, dtype: Case['dtype']): Case =>
  square('decode', KEYS, dim, {
    label: `8/${headsKv} heads, ${KEYS} keys, D ${dim}, ${dtype}`,
    queries: 1,
    headsKv,
    dtype,
  });

/** One query over a long cache, by query heads over key heads. */
export const decode = (): Case[] =>
  [64, 128].flatMap((dim) =>
    [8, 2, 1].flatMap((headsKv) =>
      (['float32', 'float16', 'bfloat16'] as const).map((dtype) => step(dim, headsKv, dtype)),
    ),
  );
