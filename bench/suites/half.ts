import { square, type Case } from '../case.js';

const ofType = (rows: number, dim: number, dtype: Case['dtype']): Case =>
  square('half', rows, dim, { label: `N ${rows}, D ${dim}, ${dtype}`, dtype });

/** Dense self-attention in 16-bit types, beside the same in float32. */
export const half = (): Case[] =>
  [64, 128].flatMap((dim) =>
    [512, 2048].flatMap((rows) => (['float16', 'bfloat16'] as const).map((dtype) => ofType(rows, dim, dtype))),
  );
