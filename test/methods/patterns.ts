// Windows, blocks and routing: who sees whom.

import type { Tensor } from '../../lib/index.js';
import { method } from './method.js';
import type { Methods, Usual } from './method.js';
import { attendHeads, dot, range, rowsOf, softmax, sum } from './plain.js';

type Sees = (i: number, j: number, h: number) => boolean;

const floor = Math.floor;

/** Plain attention of the pairs that a rule shows. */
const seen = (inputs: Usual, sees: Sees): { output: number[][][] } => ({
  output: attendHeads(inputs, (h) => ({ sees: (i, j) => sees(i, j, h) })),
});
const pattern = (sees: Sees): Methods[string] =>
  method(
    () => ({}),
    (inputs) => seen(inputs, sees),
  );

/** Means of the rows of each block, [blocks][D]. */
function means(tensor: Tensor, h: number, size: number): number[][] {
  const rows = rowsOf(tensor, 0, h);
  return range(rows.length / size, (block) =>
    rows[0]!.map((_, d) => sum(range(size, (n) => rows[block * size + n]![d]!)) / size),
  );
}

/** The so many largest of those that may be taken, those in `first` before all. */
function best(
  scores: readonly number[],
  count: number,
  may: (c: number) => boolean,
  first: (c: number) => boolean,
): Set<number> {
  const order = range(scores.length, (c) => c).filter((c) => may(c));
  order.sort((a, b) => Number(first(b)) - Number(first(a)) || scores[b]! - scores[a]!);
  return new Set(order.slice(0, count));
}

const cell = (n: number): [number, number] => [floor(n / 8), n % 8];
/** Keys along an axis that a window clamped at the borders shows, in a residue class. */
function near(x: number, c: number, length: number, window: number, dilation = 1): boolean {
  if ((c - x) % dilation !== 0) return false;
  const [own, other, count] = [
    floor(x / dilation),
    floor(c / dilation),
    Math.ceil((length - (x % dilation)) / dilation),
  ];
  const start = Math.min(Math.max(own - floor(window / 2), 0), count - window);
  return other >= start && other < start + window;
}

const ids = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4];
const parents = [-1, 0, 0, 1, 2, 2, -1, 6];
const ancestors = (n: number): number[] => (n < 0 ? [] : [n, ...ancestors(parents[n]!)]);

export const patterns: Methods = {
  'Sliding window': pattern((i, j) => j <= i && i - j <= 7),
  Longformer: pattern((i, j) => Math.abs(i - j) <= 4 || i < 2 || j < 2),
  'Dilated sliding window': pattern((i, j) => Math.abs(i - j) <= 12 && (i - j) % 3 === 0),
  'Sparse Transformers, strided': pattern((i, j) => j <= i && (i - j < 6 || (i - j) % 6 === 0)),
  'Sparse Transformers, fixed': pattern((i, j) => j <= i && (floor(i / 8) === floor(j / 8) || j % 8 >= 6)),
  'Local blocks': pattern((i, j) => Math.abs(floor(i / 4) - floor(j / 4)) <= 1),
  BigBird: method(
    () => ({
      drawn: range(4, (h) =>
        range(8, (r) => [(r + 3 + h) % 8, (r + 5 + 2 * h) % 8].filter((c, n, all) => all.indexOf(c) === n)),
      ),
    }),
    (inputs) =>
      seen(inputs, (i, j, h) => {
        const [r, c] = [floor(i / 4), floor(j / 4)];
        return Math.abs(r - c) <= 1 || r < 1 || c < 1 || inputs.drawn[h]![r]!.includes(c);
      }),
  ),
  StreamingLLM: pattern((i, j) => j <= i && (i - j <= 7 || j < 4)),
  'MInference, vertical and slash': method(
    () => ({ vertical: [[0, 9], [1], [20], [3, 4]], slash: [[0, 6], [0], [0, 1, 15], [0, 10]] }),
    (inputs) =>
      seen(inputs, (i, j, h) => {
        const first = floor(i / 4) * 4;
        const along = range(4, (n) => first + n - j).some((distance) => inputs.slash[h]!.includes(distance));
        return j <= i && (inputs.vertical[h]!.includes(j) || along);
      }),
  ),
  'S2-Attention': pattern((i, j, h) => {
    const [r, c] = [floor(i / 4), floor(j / 4)];
    return j <= i && (r - c < 2 || (c + h + 1) % 4 === 0);
  }),
  LongLoRA: pattern((i, j, h) => {
    const shift = h < 2 ? 0 : 4;
    return j <= i && floor((i + shift) / 8) === floor((j + shift) / 8);
  }),
  MoBA: method(
    () => ({}),
    (inputs) => {
      const chosen = range(4, (h) => {
        const pooled = means(inputs.k, h, 8);
        return rowsOf(inputs.q, 0, h).map((row, i) => {
          const own = floor(i / 8);
          const gates = pooled.map((mean) => dot(row, mean));
          return best(
            gates,
            2,
            (c) => c <= own,
            (c) => c === own,
          );
        });
      });
      return seen(inputs, (i, j, h) => j <= i && chosen[h]![i]!.has(floor(j / 8)));
    },
  ),
  SpargeAttn: method(
    () => ({}),
    (inputs) => {
      const chosen = range(4, (h) => {
        const pooled = means(inputs.k, h, 4);
        return means(inputs.q, h, 4).map((mean, r) => {
          const weights = softmax(pooled.map((other) => dot(mean, other) / Math.sqrt(8)));
          const order = range(8, (c) => c).sort((a, b) => weights[b]! - weights[a]!);
          const taken = new Set([0, r]);
          for (const c of order) {
            if (sum([...taken].map((other) => weights[other]!)) >= 0.6) break;
            taken.add(c);
          }
          return taken;
        });
      });
      return seen(inputs, (i, j, h) => chosen[h]![floor(i / 4)]!.has(floor(j / 4)));
    },
  ),
  SeerAttention: method(
    (source) => ({ gate: source.tensor([1, 4, 8, 8]) }),
    (inputs) => {
      const chosen = range(4, (h) =>
        rowsOf(inputs.gate, 0, h).map((scores, r) =>
          best(
            scores,
            3,
            (c) => c <= r,
            (c) => c === r,
          ),
        ),
      );
      return seen(inputs, (i, j, h) => j <= i && chosen[h]![floor(i / 4)]!.has(floor(j / 4)));
    },
  ),
  BiFormer: method(
    () => ({}),
    (inputs) => {
      const chosen = range(4, (h) => {
        const pooled = means(inputs.k, h, 8);
        return means(inputs.q, h, 8).map((mean) =>
          best(
            pooled.map((other) => dot(mean, other)),
            2,
            () => true,
            () => false,
          ),
        );
      });
      return seen(inputs, (i, j, h) => chosen[h]![floor(i / 8)]!.has(floor(j / 8)));
    },
  ),
  'Routing Transformer': method(
    (source) => ({ cluster: { data: Int32Array.from(source.integers(0, 3, 128)), shape: [4, 32] } }),
    (inputs) =>
      seen(inputs, (i, j, h) => j <= i && inputs.cluster.data[h * 32 + i] === inputs.cluster.data[h * 32 + j]),
  ),
  'Chunked attention': pattern((i, j) => j <= i && floor(i / 8) === floor(j / 8)),
  'Prefix LM': pattern((i, j) => j <= i || j < 12),
  'Packed documents': method(
    () => ({ ids }),
    (inputs) => seen(inputs, (i, j) => j <= i && ids[i] === ids[j]),
  ),
  'Prefix sharing': pattern((i, j) => {
    const branch = (n: number): number => (n < 10 ? 0 : n < 20 ? 1 : 2);
    return j <= i && (j < 10 || branch(i) === branch(j));
  }),
  'Tree verification': method(
    (source) => ({ q: source.tensor([1, 4, 8, 8]), parents }),
    (inputs) => seen(inputs, (i, j) => j < 24 || ancestors(i).includes(j - 24)),
  ),
  'Neighborhood attention': pattern((i, j) => {
    const [[y, x], [r, c]] = [cell(i), cell(j)];
    return near(y, r, 4, 3) && near(x, c, 8, 3);
  }),
  'Dilated neighborhood attention': pattern((i, j) => {
    const [[y, x], [r, c]] = [cell(i), cell(j)];
    return near(y, r, 4, 2, 2) && near(x, c, 8, 3, 2);
  }),
  Swin: pattern((i, j) => floor((i % 8) / 4) === floor((j % 8) / 4)),
  HaloNet: pattern((i, j) => {
    const [[y, x], [r, c]] = [cell(i), cell(j)];
    const halo = (own: number, other: number): boolean => {
      const first = floor(own / 2) * 2;
      return other >= first - 1 && other <= first + 2;
    };
    return halo(y, r) && halo(x, c);
  }),
  'Criss-cross attention': pattern((i, j) => i % 8 === j % 8 || floor(i / 8) === floor(j / 8)),
  'Axial attention': method(
    () => ({}),
    (inputs) => ({
      rows: seen(inputs, (i, j) => floor(i / 8) === floor(j / 8)).output,
      columns: seen(inputs, (i, j) => i % 8 === j % 8).output,
    }),
  ),
};
