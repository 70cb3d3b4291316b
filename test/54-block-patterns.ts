// Layouts of published patterns and chosen blocks against their definitions, block by block.

import test from 'ava';
import {
  Tensor,
  and,
  attentionSync,
  blockMap,
  branches,
  causal,
  chooseBlocks,
  draftTree,
  localGlobal,
  pooledScores,
  shardedStrides,
  shiftedGroups,
  verticalSlash,
} from '../lib/index.js';
import type { BlockMask, ChooseBlocksOptions, ErrorCode, Mask } from '../lib/index.js';
import { refuses, revoked, throwing } from './helpers/errors.js';
import { Random } from './reference/random.js';

/** Blocks that are not as `sees` says. */
function wrongBlocks(own: BlockMask, sees: (h: number, r: number, c: number) => boolean): string[] {
  const [, heads, rows, columns] = own.shape;
  const cells = own.toDense().data as Uint8Array;
  const wrong: string[] = [];
  for (let h = 0; h < heads; h += 1)
    for (let r = 0; r < rows; r += 1)
      for (let c = 0; c < columns; c += 1)
        if ((cells[(h * rows + r) * columns + c] === 1) !== sees(h, r, c)) wrong.push(`${h} ${r} ${c}`);
  return wrong;
}

test('local, global and strided blocks', (t) => {
  const random = new Random(5400);
  for (let n = 0; n < 60; n += 1) {
    const [length, blockSize] = [random.integer(1, 300), random.integer(1, 30)];
    const [before, after, first] = [random.integer(0, 4), random.integer(0, 4), random.integer(0, 2)];
    const every = n % 2 === 0 ? random.integer(1, 6) : undefined;
    const isCausal = n % 3 === 0;
    const own = localGlobal({ length, blockSize, before, after, first, every, causal: isCausal });
    t.is(own.shape[2], Math.ceil(length / blockSize));
    const wrong = wrongBlocks(own, (_h, r, c) => {
      if (isCausal && c > r) return false;
      const strided = every !== undefined && Math.abs(r - c) % every === 0;
      return (c >= r - before && c <= r + after) || c < first || r < first || strided;
    });
    t.deepEqual(wrong, [], JSON.stringify({ length, blockSize, before, after, first, every, isCausal }));
  }
});

test('random blocks: so many more in each line, by the seed, each as likely as others', (t) => {
  const options = { length: 64 * 40, blockSize: 64, before: 1, after: 1, first: 1, random: 3, heads: 4 } as const;
  const [own, again, other] = [localGlobal(options), localGlobal(options), localGlobal({ ...options, seed: 1 })];
  t.deepEqual(own.toDense().data, again.toDense().data);
  t.notDeepEqual(own.toDense().data, other.toDense().data);
  t.notDeepEqual([...own.list(20, { h: 0 })], [...own.list(20, { h: 1 })]);
  const fixed = localGlobal({ ...options, random: 0, heads: 1 });
  const taken = new Float64Array(40);
  for (let h = 0; h < 4; h += 1) {
    for (let r = 1; r < 40; r += 1) {
      const [all, before] = [own.list(r, { h }), [...fixed.list(r)]];
      t.is(all.length, Math.min(40, before.length + 3));
      t.true(before.every((block) => all.includes(block)));
    }
  }
  for (let seed = 0; seed < 300; seed += 1) {
    for (const block of localGlobal({ ...options, heads: 1, seed }).list(20)) taken[block]! += 1;
  }
  // 36 blocks are drawn from, 3 of them each time: 25 times of 300.
  const drawn = [...taken].filter((count) => count < 300);
  t.is(drawn.length, 36);
  t.true(Math.min(...drawn) > 8 && Math.max(...drawn) < 48, String(drawn));
});

test('sharded strides: each head a shard of its own, enough of them together everything', (t) => {
  for (const [heads, stride, local] of [
    [4, 8, 2],
    [8, 4, 1],
    [3, 9, 3],
  ] as const) {
    const own = shardedStrides({ length: 1000, blockSize: 16, heads, local, stride });
    const step = Math.max(1, Math.floor(stride / heads));
    t.deepEqual(
      wrongBlocks(own, (h, r, c) => c <= r && (r - c < local || (c + h * step + 1) % stride === 0)),
      [],
    );
    if (heads < stride) continue;
    const seen = new Set(Array.from({ length: heads }, (_, h) => [...own.list(62, { h })]).flat());
    t.is(seen.size, 63);
  }
});

test('vertical and slash: keys and diagonals of each head', (t) => {
  const [length, blockSize] = [150, 32];
  const vertical = [[0, 3, 149], [70]];
  const slash = [[0, 1, 40], [5]];
  const own = verticalSlash({ length, blockSize, vertical, slash });
  t.deepEqual(own.blockSize, [32, 1]);
  const wrong = wrongBlocks(own, (h, r, c) => {
    const end = Math.min((r + 1) * blockSize, length);
    if (c >= end) return false;
    if (vertical[h]!.includes(c)) return true;
    for (let i = r * blockSize; i < end; i += 1) if (slash[h]!.includes(i - c)) return true;
    return false;
  });
  t.deepEqual(wrong, []);
  const shared = verticalSlash({ length, blockSize, vertical: [0], slash });
  t.is(shared.shape[1], 2);
});

const pairsOf = (own: Mask, nq: number, nkv: number, h = 0, headsQ = 1): Uint8Array =>
  blockMap(own, { nq, nkv, block: 1, h, headsQ }).states.map((state) => Number(state === 2));

test('branches, drafted trees and shifted groups, pair by pair', (t) => {
  const n = 30;
  const lengths = [7, 0, 5, 8];
  const id = (i: number): number => (i < 10 ? 0 : i < 17 ? 1 : i < 22 ? 3 : 4);
  const tree = branches(10, lengths);
  const expect = (nq: number, nkv: number, sees: (i: number, j: number) => boolean): Uint8Array =>
    Uint8Array.from({ length: nq * nkv }, (_, p) => Number(sees(Math.floor(p / nkv) + nkv - nq, p % nkv)));
  t.deepEqual(
    pairsOf(tree, n, n),
    expect(n, n, (i, j) => j <= i && (j < 10 || id(i) === id(j))),
  );

  const parents = [-1, 0, 0, 1, 1, 2, -1, 6];
  const ancestors = (at: number): number[] => (at < 0 ? [] : [at, ...ancestors(parents[at]!)]);
  for (const nkv of [8, 30]) {
    const drafted = expect(8, nkv, (i, j) => j < nkv - 8 || ancestors(i - (nkv - 8)).includes(j - (nkv - 8)));
    t.deepEqual(pairsOf(draftTree(parents), 8, nkv), drafted);
  }

  const groups = shiftedGroups({ group: 8, heads: 4, sinks: 2 });
  for (const h of [0, 1, 2, 3]) {
    const shift = h < 2 ? 0 : 4;
    const same = (i: number, j: number): boolean => Math.floor((i + shift) / 8) === Math.floor((j + shift) / 8);
    t.deepEqual(
      pairsOf(groups, n, n, h, 4),
      expect(n, n, (i, j) => j < 2 || same(i, j)),
    );
  }
});

test('pooled scores: means and maxima of blocks, heads in groups', (t) => {
  const random = new Random(5410);
  for (const [queries, keys] of [
    ['mean', 'mean'],
    ['max', 'mean'],
    ['mean', 'max'],
    [undefined, undefined],
  ] as const) {
    const [B, H, Hkv, Nq, Nkv, D] = [2, 4, 2, 37, 50, 6];
    const tensor = (...shape: number[]): Tensor =>
      Tensor.from(Float32Array.from(random.normals(shape.reduce((a, b) => a * b))), shape);
    const [q, k] = [tensor(B, H, Nq, D), tensor(B, Hkv, Nkv, D)];
    const scores = pooledScores(q, k, { blockSize: [5, 16], queries, keys });
    t.deepEqual(scores.shape, [B, H, 8, 4]);
    const pooled = (values: Tensor, b: number, h: number, from: number, size: number, how = 'mean'): number[] => {
      const rows = Math.min(size, values.shape[2]! - from);
      const of = (r: number): Float32Array =>
        values
          .narrow(0, b, 1)
          .narrow(1, h, 1)
          .narrow(2, from + r, 1)
          .toFloat32();
      return Array.from({ length: D }, (_, d) => {
        const column = Array.from({ length: rows }, (_row, r) => of(r)[d]!);
        return how === 'max' ? Math.max(...column) : column.reduce((a, x) => a + x, 0) / rows;
      });
    };
    const got = scores.toFloat32();
    let at = 0;
    for (let b = 0; b < B; b += 1)
      for (let h = 0; h < H; h += 1)
        for (let r = 0; r < 8; r += 1)
          for (let c = 0; c < 4; c += 1) {
            const x = pooled(q, b, h, r * 5, 5, queries);
            const y = pooled(k, b, Math.floor(h / 2), c * 16, 16, keys);
            const expected = x.reduce((sum, value, d) => sum + value * y[d]!, 0) / Math.sqrt(D);
            t.true(Math.abs(got[at++]! - expected) < 1e-5);
          }
    const turned = pooledScores(
      Tensor.from(q.transpose(1, 2).toFloat32(), [B, Nq, H, D]),
      Tensor.from(k.transpose(1, 2).toFloat32(), [B, Nkv, Hkv, D]),
      { blockSize: [5, 16], queries, keys, layout: 'bshd' },
    );
    t.deepEqual(turned.toFloat32(), got);
  }
});

/** The definition, by sorting whole lines. */
function chosen(
  scores: readonly number[],
  r: number,
  options: ChooseBlocksOptions & { sizeQ: number; sizeK: number },
): number[] {
  const { sizeQ, sizeK, topK = Infinity, threshold, first = 0, local = 1, start = 0 } = options;
  const [low, high] = [start + r * sizeQ, start + (r + 1) * sizeQ - 1];
  const open = scores.map((_, c) => c).filter((c) => options.causal !== true || c * sizeK <= high);
  const near = (c: number): boolean =>
    local > 0 && c > Math.floor(low / sizeK) - local && c < Math.floor(high / sizeK) + local;
  const forced = open.filter((c) => c < first || near(c));
  const weights = open.map((c) => Math.exp(scores[c]!));
  const total = weights.reduce((a, b) => a + b, 0);
  const rest = open.filter((c) => !forced.includes(c) && scores[c] !== -Infinity);
  rest.sort((a, b) => scores[b]! - scores[a]! || a - b);
  const result = [...forced];
  const massOf = (list: number[]): number => list.reduce((sum, c) => sum + Math.exp(scores[c]!), 0) / total;
  for (const c of rest) {
    if (result.length >= topK) break;
    if (threshold !== undefined && massOf(result) >= threshold - 1e-9) break;
    result.push(c);
  }
  return result.sort((a, b) => a - b);
}

test('chosen blocks: the best so many, or those of so much weight, and forced ones', (t) => {
  const random = new Random(5420);
  for (let n = 0; n < 200; n += 1) {
    const [H, rows, columns] = [1 + (n % 3), random.integer(1, 12), random.integer(1, 14)];
    const [sizeQ, sizeK] = [random.integer(1, 9), random.integer(1, 9)];
    const values = Array.from({ length: H * rows * columns }, () =>
      random.chance(0.1) ? -Infinity : random.chance(0.3) ? 1 : Math.fround(2 * random.normal()),
    );
    const by = n % 2 === 0 ? { topK: random.integer(1, 6) } : { threshold: random.pick([0.3, 0.7, 0.95]) };
    const start = n % 5 === 0 ? random.integer(0, 40) : undefined;
    const options = {
      ...by,
      first: random.integer(0, 2),
      local: random.integer(0, 3),
      causal: random.chance(0.5),
      start,
    };
    const own = chooseBlocks(Tensor.from(Float32Array.from(values), [H, rows, columns]), {
      blockSize: [sizeQ, sizeK],
      ...options,
    });
    for (let h = 0; h < H; h += 1) {
      for (let r = 0; r < rows; r += 1) {
        const line = values.slice((h * rows + r) * columns, (h * rows + r + 1) * columns);
        const expected = chosen(line, r, { ...options, blockSize: 1, sizeQ, sizeK });
        t.deepEqual([...own.list(r, { h })], expected, JSON.stringify({ n, h, r, line, options, sizeQ, sizeK }));
      }
    }
  }
  const scores = Tensor.from(Float32Array.of(NaN, 1, NaN, 2), [1, 4]);
  t.deepEqual([...chooseBlocks(scores, { blockSize: 4, topK: 3, local: 0 }).list(0)], [0, 1, 3]);
});

test('routing of pooled queries and keys computes what it chooses', (t) => {
  const random = new Random(5430);
  const [H, N, D] = [2, 96, 16];
  const tensor = (): Tensor => Tensor.from(Float32Array.from(random.normals(H * N * D)), [1, H, N, D]);
  const [q, k, v] = [tensor(), tensor(), tensor()];
  const own = chooseBlocks(pooledScores(q, k, { blockSize: [1, 16] }), { blockSize: [1, 16], topK: 3, causal: true });
  const { output } = attentionSync(q, k, v, { mask: and(own, causal()) });
  const pairs = own.toDense({ nq: N, nkv: N });
  const dense = attentionSync(q, k, v, { mask: [pairs, causal()] }).output.toFloat32();
  t.true(output.toFloat32().every((value, n) => Math.abs(value - dense[n]!) < 1e-5));
  t.is(own.list(95, { h: 1 }).length, 3);
});

test('wrong options are named', (t) => {
  const wrong = (call: () => unknown, code: ErrorCode, argument: string): void => refuses(t, call, { code, argument });
  const good = { length: 64, blockSize: 8, before: 1, after: 0 };
  wrong(() => localGlobal({ ...good, length: 0 }), 'ERR_OUT_OF_RANGE', 'options.length');
  wrong(() => localGlobal({ ...good, blockSize: NaN }), 'ERR_OUT_OF_RANGE', 'options.blockSize');
  wrong(() => localGlobal({ ...good, length: 2 ** 31 - 1, blockSize: 1 }), 'ERR_OUT_OF_RANGE', 'options.blockSize');
  wrong(() => localGlobal({ ...good, first: null as never }), 'ERR_INVALID_ARG_TYPE', 'options.first');
  wrong(() => localGlobal({ ...good, every: 0 }), 'ERR_OUT_OF_RANGE', 'options.every');
  wrong(() => localGlobal({ ...good, causal: 1 as never }), 'ERR_INVALID_ARG_TYPE', 'options.causal');
  wrong(() => localGlobal({ ...good, window: 1 } as never), 'ERR_UNKNOWN_OPTION', 'options.window');
  wrong(
    () => shardedStrides({ length: 64, blockSize: 8, heads: 2, local: 1, stride: 0 }),
    'ERR_OUT_OF_RANGE',
    'options.stride',
  );
  const lines = { length: 64, blockSize: 8, vertical: [0], slash: [0] };
  wrong(() => verticalSlash({ ...lines, vertical: 0 as never }), 'ERR_INVALID_ARG_TYPE', 'options.vertical');
  wrong(() => verticalSlash({ ...lines, slash: [64] }), 'ERR_OUT_OF_RANGE', 'options.slash[0]');
  wrong(
    () => verticalSlash({ ...lines, slash: [[0], [1]], vertical: [[0], [1], [2]] }),
    'ERR_SHAPE_MISMATCH',
    'options.slash',
  );
  const holes = (list: unknown[]): never => {
    delete list[1];
    return list as never;
  };
  wrong(() => verticalSlash({ ...lines, vertical: holes([5, 0, 9]) }), 'ERR_INVALID_ARG_TYPE', 'options.vertical[1]');
  wrong(() => verticalSlash({ ...lines, slash: holes([[5], [0]]) }), 'ERR_INVALID_ARG_TYPE', 'options.slash[1]');
  wrong(() => verticalSlash({ ...lines, slash: [[5], holes([5, 0])] }), 'ERR_INVALID_ARG_TYPE', 'options.slash[1][1]');
  wrong(() => verticalSlash({ ...lines, slash: throwing() }), 'ERR_INVALID_ARG_VALUE', 'options.slash[0]');
  wrong(() => verticalSlash({ ...lines, slash: revoked() }), 'ERR_INVALID_ARG_VALUE', 'options.slash');
  wrong(() => verticalSlash(revoked({})), 'ERR_INVALID_ARG_VALUE', 'options');
  wrong(() => branches(-1, [1]), 'ERR_OUT_OF_RANGE', 'prefix');
  wrong(() => branches(1, [2 ** 27]), 'ERR_OUT_OF_RANGE', 'lengths[0]');
  wrong(() => draftTree(holes([-1, 0, 0])), 'ERR_INVALID_ARG_TYPE', 'parents[1]');
  wrong(() => branches(3, holes([4, 0, 5])), 'ERR_INVALID_ARG_TYPE', 'lengths[1]');
  wrong(() => draftTree([0]), 'ERR_OUT_OF_RANGE', 'parents[0]');
  wrong(() => draftTree([-1, 1]), 'ERR_OUT_OF_RANGE', 'parents[1]');
  wrong(() => shiftedGroups({ group: 0, heads: 2 }), 'ERR_OUT_OF_RANGE', 'options.group');
  const x = Tensor.from(new Float32Array(2 * 8 * 4), [1, 2, 8, 4]);
  wrong(() => pooledScores(x, x, { blockSize: 0 }), 'ERR_OUT_OF_RANGE', 'options.blockSize');
  wrong(
    () => pooledScores(x, x, { blockSize: 2, queries: 'min' as never }),
    'ERR_INVALID_ARG_VALUE',
    'options.queries',
  );
  wrong(() => pooledScores(x, x.reshape([1, 4, 4, 4]), { blockSize: 2 }), 'ERR_SHAPE_MISMATCH', 'key');
  wrong(() => pooledScores(x.reshape([2, 8, 4]), x, { blockSize: 2 }), 'ERR_SHAPE_MISMATCH', 'query');
  const data = new Float32Array(2 * 8 * 4);
  const taking = {
    dims: [1, 2, 8, 4],
    get data(): Float32Array {
      structuredClone(data.buffer, { transfer: [data.buffer] });
      return x.toFloat32();
    },
  };
  wrong(
    () => pooledScores(Tensor.from(data, [1, 2, 8, 4]), taking, { blockSize: 2 }),
    'ERR_INVALID_ARG_VALUE',
    'query',
  );
  const scores = x.reshape([4, 16]);
  wrong(() => chooseBlocks(scores, { blockSize: 2 }), 'ERR_INVALID_ARG_VALUE', 'options.topK');
  wrong(() => chooseBlocks(scores, { blockSize: 2, topK: 1, threshold: 0.5 }), 'ERR_INVALID_ARG_VALUE', 'options.topK');
  wrong(() => chooseBlocks(scores, { blockSize: 2, topK: 0 }), 'ERR_OUT_OF_RANGE', 'options.topK');
  wrong(() => chooseBlocks(scores, { blockSize: 2, threshold: 1.5 }), 'ERR_OUT_OF_RANGE', 'options.threshold');
  const none = Tensor.from(new Float32Array(0), [0, 4, 4]);
  wrong(() => chooseBlocks(none, { blockSize: 2, topK: 1 }), 'ERR_SHAPE_MISMATCH', 'scores');
  wrong(() => chooseBlocks(scores.reshape([64]), { blockSize: 2, topK: 1 }), 'ERR_SHAPE_MISMATCH', 'scores');
});
