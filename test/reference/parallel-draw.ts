// Cases of attention over a group, drawn: any mask, lengths of all kinds, empty sequences among them.

import {
  alibi,
  and,
  blockSparse,
  causal,
  dilated,
  documents,
  mask,
  neighborhood,
  not,
  or,
  prefixLm,
  slidingWindow,
  strided,
} from '../../lib/index.js';
import type { Mask, ParallelOptions, Sharding } from '../../lib/index.js';
import { everyFunction, type Function, type ParallelCase } from './parallel-case.js';
import { Random } from './random.js';

export interface Drawn {
  one: ParallelCase;
  name: Function;
  size: number;
  sharding: Sharding;
}

export function drawParallel(seed: number): Drawn {
  const random = new Random(seed);
  const ragged = random.chance(0.3);
  const batch = random.integer(ragged ? 1 : 0, 3);
  const length = (): number =>
    random.pick([0, 1, 2, random.integer(3, 40), random.integer(3, 90), random.integer(64, 200)]);
  const queries = Array.from({ length: ragged ? batch : 1 }, length);
  const keys = random.chance(0.5) ? [...queries] : queries.map((count) => count + length());
  const headsKv = random.integer(1, 3);
  const headsQ = headsKv * random.integer(1, 3);
  const name = random.pick(everyFunction);
  const options: ParallelOptions = {};
  const masks = masksUpTo(random, Math.max(...keys, 1));
  const [first, second] = [random.pick(masks), random.pick(masks)];
  const drawn = random.pick([undefined, first, [first, second], and(first, second), or(first, second), not(first)]);
  if (drawn) options.mask = drawn;
  if (random.chance(0.3)) options.sinks = Array.from({ length: headsQ }, () => random.normal());
  if (random.chance(0.3)) options.score = alibi(headsQ);
  if (random.chance(0.3)) options.align = 'top-left';
  if (random.chance(0.2)) options.softcap = 3;
  const dims = { dimQk: random.integer(1, 20), dimV: random.integer(1, 20) };
  return {
    one: { name: `drawn ${seed}`, batch, headsQ, headsKv, queries, keys, ragged, ...dims, options },
    name,
    size: random.integer(1, 6),
    sharding: name === 'striped' ? 'striped' : random.pick(['contiguous', 'zigzag', 'striped']),
  };
}

/** Masks of all kinds over positions below `most`. */
function masksUpTo(random: Random, most: number): Mask[] {
  const grid = [4, Math.ceil(most / 4) + 1];
  const blocks = Math.ceil(most / 8);
  const layout = Array.from({ length: blocks }, () =>
    Array.from({ length: blocks }, (_, n) => n).filter(() => random.chance(0.5)),
  );
  return [
    causal(),
    slidingWindow(random.integer(0, 9), random.integer(0, 9)),
    slidingWindow(null, 3),
    dilated(3),
    strided(4),
    prefixLm(5),
    documents(Array.from({ length: most }, () => random.integer(0, 3))),
    mask('(i, j, { b, h, row, col, nq, nkv }) => (row + 2 * col + h + b + nq - nkv) % 2 === 0'),
    neighborhood({ grid, window: 2 }),
    blockSparse(layout, { blockSize: 8 }),
  ];
}
