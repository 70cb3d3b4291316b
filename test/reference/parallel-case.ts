// Cases of attention over a group, and what they should give: the reference over the whole sequence.

import {
  alibi,
  allGatherAttention,
  and,
  attentionSync,
  blockSparse,
  causal,
  documents,
  mask,
  neighborhood,
  parallelAttention,
  ringAttention,
  shard,
  shardLengths,
  slidingWindow,
  stripedAttention,
  Tensor,
  threadGroup,
  treeAttention,
  ulyssesAttention,
  unshard,
} from '../../lib/index.js';
import type { Group, ParallelOptions, ParallelResult, Sharding } from '../../lib/index.js';
import { attendHead, type HeadResult } from './attention.js';
import { Random } from './random.js';
import * as tolerance from './tolerance.js';

/** A pair as programs see it. */
export interface Pair {
  b: number;
  h: number;
  hkv: number;
  i: number;
  j: number;
  row: number;
  col: number;
  nq: number;
  nkv: number;
}

export interface ParallelCase {
  name: string;
  batch: number;
  headsQ: number;
  headsKv: number;
  /** Of each sequence; not ragged: one number each, for all. */
  queries: number[];
  keys: number[];
  ragged?: boolean;
  dimQk: number;
  dimV: number;
  options: ParallelOptions;
  allowed?: (pair: Pair) => boolean;
  score?: (s: number, pair: Pair) => number;
}

/** Few rows of few heads: what counts is who says what to whom. */
export const tinyCase: ParallelCase = {
  name: 'tiny',
  batch: 1,
  headsQ: 3,
  headsKv: 3,
  queries: [12],
  keys: [12],
  dimQk: 4,
  dimV: 4,
  options: {},
};

/** Grouped heads, and rows that no number of ranks divides. */
export const smallCase: ParallelCase = {
  name: 'small',
  batch: 1,
  headsQ: 4,
  headsKv: 2,
  queries: [61],
  keys: [61],
  dimQk: 8,
  dimV: 5,
  options: {},
};

/** How the shards of a function lie where nothing else is asked. */
export function usualSharding(name: Function): Sharding {
  return name === 'striped' ? 'striped' : 'contiguous';
}

const ids = Int32Array.from({ length: 61 }, (_, n) => Math.floor(n / 9) % 4);
const slopes = [0.5, 0.25, 0.125, 0.0625];
const sinks = [0.3, -1, 2, -Infinity];
const blocks = Array.from({ length: 8 }, (_, row) =>
  Array.from({ length: 8 }, (_none, n) => n).filter((n) => (row * n) % 3 !== 1),
);
const grid = { grid: [7, 9], window: [3, 5] };
const near = (place: number, length: number, window: number): number =>
  Math.min(Math.max(place - Math.floor(window / 2), 0), length - window);
const inside = (at: number, start: number, window: number): boolean => at >= start && at < start + window;
const odd = ({ b, h, hkv, i, j, row, col, nq, nkv }: Pair): boolean =>
  (row * 3 + col + i + 2 * j + nq + nkv + h + hkv + b) % 3 !== 0;

const usual = { batch: 2, headsQ: 4, headsKv: 2, queries: [61], keys: [61], dimQk: 8, dimV: 5 };

export const parallelCases: ParallelCase[] = [
  { ...usual, name: 'dense, softcap', options: { softcap: 2 }, score: (s) => 2 * Math.tanh(s / 2) },
  { ...usual, name: 'causal with sinks', options: { mask: causal(), sinks }, allowed: ({ i, j }) => j <= i },
  {
    ...usual,
    name: 'causal, fewer queries than keys',
    queries: [23],
    options: { mask: causal() },
    allowed: ({ i, j }) => j <= i,
  },
  {
    ...usual,
    name: 'top-left, more queries than keys',
    keys: [37],
    options: { mask: causal(), align: 'top-left' },
    allowed: ({ i, j }) => j <= i,
  },
  {
    ...usual,
    name: 'a window smaller than a shard',
    options: { mask: slidingWindow(4, 1) },
    allowed: ({ i, j }) => i - 4 <= j && j <= i + 1,
  },
  {
    ...usual,
    name: 'neighborhood',
    queries: [63],
    keys: [63],
    options: { mask: neighborhood(grid) },
    allowed: ({ i, j }) =>
      inside(Math.floor(j / 9), near(Math.floor(i / 9), 7, 3), 3) && inside(j % 9, near(i % 9, 9, 5), 5),
  },
  {
    ...usual,
    name: 'documents',
    options: { mask: [causal(), documents(ids)] },
    allowed: ({ i, j }) => j <= i && ids[i] === ids[j],
  },
  {
    ...usual,
    name: 'documents of each sequence',
    batch: 12,
    headsQ: 2,
    headsKv: 1,
    options: { mask: documents(Array.from({ length: 12 }, (_, b) => [...ids.keys()].map((n) => (n * (b + 3)) % 7))) },
    allowed: ({ b, i, j }) => (i * (b + 3)) % 7 === (j * (b + 3)) % 7,
  },
  {
    ...usual,
    name: 'alibi',
    options: { mask: causal(), score: alibi(slopes) },
    allowed: ({ i, j }) => j <= i,
    score: (s, { h, i, j }) => s - slopes[h]! * Math.abs(i - j),
  },
  {
    ...usual,
    name: 'a program that reads all there is',
    headsKv: 1,
    queries: [40],
    options: {
      mask: mask(
        '(i, j, { b, h, hkv, row, col, nq, nkv }) => (row * 3 + col + i + 2 * j + nq + nkv + h + hkv + b) % 3 !== 0',
      ),
    },
    allowed: odd,
  },
  {
    ...usual,
    name: 'lists of blocks',
    options: { mask: and(blockSparse(blocks, { blockSize: 8 }), causal()) },
    allowed: ({ i, j }) => j <= i && blocks[Math.floor(i / 8)]!.includes(Math.floor(j / 8)),
  },
  {
    ...usual,
    name: 'hardly any rows',
    queries: [3],
    keys: [5],
    options: { mask: causal() },
    allowed: ({ i, j }) => j <= i,
  },
  {
    ...usual,
    name: 'ragged',
    batch: 4,
    queries: [17, 0, 38, 3],
    keys: [17, 2, 41, 9],
    ragged: true,
    options: { mask: causal(), score: alibi(slopes), sinks },
    allowed: ({ i, j }) => j <= i,
    score: (s, { h, i, j }) => s - slopes[h]! * Math.abs(i - j),
  },
  {
    ...usual,
    name: 'ragged, all that programs read',
    batch: 3,
    queries: [9, 30, 4],
    keys: [12, 30, 20],
    ragged: true,
    options: {
      mask: mask(
        '(i, j, { b, h, hkv, row, col, nq, nkv }) => (row * 3 + col + i + 2 * j + nq + nkv + h + hkv + b) % 3 !== 0',
      ),
    },
    allowed: odd,
  },
];

export interface Whole {
  query: Tensor;
  key: Tensor;
  value: Tensor;
  cuSeqlensQ?: number[];
  cuSeqlensKv?: number[];
}

const sum = (counts: readonly number[]): number => counts.reduce((all, count) => all + count, 0);
const ends = (counts: readonly number[]): number[] => [0, ...counts.map((_, n) => sum(counts.slice(0, n + 1)))];

export function wholeOf(one: ParallelCase, seed = 1): Whole {
  const random = new Random(seed);
  const tensor = (heads: number, counts: readonly number[], dim: number): Tensor => {
    const shape = one.ragged ? [sum(counts), heads, dim] : [one.batch, heads, counts[0]!, dim];
    const count = shape.reduce((all, size) => all * size, 1);
    return Tensor.from(Float32Array.from(random.normals(count)), shape);
  };
  return {
    query: tensor(one.headsQ, one.queries, one.dimQk),
    key: tensor(one.headsKv, one.keys, one.dimQk),
    value: tensor(one.headsKv, one.keys, one.dimV),
    ...(one.ragged ? { cuSeqlensQ: ends(one.queries), cuSeqlensKv: ends(one.keys) } : {}),
  };
}

/** The same on one device. */
export function alone(one: ParallelCase, { query, key, value, ...lengths }: Whole): ParallelResult {
  const { sharding: _, ...options } = one.options;
  return attentionSync(query, key, value, { ...options, ...lengths, lse: true });
}

const functions = {
  ring: ringAttention,
  striped: stripedAttention,
  tree: treeAttention,
  allGather: allGatherAttention,
  ulysses: ulyssesAttention,
  parallel: parallelAttention,
};
export type Function = keyof typeof functions;
export const everyFunction = Object.keys(functions) as Function[];

/** One rank's part. */
export function onRank(
  group: Group,
  name: Function,
  sharding: Sharding,
  options: ParallelOptions,
  whole: Whole,
): Promise<ParallelResult> {
  const { cuSeqlensQ, cuSeqlensKv } = whole;
  const of = (tensor: Tensor, cuSeqlens: number[] | undefined): Tensor =>
    shard(tensor, group, { sharding, ...(cuSeqlens ? { cuSeqlens } : {}) });
  const query = name === 'tree' ? whole.query : of(whole.query, cuSeqlensQ);
  const lengths =
    cuSeqlensQ && cuSeqlensKv
      ? {
          cuSeqlensQ: name === 'tree' ? cuSeqlensQ : shardLengths(cuSeqlensQ, group, { sharding }),
          cuSeqlensKv: shardLengths(cuSeqlensKv, group, { sharding }),
        }
      : {};
  const all = { ...options, ...lengths, lse: true, ...(name === 'striped' ? {} : { sharding }) };
  return functions[name](group, query, of(whole.key, cuSeqlensKv), of(whole.value, cuSeqlensKv), all);
}

export interface Outcome {
  output: Tensor;
  lse: Tensor;
  groups: Group[];
  /** Of each rank. */
  results: ParallelResult[];
}

/** All ranks in this process; the whole of what they give. */
export async function onGroup(
  name: Function,
  size: number,
  sharding: Sharding,
  options: ParallelOptions,
  whole: Whole,
  groups: Group[] = threadGroup(size),
): Promise<Outcome> {
  const results = await Promise.all(groups.map((group) => onRank(group, name, sharding, options, whole)));
  const cuSeqlens = whole.cuSeqlensQ ? { cuSeqlens: whole.cuSeqlensQ } : {};
  const together = (tensors: Tensor[], axis?: number): Tensor =>
    name === 'tree'
      ? tensors[0]!
      : unshard(tensors, { sharding, ...cuSeqlens, ...(axis === undefined ? {} : { axis }) });
  return {
    output: together(results.map(({ output }) => output)),
    lse: together(
      results.map(({ lse }) => lse!),
      whole.cuSeqlensQ ? 1 : 2,
    ),
    groups,
    results,
  };
}

/** The reference, by sequence and head. */
export function referenceOf(one: ParallelCase, whole: Whole): HeadResult[][] {
  const [query, key, value] = [whole.query, whole.key, whole.value].map((tensor) => tensor.toFloat32());
  const [startsQ, startsKv] = [ends(one.queries), ends(one.keys)];
  return Array.from({ length: one.batch }, (_, b) =>
    Array.from({ length: one.headsQ }, (_none, h) => {
      const hkv = Math.floor(h / (one.headsQ / one.headsKv));
      const nq = one.queries[one.ragged ? b : 0]!;
      const nkv = one.keys[one.ragged ? b : 0]!;
      const rows = (from: Float32Array, heads: number, head: number, starts: number[], count: number, dim: number) =>
        Float64Array.from({ length: count * dim }, (_x, n) => {
          const [row, d] = [Math.floor(n / dim), n % dim];
          const at = one.ragged ? (starts[b]! + row) * heads + head : (b * heads + head) * count + row;
          return from[at * dim + d]!;
        });
      const pair = (row: number, col: number): Pair => {
        const i = row + (one.options.align === 'top-left' ? 0 : nkv - nq);
        return { b, h, hkv, i, j: col, row, col, nq, nkv };
      };
      const logits = one.options.sinks as number[] | undefined;
      const { score } = one;
      return attendHead({
        queries: nq,
        keys: nkv,
        dimQk: one.dimQk,
        dimV: one.dimV,
        query: rows(query!, one.headsQ, h, startsQ, nq, one.dimQk),
        key: rows(key!, one.headsKv, hkv, startsKv, nkv, one.dimQk),
        value: rows(value!, one.headsKv, hkv, startsKv, nkv, one.dimV),
        scale: 1 / Math.sqrt(one.dimQk),
        softcap: 0,
        allowed: (row, col) => one.allowed?.(pair(row, col)) ?? true,
        ...(score
          ? {
              score: (s: number, row: number, col: number) => {
                const changed = score(s, pair(row, col));
                return { value: changed, magnitude: Math.abs(changed - s) };
              },
            }
          : {}),
        ...(logits ? { sink: logits[h]! } : {}),
      });
    }),
  );
}

/** What is wrong with a result by the bounds of one device; the first places. */
export function wrongPlaces(
  one: ParallelCase,
  reference: HeadResult[][],
  result: { output: Tensor; lse: Tensor },
): string[] {
  const [output, lse] = [result.output.toFloat32(), result.lse.toFloat32()];
  const starts = ends(one.queries);
  const total = starts.at(-1)!;
  const wrong: string[] = [];
  reference.forEach((heads, b) => {
    heads.forEach((head, h) => {
      const nq = one.queries[one.ragged ? b : 0]!;
      for (let row = 0; row < nq; row += 1) {
        const context = tolerance.rowContext(head, row, one.dimQk, one.keys[one.ragged ? b : 0]!);
        const at = one.ragged ? (starts[b]! + row) * one.headsQ + h : (b * one.headsQ + h) * nq + row;
        const stat = one.ragged ? h * total + starts[b]! + row : at;
        if (!tolerance.within(lse[stat]!, head.lse[row]!, tolerance.lseBound(context))) {
          wrong.push(`lse[${b}, ${h}, ${row}]: ${lse[stat]}, expected ${head.lse[row]}`);
        }
        for (let d = 0; d < one.dimV; d += 1) {
          const [got, want] = [output[at * one.dimV + d]!, head.output[row * one.dimV + d]!];
          const bound = tolerance.outputBound(context, head.spread[row * one.dimV + d]!);
          if (!tolerance.within(got, want, bound)) {
            wrong.push(`output[${b}, ${h}, ${row}, ${d}]: ${got}, expected ${want} +- ${bound}`);
          }
        }
      }
    });
  });
  return wrong.slice(0, 3);
}
