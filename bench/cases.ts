// What is measured: shapes, masks and layouts, one suite after the other.

export type Mask = { kind: 'full' } | { kind: 'causal' } | { kind: 'window'; keys: number };

export interface Case {
  suite: Suite;
  label: string;
  /** Sequences; with `lengths`, as many as there are lengths. */
  batch: number;
  headsQ: number;
  headsKv: number;
  queries: number;
  keys: number;
  dim: number;
  mask: Mask;
  /** Axis order of our inputs and output; 'bshd' is the order that onnxruntime takes too. */
  layout: 'bhsd' | 'bshd';
  /** Ragged self-attention: the rows of each sequence, back to back in [total, H, D]. */
  lengths?: readonly number[];
}

export const SUITES = ['prefill', 'causal', 'window', 'ragged', 'small', 'decode', 'call'] as const;
export type Suite = (typeof SUITES)[number];

const FULL: Mask = { kind: 'full' };
const CAUSAL: Mask = { kind: 'causal' };

function square(suite: Suite, mask: Mask, rows: number, dim: number, layout: Case['layout'] = 'bhsd'): Case {
  const label = `N ${rows}, D ${dim}${layout === 'bshd' ? ', [B, S, H, D]' : ''}`;
  return { suite, label, batch: 1, headsQ: 8, headsKv: 8, queries: rows, keys: rows, dim, mask, layout };
}

function window(rows: number, keys: number): Case {
  const mask: Mask = { kind: 'window', keys };
  return { ...square('window', mask, rows, 64), label: `N ${rows}, W ${keys}, D 64` };
}

function small(rows: number): Case {
  return { ...square('small', FULL, rows, 64), label: `B 64, H 8, N ${rows}, D 64`, batch: 64 };
}

function ragged(what: string, lengths: readonly number[]): Case {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const label = `${what}: ${lengths.length} sequences, ${total} rows, longest ${Math.max(...lengths)}`;
  return { ...square('ragged', FULL, total, 64, 'bshd'), label, batch: lengths.length, lengths };
}

function decode(keys: number, headsKv: number): Case {
  const label = `8 query heads, ${headsKv} key heads, ${keys} keys, D 64`;
  return { ...square('decode', FULL, keys, 64), label, queries: 1, headsKv };
}

function call(rows: number): Case {
  return { ...square('call', FULL, rows, 16), label: `H 1, N ${rows}, D 16`, headsQ: 1, headsKv: 1 };
}

/** Lengths that fall off like those of sentences: many short ones, a few long ones. Always the same. */
function sentenceLengths(count: number, median: number, longest: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const u = (((i * 7919) % count) + 0.5) / count;
    const normal = Math.log(u / (1 - u)) / 1.702; // logistic approximation of the normal quantile
    return Math.max(1, Math.min(longest, Math.round(median * Math.exp(0.7 * normal))));
  });
}

/** @param quick one small case a suite, to see that everything works */
export function cases(quick: boolean): Case[] {
  const all: Record<Suite, Case[]> = {
    prefill: [
      ...[64, 128].flatMap((dim) => [512, 1024, 2048, 4096].map((rows) => square('prefill', FULL, rows, dim))),
      square('prefill', FULL, 2048, 64, 'bshd'),
    ],
    causal: [64, 128].flatMap((dim) => [512, 1024, 2048, 4096].map((rows) => square('causal', CAUSAL, rows, dim))),
    window: [window(2048, 256), window(4096, 256), window(4096, 1024), window(8192, 1024)],
    ragged: [ragged('sentences', sentenceLengths(256, 24, 128)), ragged('paragraphs', sentenceLengths(32, 180, 1024))],
    small: [16, 32, 64, 128].map(small),
    decode: [decode(4096, 8), decode(16384, 8), decode(16384, 2)],
    call: [1, 16].map(call),
  };
  if (!quick) return SUITES.flatMap((suite) => all[suite]);
  return SUITES.flatMap((suite) => all[suite].slice(0, 1));
}

/** Keys that query row `row` of a sequence sees, as [first, end); positions are aligned at the end. */
export function visible(mask: Mask, row: number, queries: number, keys: number): [number, number] {
  if (mask.kind === 'full') return [0, keys];
  const end = Math.max(0, Math.min(keys, row + keys - queries + 1));
  return [mask.kind === 'window' ? Math.max(0, end - mask.keys) : 0, end];
}

/** The sequences of a case: first row and number of rows on both sides, in the tensors' row counting. */
export function sequences(c: Case): { batch: number; rowQ: number; rowKv: number; queries: number; keys: number }[] {
  if (c.lengths === undefined) {
    const { queries, keys } = c;
    return Array.from({ length: c.batch }, (_, batch) => ({ batch, rowQ: 0, rowKv: 0, queries, keys }));
  }
  let row = 0;
  return c.lengths.map((length) => {
    row += length;
    return { batch: 0, rowQ: row - length, rowKv: row - length, queries: length, keys: length };
  });
}

/** Useful floating-point operations: 2 for each multiply-add of a visible (query, key) pair, in QK and in PV. */
export function flops(c: Case): number {
  let pairs = 0;
  for (const { queries, keys } of sequences(c)) {
    for (let row = 0; row < queries; row++) {
      const [first, end] = visible(c.mask, row, queries, keys);
      pairs += end - first;
    }
  }
  return pairs * c.headsQ * 4 * c.dim;
}
