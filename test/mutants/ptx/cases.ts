// Small calls that take every path of a kernel, with an edge at every place where it has one: of tiles, of what rows see,
// of tensors. Keys that nobody sees are NaN, and so is what lies between the elements of tensors.

import { documents, mask, prefixLm, type Mask } from '../../../lib/index.js';
import { callOf, type Call } from '../../reference/call.js';
import type { Case } from '../../reference/case.js';
import { attendHead } from '../../reference/attention.js';
import { headsOf, type Expected } from '../../reference/expected.js';
import type { Dtype } from '../../reference/half.js';
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
  dtype: Dtype;
  dim: number;
  general: boolean;
  /** Of a block, and of a tile. */
  queries: number;
  keys: number;
}

/** As the names of the kernels say it, and native and device code cut their work up. */
function shapeOf(kernel: string): Shape {
  const [, type, dim, general] = /^forward_(f16|bf16|f32)_(\d+)(_general)?$/u.exec(kernel) ?? [];
  if (type === undefined) throw new Error(`no calls are known that take ${kernel}`);
  const dtype = ({ f16: 'float16', bf16: 'bfloat16', f32: 'float32' } as const)[type as 'f16' | 'bf16' | 'f32'];
  const wide = Number(dim) * (type === 'f32' ? 4 : 2) > 256;
  const keys = wide ? (type === 'f32' ? 16 : 32) : 64;
  return { dtype, dim: Number(dim), general: general !== undefined, queries: wide ? 64 : 128, keys };
}

function caseOf({ dtype, dim, general }: Shape, seed: number, parts: Partial<Case>): Case {
  return {
    seed,
    batch: 1,
    headsQ: 1,
    headsKv: 1,
    dimQk: dim,
    dimV: dim,
    lengths: 'dense',
    queries: 1,
    keys: 1,
    lengthsQ: null,
    lengthsKv: null,
    layout: 'bhsd',
    storage: { query: 'plain', key: 'plain', value: 'plain' },
    dtypes: { query: dtype, key: dtype, value: dtype },
    outputDtype: null,
    align: 'bottom-right',
    causal: false,
    window: null,
    masks: [],
    bias: null,
    softcap: null,
    sinks: false,
    scale: null,
    scores: 'normal',
    lse: true,
    // What only the general instances have.
    entropy: general,
    rowMax: false,
    threads: null,
    ...parts,
  };
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
  return [
    // Many tiles, so that each stage is used again; scores that raise the reference of some rows.
    check({ queries: 37, keys: 4 * tile + 39, headsQ: 2, scores: 'wide' }),
    check({ queries: block + 3, keys: block + 3, causal: true, headsQ: 4, headsKv: 2, ...odd, storage: strided }),
    // Both ends of what rows see, at every place of a tile.
    ...[0, 8, 16, 24].map((shift) => check({ queries: block, keys: block + shift, window: [3, 4] })),
    // First and last tiles that are seen in part, from and to any row of them.
    ...upTo(4).map((n) => check({ queries: 3, keys: 3 * tile + 5 + n * 16, window: [tile + 7, Infinity], ...odd })),
    ...upTo(tile / 16).map((n) => check({ queries: 3, keys: 5 + n * 16 })),
    // No statistics.
    check({ queries: 40, keys: 20, lse: false }),
    // The last query at every place of a block.
    ...upTo(block / 8).map((n) => check({ queries: 8 * n + 5, keys: block + 1, causal: true, align: 'top-left' })),
    // Lists of sequences; rows of padding; the signs of queries.
    check({
      batch: 5,
      lengths: 'padded',
      queries: 40,
      keys: 90,
      lengthsQ: [5, 13, 21, 29, 40],
      lengthsKv: [80, 1, 67, 12, 90],
      sinks: true,
      scale: -0.3,
      dimQk: dim - 1,
      dimV: dim - 3,
    }),
    check({ batch: 3, lengths: 'ragged', lengthsQ: [9, 1, 40], lengthsKv: [70, 0, 33], causal: true, headsQ: 2 }),
    // Ranges of keys that do not move on with their rows.
    check({ queries: 65, keys: 65 }, prefix(23)),
    check({ queries: 85, keys: 85, ...odd }, documentsOf(upTo(85).map((n) => Math.floor(Math.sqrt(n))))),
    ...(general ? generalChecks(shape, check) : []),
  ];
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
  const chequered: Shown = {
    mask: mask('(i, j) => (i * 7 + j * 13) % 31 < 12'),
    allowed: (row, key) => (row * 7 + key * 13) % 31 < 12,
  };
  const far = 4 * tile - 9;
  const ends: Shown = {
    mask: mask('(i, j, { far }) => j < 5 || j >= far', { far }),
    allowed: (_, key) => key < 5 || key >= far,
  };
  const every = [true, true, true, true] as [boolean, boolean, boolean, boolean];
  return [
    check({ queries: block + 5, keys: 2 * tile + 9, headsQ: 2, rowMax: true, align: 'top-left' }, chequered),
    check({ queries: 40, keys: 5 * tile + 3, dimV: dim - 3 }, ends),
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
      [1, 2].map((more) => check({ queries: 3, keys: 8 * n + more, bias: { dtype: 'float32', axes: every } })),
    ),
  ];
}
