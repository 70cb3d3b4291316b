import { square, type Case } from '../case.js';

const windowed = (rows: number, keys: number): Case =>
  square('window', rows, 64, { label: `N ${rows}, W ${keys}, D 64`, mask: { kind: 'window', keys } });

/** The last `keys` keys of each query, itself included. */
export const window = (): Case[] => [
  windowed(2048, 256),
  windowed(4096, 256),
  windowed(4096, 1024),
  windowed(16384, 512),
];
