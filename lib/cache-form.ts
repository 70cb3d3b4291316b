// What a cache holds and how: its options, read once.

import type { Dtype } from './dtype.js';
import { dtypeId, floatDtypes } from './dtype.js';
import { describe, invalidType, invalidValue } from './errors.js';
import { causal } from './builtins.js';
import { builtInMask } from './masks.js';
import type { Mask } from './masks.js';
import { checkMemory, memoryLimit } from './memory.js';
import { choice } from './options.js';
import type { LayoutName } from './options.js';
import { readRope } from './rotary.js';
import type { Rope } from './rotary.js';
import { checkInteger } from './shape.js';
import { readSnapshot } from './snapshot.js';

/** A cache's options, checked, and the numbers in which the addon takes them. */
export interface CacheForm {
  readonly heads: number;
  readonly dim: number;
  readonly dimV: number;
  readonly batch: number;
  readonly dtype: Dtype;
  readonly layout: LayoutName;
  readonly windowed: boolean;
  readonly latent: boolean;
  readonly rope: Rope | null;
  /** What several queries may see; one query sees all that is left. */
  readonly visible: Mask;
  /** In the order of native/cache/cache_codec.h. */
  readonly numbers: Float64Array;
}

const names = ['heads', 'dim', 'dimV', 'batch', 'dtype', 'layout', 'window', 'pinned', 'rope', 'values'];
const formVersion = 1;
const mostRows = 2 ** 31 - 1;

/** Rows of a page: kPageRows of native/cache/pages.h. */
export const pageRows = 128;

export function readCacheForm(options: unknown): CacheForm {
  if (typeof options !== 'object' || options === null) throw invalidType('options', 'an object', options);
  const given = readSnapshot('options', options, names);
  const count = (name: string, most: number, standard?: number): number =>
    given[name] === undefined && standard !== undefined
      ? standard
      : checkInteger(`options.${name}`, given[name], 1, most);
  const heads = count('heads', mostRows);
  const dim = count('dim', 1024);
  const latent = choice('options.values', given['values'], ['separate', 'latent']) === 'latent';
  const dimV = count('dimV', latent ? dim : 1024, dim);
  const batch = count('batch', 2 ** 22, 1);
  const dtype = choice('options.dtype', given['dtype'], floatDtypes);
  const layout = choice('options.layout', given['layout'], ['bhsd', 'bshd'] as const);
  const windowed = given['window'] !== undefined;
  const window = windowed ? checkInteger('options.window', given['window'], 0, mostRows) : -1;
  const pinned = given['pinned'] === undefined ? 0 : checkInteger('options.pinned', given['pinned'], 0, mostRows);
  if (pinned > 0 && !windowed) {
    throw invalidValue('options.pinned', 'none without options.window', describe(pinned));
  }
  const rope = readRope(given['rope'], dim);
  checkMemory(dtype, pageRows * batch * heads * (latent ? dim : dim + dimV), 'options');
  const flags = (latent ? 1 : 0) | (rope?.interleaved ? 2 : 0);
  const frequencies = rope?.frequencies ?? [];
  return {
    heads,
    dim,
    dimV,
    batch,
    dtype,
    layout,
    windowed,
    latent,
    rope,
    visible: visibleMask(windowed, window, pinned),
    numbers: Float64Array.from([
      formVersion,
      batch,
      heads,
      dim,
      dimV,
      dtypeId[dtype],
      flags,
      window,
      pinned,
      memoryLimit(),
      rope?.offset ?? 0,
      frequencies.length,
      ...frequencies,
    ]),
  };
}

function visibleMask(windowed: boolean, window: number, pinned: number): Mask {
  if (!windowed) return causal();
  const program = '(i, j, { window, pinned }) => j <= i && (i - j <= window || j < pinned)';
  return builtInMask(`window(${window}, ${pinned})`, program, { window, pinned });
}
