import { square, type Case } from '../case.js';

const asked = (rows: number, what: string, statistics: NonNullable<Case['statistics']>): Case =>
  square('statistics', rows, 64, { label: `N ${rows}, ${what}`, statistics });

const ranges = (rows: number, size: number): [number, number][] =>
  Array.from({ length: rows / size }, (_, n) => [n * size, (n + 1) * size]);

/** What is said of the weights, beside the same call without it. */
export const statistics = (): Case[] => [
  asked(4096, 'mass of 16 ranges', { mass: ranges(4096, 256) }),
  asked(4096, '32 columns', { columns: Array.from({ length: 32 }, (_, n) => 128 * n) }),
  asked(4096, 'the largest weight', { topK: 1 }),
  asked(4096, 'the 16 largest weights', { topK: 16 }),
  asked(4096, 'sums of blocks of 64×64', { blocks: { blockSize: 64 } }),
  asked(4096, 'maxima of blocks of 64×64', { blocks: { blockSize: 64, sums: false, max: true } }),
  asked(4096, 'column sums', { columnSums: true }),
];
