// Tile maps through the façade: blocks of random programs and of patterns equal what the plain function says, pair by
// pair.

import test from 'ava';
import {
  AttentionError,
  and,
  blockMap,
  causal,
  dilated,
  documents,
  mask,
  not,
  or,
  prefixLm,
  sharedPrefix,
  slidingWindow,
  strided,
} from '../lib/index.js';
import type { Mask } from '../lib/index.js';
import { functionOf, plainMask } from './reference/programs.js';
import { randomProgram } from './reference/random-program.js';

type Sees = (row: number, column: number) => boolean;

function expected(nq: number, nkv: number, [blockQ, blockK]: readonly [number, number], sees: Sees): number[] {
  const states: number[] = [];
  for (let row = 0; row < nq; row += blockQ) {
    for (let column = 0; column < nkv; column += blockK) {
      let [hidden, visible] = [false, false];
      for (let r = row; r < Math.min(row + blockQ, nq); r += 1) {
        for (let c = column; c < Math.min(column + blockK, nkv); c += 1) {
          if (sees(r, c)) visible = true;
          else hidden = true;
        }
      }
      states.push(hidden && visible ? 1 : visible ? 2 : 0);
    }
  }
  return states;
}

const blocks = [
  [16, 16],
  [24, 32],
  [7, 13],
] as const;

test('blocks of random programs', (t) => {
  const [nq, nkv, heads] = [40, 48, 2];
  let compared = 0;
  for (let seed = 1; seed <= 300; seed += 1) {
    const program = randomProgram('mask', seed, { size: 64, heads, batch: 1, grid: false });
    const plain = plainMask(functionOf(program.source), program.parameters);
    const block = blocks[seed % 3]!;
    const start = nkv - nq;
    const h = seed % heads;
    let map;
    try {
      const item = mask(program.source, program.parameters as never);
      map = blockMap(item, { nq, nkv, block, h, headsQ: heads, headsKv: 1 });
    } catch (error) {
      if (error instanceof AttentionError && error.code === 'ERR_OUT_OF_RANGE') continue;
      throw error;
    }
    const states = expected(nq, nkv, block, (row, col) =>
      plain({ i: start + row, j: col, row, col, b: 0, h, hkv: 0, nq, nkv, s: 0 }),
    );
    t.deepEqual([...map.states], states, `${seed}: ${program.source}`);
    compared += 1;
  }
  t.true(compared > 250, `${compared} programs`);
});

test('blocks of patterns and their combinations', (t) => {
  const n = 96;
  const ids = Array.from({ length: n }, (_, at) => Math.floor((at * at) / 1500));
  const patterns: [Mask, Sees][] = [
    [causal(), (i, j) => j <= i],
    [slidingWindow(9, 4), (i, j) => i - j <= 9 && j - i <= 4],
    [prefixLm(30), (i, j) => j <= i || j < 30],
    [documents(ids), (i, j) => ids[i] === ids[j]],
    [dilated(5), (i, j) => (i - j) % 5 === 0],
    [strided(16), (i, j) => j <= i && (i - j < 16 || (i - j) % 16 === 0)],
    [sharedPrefix(20, 17), (i, j) => j <= i && (j < 20 || Math.floor((i - 20) / 17) === Math.floor((j - 20) / 17))],
  ];
  for (const block of blocks) {
    for (const [first, a] of patterns) {
      t.deepEqual([...blockMap(first, { nq: n, block }).states], expected(n, n, block, a));
      for (const [second, b] of patterns) {
        const ways: [Mask, Sees][] = [
          [and(first, second) as Mask, (i, j) => a(i, j) && b(i, j)],
          [or(first, second) as Mask, (i, j) => a(i, j) || b(i, j)],
          [and(first, not(second)) as Mask, (i, j) => a(i, j) && !b(i, j)],
        ];
        for (const [item, sees] of ways) {
          t.deepEqual([...blockMap(item, { nq: n, block }).states], expected(n, n, block, sees));
        }
      }
    }
  }
});
