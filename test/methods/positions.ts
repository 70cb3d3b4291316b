// Positions and biases.

import type { Tensor } from '../../lib/index.js';
import { method } from './method.js';
import type { Methods, Usual } from './method.js';
import {
  attend,
  attendHeads,
  dot,
  grid,
  mix,
  normalised,
  range,
  rowsOf,
  scores,
  softmax,
  sum,
  tensorOf,
} from './plain.js';
import type { Rows } from './plain.js';

const clip = (x: number, low: number, high: number): number => Math.max(low, Math.min(high, x));
const causal = (i: number, j: number): boolean => j <= i;
const plus = (a: readonly number[], b: readonly number[]): number[] => a.map((x, d) => x + b[d]!);
const root8 = Math.sqrt(8);

/** [count, 8] numbers. */
const vectors = (numbers: readonly number[]): Rows => grid(numbers.length / 8, 8, (r, d) => numbers[r * 8 + d]!);

/** Products of each head's rows with one list of vectors, [H, N, vectors]. */
function products(rows: Tensor, list: Rows, factor: number): number[][][] {
  return range(4, (h) => rowsOf(rows, 0, h).map((row) => list.map((a) => factor * dot(row, a))));
}

type Pairing = 'interleaved' | 'halves';
type Angle = (position: number, pair: number) => number;
const rate = (f: number, base = 10000): number => base ** ((-2 * f) / 8);

/** Rows turned pair by pair: (2f, 2f + 1), or (f, f + d/2). */
function turned(rows: Rows, pairing: Pairing, angle: Angle): Rows {
  return rows.map((row, p) => {
    const out = [...row];
    const half = row.length / 2;
    for (let f = 0; f < half; f += 1) {
      const [a, b] = pairing === 'interleaved' ? [2 * f, 2 * f + 1] : [f, f + half];
      const [x, y] = [row[a]!, row[b]!];
      const turn = angle(p, f);
      out[a] = x * Math.cos(turn) - y * Math.sin(turn);
      out[b] = x * Math.sin(turn) + y * Math.cos(turn);
    }
    return out;
  });
}

/** Causal attention of turned queries and keys. */
function rotary({ q, k, v }: Usual, pairing: Pairing, angle: Angle, scale = 1 / root8): Rows[] {
  const turn = (tensor: Tensor, h: number): Rows => turned(rowsOf(tensor, 0, h), pairing, angle);
  return range(4, (h) => attend(turn(q, h), turn(k, h), rowsOf(v, 0, h), { sees: causal, scale }));
}

export const positions: Methods = {
  'Relative position representations': method(
    (source) => {
      const q = source.tensor([1, 4, 32, 8]);
      const a = vectors(source.numbers(9 * 8));
      return { q, slab: products(q, a, 1 / root8), paper: a };
    },
    ({ q, k, v, paper: a }) => ({
      output: range(4, (h) => {
        const keys = rowsOf(k, 0, h);
        return rowsOf(q, 0, h).map((row, i) => {
          const raw = keys.map((key, j) => dot(row, plus(key, a[clip(j - i, -4, 4) + 4]!)) / root8);
          return mix(softmax(raw), rowsOf(v, 0, h));
        });
      }),
    }),
  ),

  'Music Transformer': method(
    (source) => {
      const q = source.tensor([1, 4, 32, 8]);
      const e = vectors(source.numbers(32 * 8));
      return { q, slab: products(q, e, 1 / root8), paper: e };
    },
    ({ q, k, v, paper: e }) => ({
      output: range(4, (h) => {
        const queries = rowsOf(q, 0, h);
        const relative = (s: number, i: number, j: number): number => (s + dot(queries[i]!, e[i - j]!)) / root8;
        return attend(queries, rowsOf(k, 0, h), rowsOf(v, 0, h), {
          scale: 1,
          sees: causal,
          score: relative,
        });
      }),
    }),
  ),

  'Transformer-XL': method(
    (source) => {
      const q = source.tensor([1, 4, 16, 8]);
      const [u, w] = [source.numbers(8), source.numbers(8)];
      const r = vectors(source.numbers(32 * 8));
      const add = (x: number[]): Tensor => tensorOf(range(4, (h) => rowsOf(q, 0, h).map((row) => plus(row, x))));
      return { q, qu: add(u), slab: products(add(w), r, 1 / root8), paper: { u, w, r } };
    },
    ({ q, k, v, paper: { u, w, r } }) => ({
      output: range(4, (h) => {
        const [keys, values] = [rowsOf(k, 0, h), rowsOf(v, 0, h)];
        return rowsOf(q, 0, h).map((row, n) => {
          const i = n + 16; // behind the 16 keys of the segment before
          const raw = keys.map((key, j) => (j > i ? -Infinity : dot(plus(row, u), key) + dot(plus(row, w), r[i - j]!)));
          return mix(softmax(raw.map((s) => s / root8)), values);
        });
      }),
    }),
  ),

  DeBERTa: method(
    (source) => {
      const [q, k] = [source.tensor([1, 4, 32, 8]), source.tensor([1, 4, 32, 8])];
      const [r, t] = [vectors(source.numbers(10 * 8)), vectors(source.numbers(10 * 8))];
      const factor = 1 / Math.sqrt(24);
      return {
        q,
        k,
        toPosition: products(q, r, factor),
        fromPosition: products(k, t, factor),
        paper: { r, t },
      };
    },
    ({ q, k, v, paper: { r, t } }) => ({
      output: range(4, (h) => {
        const delta = (a: number, b: number): number => (a - b <= -5 ? 0 : a - b >= 5 ? 9 : a - b + 5);
        const [queries, keys] = [rowsOf(q, 0, h), rowsOf(k, 0, h)];
        const score = (s: number, i: number, j: number): number =>
          (s + dot(queries[i]!, r[delta(i, j)]!) + dot(keys[j]!, t[delta(j, i)]!)) / Math.sqrt(24);
        return attend(queries, keys, rowsOf(v, 0, h), { scale: 1, score });
      }),
    }),
  ),

  TUPE: method(
    (source) => {
      const [q, k] = [source.tensor([1, 4, 32, 8]), source.tensor([1, 4, 32, 8])];
      const [a, b] = [vectors(source.numbers(32 * 8)), vectors(source.numbers(32 * 8))];
      const join = (x: Tensor, places: Rows): Tensor =>
        tensorOf(range(4, (h) => rowsOf(x, 0, h).map((row, n) => row.concat(places[n]!))));
      return { q, k, qa: join(q, a), kb: join(k, b), paper: { a, b } };
    },
    ({ q, k, v, paper: { a, b } }) => ({
      output: attendHeads({ q, k, v }, () => ({
        scale: 1 / Math.sqrt(16),
        score: (s, i, j) => s + dot(a[i]!, b[j]!) / Math.sqrt(16),
      })),
    }),
  ),

  ALiBi: method(
    () => ({}),
    (inputs) => ({
      output: attendHeads(inputs, (h) => ({
        sees: causal,
        score: (s, i, j) => s - (i - j) / 4 ** (h + 1),
      })),
    }),
  ),

  'T5 relative bias': method(
    (source) => ({ weights: range(32, () => source.numbers(4)) }),
    ({ q, k, v, weights }) => ({
      output: attendHeads({ q, k, v }, (h) => ({
        scale: 1,
        sees: causal,
        score: (s, i, j) => {
          const away = i - j; // 16 exact buckets, 16 of logarithms up to 128
          const bucket = away < 16 ? away : 16 + Math.floor((Math.log(away / 16) / Math.log(128 / 16)) * 16);
          return s + weights[bucket]![h]!;
        },
      })),
    }),
  ),

  KERPLE: method(
    (source) => ({ r1: source.between(0.2, 2, 4), r2: source.between(0.2, 2, 4) }),
    ({ q, k, v, r1, r2 }) => ({
      output: attendHeads({ q, k, v }, (h) => ({
        sees: causal,
        score: (s, i, j) => s - r1[h]! * Math.log(1 + r2[h]! * Math.abs(i - j)),
      })),
    }),
  ),

  'Forgetting Transformer': method(
    (source) => {
      const gates = range(4, () => source.between(0.3, 1, 32));
      return {
        kept: gates.map((row) => row.map((_, i) => sum(row.slice(0, i + 1).map(Math.log)))),
        paper: gates,
      };
    },
    ({ q, k, v, paper: gates }) => ({
      output: attendHeads({ q, k, v }, (h) => ({
        sees: causal,
        score: (s, i, j) => s + sum(gates[h]!.slice(j + 1, i + 1).map(Math.log)),
      })),
    }),
  ),

  'Localness modelling': method(
    (source) => ({ centre: source.between(0, 31, 32), width: source.between(1, 6, 32) }),
    ({ q, k, v, centre, width }) => ({
      output: attendHeads({ q, k, v }, () => ({
        score: (s, i, j) => s - (j - centre[i]!) ** 2 / (2 * width[i]! ** 2),
      })),
    }),
  ),

  'Monotonic location attention': method(
    (source) => ({
      centre: range(4, () => source.between(0, 31, 32)),
      width: range(4, () => source.between(1, 6, 32)),
    }),
    ({ v, centre, width }) => ({
      output: range(4, (h) =>
        range(32, (i) => {
          const [mu, sigma] = [centre[h]![i]!, width[h]![i]!];
          return mix(normalised(range(32, (j) => Math.exp(-((j - mu) ** 2) / (2 * sigma ** 2)))), rowsOf(v, 0, h));
        }),
      ),
    }),
  ),

  RoPE: method(
    () => ({}),
    (inputs) => ({ output: rotary(inputs, 'interleaved', (p, f) => p * rate(f)) }),
  ),

  'Position interpolation': method(
    () => ({}),
    (inputs) => ({ output: rotary(inputs, 'halves', (p, f) => ((p * 16) / 32) * rate(f)) }),
  ),

  YaRN: method(
    () => {
      // 4 times 16 positions. Pairs that turn more than beta times in 16 stay, those below alpha are interpolated.
      const [factor, length, alpha, beta] = [4, 16, 0.25, 1.5] as const;
      const frequencies = range(4, (f) => {
        const kept = clip(((length * rate(f)) / (2 * Math.PI) - alpha) / (beta - alpha), 0, 1);
        return (1 - kept) * (rate(f) / factor) + kept * rate(f);
      });
      return { frequencies };
    },
    ({ q, k, v, frequencies }) => {
      const longer = 0.1 * Math.log(4) + 1;
      return {
        output: rotary({ q, k, v }, 'halves', (p, f) => p * frequencies[f]!, (longer * longer) / root8),
      };
    },
  ),

  'Attention Buckets': method(
    () => ({}),
    (inputs) => ({
      outputs: [10000, 17500, 25000].map((base) => rotary(inputs, 'halves', (p, f) => p * rate(f, base))),
    }),
  ),

  SelfExtend: method(
    (source) => {
      const [plainQ, plainK] = [source.tensor([1, 4, 32, 8]), source.tensor([1, 4, 32, 8])];
      const turn = (x: Tensor, place: (p: number) => number): Tensor =>
        tensorOf(range(4, (h) => turned(rowsOf(x, 0, h), 'halves', (p, f) => place(p) * rate(f))));
      return {
        q: turn(plainQ, (p) => p),
        k: turn(plainK, (p) => p),
        qFar: turn(plainQ, (p) => Math.floor(p / 4) + 8 - 8 / 4), // window 8, groups of 4
        kFar: turn(plainK, (p) => Math.floor(p / 4)),
        paper: { plainQ, plainK },
      };
    },
    ({ v, paper: { plainQ, plainK } }) => ({
      output: range(4, (h) => {
        const keys = rowsOf(plainK, 0, h);
        // How far apart a pair is: truly so inside the window, else by groups, shifted so that they follow it.
        const away = (i: number, j: number): number =>
          i - j < 8 ? i - j : Math.floor(i / 4) + 8 - 8 / 4 - Math.floor(j / 4);
        return rowsOf(plainQ, 0, h).map((row, i) => {
          const raw = keys.map((key, j) => {
            if (j > i) return -Infinity;
            return dot(turned([row], 'halves', (_, f) => away(i, j) * rate(f))[0]!, key) / root8;
          });
          return mix(softmax(raw), rowsOf(v, 0, h));
        });
      }),
    }),
  ),

  'Log-length scaling': method(
    () => ({}),
    (inputs) => ({
      output: attendHeads(inputs, () => ({
        sees: causal,
        score: (s, i) => (i + 1 > 8 ? s * (Math.log(i + 1) / Math.log(8)) : s),
      })),
    }),
  ),

  'Scalable-Softmax': method(
    (source) => ({ strength: source.between(0.3, 0.8, 4) }),
    ({ q, k, v, strength }) => ({
      output: range(4, (h) =>
        scores(rowsOf(q, 0, h), rowsOf(k, 0, h)).map((row, i) => {
          const powers = row.map((z, j) => (j <= i ? (i + 1) ** (strength[h]! * z) : 0)); // n^(s·z)
          return mix(normalised(powers), rowsOf(v, 0, h));
        }),
      ),
    }),
  ),

  'Selective Self-Attention': method(
    (source) => {
      const beta = -0.5;
      return {
        token: range(4, () => source.between(0.5, 1.5, 32)),
        rate: Math.exp(-Math.exp(beta)),
        paper: beta,
      };
    },
    ({ q, k, v, token, paper: beta }) => ({
      output: attendHeads({ q, k, v }, (h) => ({
        sees: causal,
        score: (s, i) => s * token[h]![i]! * (1 + Math.exp(-Math.exp(beta)) * Math.log(i + 1)),
      })),
    }),
  ),
};
