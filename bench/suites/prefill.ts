import { square, type Case } from '../case.js';

const LENGTHS = [512, 1024, 2048, 4096];

/** Dense self-attention over length and head size. */
export const prefill = (): Case[] => [
  ...[64, 128].flatMap((dim) => LENGTHS.map((rows) => square('prefill', rows, dim))),
  square('prefill', 2048, 64, { layout: 'bshd', label: 'N 2048, D 64, [B, S, H, D]' }),
];
