import { square, type Case } from '../case.js';

const tiny = (rows: number): Case => square('call', rows, 16, { label: `1×1×${rows}×16`, headsQ: 1, headsKv: 1 });

const shortDecode = (keys: number): Case =>
  square('call', keys, 64, { label: `1×8×1×64, ${keys} ${keys === 1 ? 'key' : 'keys'}`, queries: 1 });

/** Calls so small that most of their time is the way in and out. */
export const call = (): Case[] => [tiny(1), tiny(16), shortDecode(1), shortDecode(256)];
