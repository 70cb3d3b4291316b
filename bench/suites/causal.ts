import { CAUSAL, square, type Case } from '../case.js';

const LENGTHS = [512, 1024, 2048, 4096];

/** Causal self-attention over length and head size. */
export const causal = (): Case[] =>
  [64, 128].flatMap((dim) => LENGTHS.map((rows) => square('causal', rows, dim, { mask: CAUSAL })));
