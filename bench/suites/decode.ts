import { bytesOfKeysAndValues, square, type Case } from '../case.js';

const KEYS = 16384;

const step = (dim: number, headsKv: number, dtype: Case['dtype']): Case =>
  square('decode', KEYS, dim, {
    label: `8/${headsKv} heads, ${KEYS} keys, D ${dim}, ${dtype}`,
    queries: 1,
    headsKv,
    dtype,
  });

const HEADS = [8, 2, 1];
const DIMS = [64, 128];

/** A token through KvCache: its key and value appended, then its query. */
const steps = (): Case[] => {
  const plain: Case = { ...step(64, 2, 'float32'), cache: { rope: false } };
  const label = `KvCache step, 8/2 heads, ${KEYS} keys, D 64`;
  return [
    { ...plain, label: `${label}, float32` },
    { ...plain, label: `${label}, float32, rope`, cache: { rope: true } },
    {
      ...plain,
      label: `${label}, float32, window 1024, 4 pinned`,
      mask: { kind: 'pinned', keys: 1024, pinned: 4 },
    },
  ];
};

/**
 * One query over a long cache, by query heads over key heads, and steps of a decode loop. Caches that fit into the
 * processor's stay in it.
 */
export const decode = (): Case[] => [
  ...DIMS.flatMap((dim) =>
    HEADS.flatMap((headsKv) => (['float32', 'float16', 'bfloat16'] as const).map((dtype) => step(dim, headsKv, dtype))),
  ),
  ...steps(),
];

const COLD_BYTES = 2 ** 27;

function inTurn(one: Case): Case {
  const count = Math.max(2, Math.ceil(COLD_BYTES / bytesOfKeysAndValues(one)));
  return { ...one, suite: 'layers', layers: count, label: `${one.label}, ${count} caches` };
}

/** The same over one cache after the other, as the layers of a model come: 128 MiB or more, which no processor keeps. */
export const layers = (): Case[] =>
  DIMS.flatMap((dim) =>
    HEADS.flatMap((headsKv) => [inTurn(step(dim, headsKv, 'float32')), inTurn(step(dim, headsKv, 'float16'))]),
  );
