import { square, type Case } from '../case.js';

const drawn = (rows: number, size: number, each: number, what: string): Case =>
  square('blocks', rows, 64, { label: `N ${rows}, ${what}`, mask: { kind: 'blocks', size, each, seed: 1 } });

/** Blocks of keys drawn at random for each block of queries and each head: nothing that neighbours could share. */
export const blocks = (): Case[] => [
  drawn(8192, 64, 13, '10 % of the blocks of 64×64'),
  drawn(8192, 16, 51, '10 % of the blocks of 16×16'),
  drawn(4096, 1, 64, '64 keys a query'),
];
