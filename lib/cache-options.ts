// What users may say about a cache and its calls.

import type { FloatDtype } from './dtype.js';
import type { AttentionBaseOptions, LayoutName } from './options.js';
import type { SharedPrefix } from './pages.js';
import type { RopeOptions } from './rotary.js';
import type { TensorInput } from './tensor.js';

/** Options of {@link KvCache}. */
export interface KvCacheOptions {
  /** Key/value heads. */
  readonly heads: number;
  /** Components of a key, 1 to 1024. */
  readonly dim: number;
  /** Components of a value. Default `dim`. */
  readonly dimV?: number | undefined;
  /** Sequences, all of one length. Default 1. */
  readonly batch?: number | undefined;
  /** What keys and values are stored as. Default 'float32'. */
  readonly dtype?: FloatDtype | undefined;
  /** Order of the axes of queries, keys, values and allocated outputs. Default 'bhsd'. */
  readonly layout?: LayoutName | undefined;
  /**
   * How many tokens before its own a query sees, as `slidingWindow(window, 0)`: 4095 for "a window of 4096 tokens".
   * Default: all. Tokens that no later query may see are dropped, a page at a time.
   */
  readonly window?: number | undefined;
  /** The first tokens, which stay visible whatever the window (the attention sinks of StreamingLLM). Default 0. */
  readonly pinned?: number | undefined;
  /** Turns keys as they are appended, and queries, by their positions. Default: none. */
  readonly rope?: RopeOptions | undefined;
  /**
   * 'separate' (default), or 'latent': a value is the first `dimV` components of its key as it is stored, and only keys
   * are appended (multi-head latent attention: dim 576, dimV 512, rope over the last 64).
   */
  readonly values?: 'separate' | 'latent' | undefined;
}

/** Positions that the rope of a cache goes by; masks and scores go by a token's place in the cache, whatever these are. */
export type PositionsInput = Int32Array | readonly number[];

/** Options of {@link KvCache.append}. */
export interface AppendOptions {
  /** One a token, [S], or [B, S] row by row. Default: places in the cache. Only with rope. */
  readonly positions?: PositionsInput | undefined;
  /** The most threads to use. */
  readonly threads?: number | undefined;
}

/** Options of {@link KvCache.attend}: those of {@link attention} that go with a cache, and what to append. */
export interface AttendOptions<
  Lse extends boolean | undefined = boolean | undefined,
  Entropy extends boolean | undefined = boolean | undefined,
  RowMax extends boolean | undefined = boolean | undefined,
> extends Pick<
  AttentionBaseOptions,
  | 'scale'
  | 'mask'
  | 'score'
  | 'bias'
  | 'softcap'
  | 'sinks'
  | 'normalizer'
  | 'outputDtype'
  | 'threads'
  | 'out'
  | 'device'
  | 'signal'
> {
  /** Keys to append first, as in {@link KvCache.append}. */
  readonly k?: TensorInput | undefined;
  /** Their values; with `k`, and not in a latent cache. */
  readonly v?: TensorInput | undefined;
  /**
   * Positions of the appended tokens, and so of the queries, which are those of the last Nq of them; without `k`, of
   * the queries. [S] or [B, S]. Default: places in the cache. Only with rope.
   */
  readonly positions?: PositionsInput | undefined;
  /** As in {@link AttentionOptions}. */
  readonly lse?: Lse;
  /** As in {@link AttentionOptions}. */
  readonly entropy?: Entropy;
  /** As in {@link AttentionOptions}. */
  readonly rowMax?: RowMax;
}

/**
 * Options of {@link KvCache.attendGroup}: those of {@link KvCache.attend}, where B is the number of caches, and which
 * tokens the caches have in common, in pages that they share as forks.
 */
export interface AttendGroupOptions<
  Lse extends boolean | undefined = boolean | undefined,
  Entropy extends boolean | undefined = boolean | undefined,
  RowMax extends boolean | undefined = boolean | undefined,
> extends AttendOptions<Lse, Entropy, RowMax> {
  /**
   * So many first tokens are common to all caches: their pages are read once for all. Results stay within the accuracy of
   * any call, but their bits may depend on which caches share. As `prefixes` with one entry.
   */
  readonly sharedPrefix?: number | undefined;
  /** The same for groups of caches, numbered as in the array. */
  readonly prefixes?: readonly SharedPrefix[] | undefined;
}
