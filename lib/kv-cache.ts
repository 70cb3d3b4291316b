// KvCache: keys and values of the tokens so far, for the queries of those to come.

import type { AttentionResult } from './attention.js';
import { resultOf } from './attention.js';
import { appendCall, attendCall, attendNames } from './cache-call.js';
import { readCacheForm } from './cache-form.js';
import type { CacheForm } from './cache-form.js';
import { groupCall, readMembers } from './cache-group.js';
import type { AppendOptions, AttendGroupOptions, AttendOptions, KvCacheOptions } from './cache-options.js';
import { face } from './class-face.js';
import { execute, executeSync } from './execution.js';
import type { CachesOfStep } from './execution.js';
import { loadNative } from './native.cjs';
import type { NativeCache, NativeError } from './native.cjs';
import { AttentionError, fromNative } from './errors.js';
import { readOptions } from './options.js';
import { guarded } from './prepare.js';
import { checkInteger } from './shape.js';
import type { TensorInput } from './tensor.js';

type Flag = boolean | undefined;

let isCache: (value: unknown) => value is KvCache;

/**
 * The keys and values of a decode loop: append and attend in one call, causally, with rotary embedding, a window, and
 * forks that share memory. One cache serves one attention layer of a batch of sequences of equal length.
 *
 * Memory is the cache's own, in pages of 128 tokens. A token's position on masks and scores is its place in the cache,
 * counted from 0, whatever has gone out of the window since.
 *
 * While an asynchronous `attend` is under way, everything that would change the cache is `ERR_BUFFER_IN_USE`; so is any
 * use while the call under way appends. A call that fails or is aborted has appended nothing.
 */
export class KvCache {
  readonly #form: CacheForm;
  readonly #handle: NativeCache;

  static {
    isCache = (value): value is KvCache => typeof value === 'object' && value !== null && #form in value;
    face(this, 'KvCache', isCache, 'free');
  }

  /**
   * An empty cache.
   *
   * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_UNKNOWN_OPTION`, `ERR_OUT_OF_RANGE`,
   *   `ERR_SHAPE_MISMATCH`, `ERR_OUT_OF_MEMORY`, `ERR_LOAD_FAILED`.
   */
  constructor(options: KvCacheOptions) {
    // A fork brings its own.
    const made = forks.get(options) ?? fresh(options);
    this.#form = made.form;
    this.#handle = made.handle;
  }

  /** Tokens in the cache, those out of the window included. */
  get length(): number {
    return this.#tokens();
  }

  /** Bytes of the pages that this cache uses; pages shared with forks count in each. */
  get bytes(): number {
    return native(() => loadNative().cacheBytes(this.#handle));
  }

  /**
   * Adds tokens, on the calling thread. `k` is turned by the cache's rope first; both are rounded to its dtype.
   *
   * @param k [B, Hkv, S, D] or, in a 'bshd' cache, [B, S, Hkv, D]; any float dtype, S >= 0.
   * @param v [B, Hkv, S, Dv]; left out in a latent cache.
   * @throws AttentionError `ERR_OUT_OF_MEMORY`, `ERR_BUFFER_IN_USE`, `ERR_DISPOSED`, and those of bad arguments; then
   *   the cache is as it was.
   */
  append(k: TensorInput, v?: TensorInput, options?: AppendOptions): void {
    executeSync(this.#step((caches, length) => appendCall(this.#form, caches, length, k, v, options)));
  }

  /**
   * Appends `k` and `v` where they are given, then attends with `q`, all off the event loop. The last query stands at
   * the last token: query row r of Nq sees tokens up to length - Nq + r, inside the window.
   *
   * @param q [B, Hq, Nq, D], or [B, Nq, Hq, D] in a 'bshd' cache; Hq a multiple of Hkv. It is turned by the cache's rope.
   * @returns As {@link attention}. Rejects with what that rejects with, `ERR_DISPOSED` and `ERR_BUFFER_IN_USE` of the
   *   cache included; or with an AbortError. Then nothing was appended.
   */
  async attend<Lse extends Flag = undefined, Entropy extends Flag = undefined, RowMax extends Flag = undefined>(
    q: TensorInput,
    options?: AttendOptions<Lse, Entropy, RowMax>,
  ): Promise<AttentionResult<Lse, Entropy, RowMax, undefined>> {
    const { call, prepared } = this.#attendCall(q, options);
    await execute(prepared, call.options.signal);
    return resultOf(call) as AttentionResult<Lse, Entropy, RowMax, undefined>;
  }

  /** {@link attend} on the calling thread (and the pool's); throws what that rejects with. */
  attendSync<Lse extends Flag = undefined, Entropy extends Flag = undefined, RowMax extends Flag = undefined>(
    q: TensorInput,
    options?: AttendOptions<Lse, Entropy, RowMax>,
  ): AttentionResult<Lse, Entropy, RowMax, undefined> {
    const { call, prepared } = this.#attendCall(q, options);
    executeSync(prepared);
    return resultOf(call) as AttentionResult<Lse, Entropy, RowMax, undefined>;
  }

  /**
   * {@link KvCache.attend} of several caches in one call, each a sequence with queries, keys and values of its own; what
   * they share as forks, and are said to share, is read once for all of them (beam search, several answers to one prompt).
   *
   * @param caches Without a window, `batch: 1`, of the same options; their lengths may differ. None twice.
   * @param q [B, Hq, Nq, D], or [B, Nq, Hq, D] in 'bshd' caches, where sequence b is that of caches[b]; so are `k` and
   *   `v` of the options, appended to all caches or, where the call fails, to none.
   * @returns As {@link attend}, of B sequences. Rejects with what that rejects with, and with `ERR_INVALID_ARG_VALUE`
   *   where a cache has other tokens than those it is said to share, even if they are equal.
   */
  static async attendGroup<
    Lse extends Flag = undefined,
    Entropy extends Flag = undefined,
    RowMax extends Flag = undefined,
  >(
    caches: readonly KvCache[],
    q: TensorInput,
    options?: AttendGroupOptions<Lse, Entropy, RowMax>,
  ): Promise<AttentionResult<Lse, Entropy, RowMax, undefined>> {
    const { call, prepared } = KvCache.#groupCall(caches, q, options);
    await execute(prepared, call.options.signal);
    return resultOf(call) as AttentionResult<Lse, Entropy, RowMax, undefined>;
  }

  /** {@link KvCache.attendGroup} on the calling thread (and the pool's); throws what that rejects with. */
  static attendGroupSync<
    Lse extends Flag = undefined,
    Entropy extends Flag = undefined,
    RowMax extends Flag = undefined,
  >(
    caches: readonly KvCache[],
    q: TensorInput,
    options?: AttendGroupOptions<Lse, Entropy, RowMax>,
  ): AttentionResult<Lse, Entropy, RowMax, undefined> {
    const { call, prepared } = KvCache.#groupCall(caches, q, options);
    executeSync(prepared);
    return resultOf(call) as AttentionResult<Lse, Entropy, RowMax, undefined>;
  }

  /**
   * A second cache with the same tokens, to go on differently. Nothing is copied now: both use the same pages until one
   * of them writes to the last one, which it then copies.
   *
   * @throws AttentionError `ERR_BUFFER_IN_USE` while a call under way appends, `ERR_DISPOSED`.
   */
  fork(): KvCache {
    const handle = native(() => loadNative().forkCache(this.#handle));
    return new KvCache(asOptions({ form: this.#form, handle }));
  }

  /**
   * Forgets the tokens from `length` on, as after a draft that was refused.
   *
   * @throws AttentionError `ERR_OUT_OF_RANGE` for more tokens than there are, or where the window of the tokens to come
   *   is gone (never when no more than the tokens of the last call are taken back); `ERR_BUFFER_IN_USE`, `ERR_DISPOSED`.
   */
  truncate(length: number): void {
    const count = checkInteger('length', length, 0, this.#tokens());
    native(() => loadNative().truncateCache(this.#handle, count));
  }

  /**
   * Gives the memory back; calls under way keep what they use until they settle. Using the cache afterwards is
   * `ERR_DISPOSED`. Also under `Symbol.dispose` where the runtime has it; a cache that is collected is freed too.
   */
  free(): void {
    loadNative().freeCache(this.#handle);
  }

  /** `KvCache(float32, 8 heads of 64, 1024 tokens)` */
  toString(): string {
    const { dtype, heads, dim } = this.#form;
    try {
      return `KvCache(${dtype}, ${heads} heads of ${dim}, ${this.#tokens()} tokens)`;
    } catch {
      return 'KvCache(freed)';
    }
  }

  #attendCall(q: unknown, given: unknown) {
    return this.#step((caches, length) => {
      const options = readOptions(given, attendNames, this.#form.layout);
      return attendCall(this.#form, caches, length, q, options);
    });
  }

  /** What `read` makes of arguments, whose getters have to leave the cache alone. */
  #step<Made>(read: (caches: CachesOfStep, length: number) => Made): Made {
    return guarded(() => {
      const length = this.#tokens();
      const made = read({ handle: this.#handle, shared: null }, length);
      checkSteady('cache', length, this.#tokens());
      return made;
    });
  }

  static #groupCall(caches: unknown, q: unknown, options: unknown) {
    return guarded(() => {
      const members: KvCache[] = [];
      const read = readMembers(caches, (value, argument) => {
        if (!isCache(value)) return null;
        members.push(value);
        return { form: value.#form, handle: value.#handle, length: value.#tokens(argument) };
      });
      const made = groupCall(read, q, options);
      read.forEach(({ length }, n) => checkSteady(`caches[${n}]`, length, members[n]!.#tokens(`caches[${n}]`)));
      return made;
    });
  }

  /** As `length` says: that may be another class's. */
  #tokens(argument?: string): number {
    return native(() => loadNative().cacheLength(this.#handle), argument);
  }
}

function checkSteady(name: string, before: number, after: number): void {
  if (before === after) return;
  const expected = 'a cache that is left alone while the arguments are read';
  throw new AttentionError('ERR_BUFFER_IN_USE', name, expected, `one that had ${before} tokens and has ${after}`);
}

/** What a cache is made of. */
interface Parts {
  readonly form: CacheForm;
  readonly handle: NativeCache;
}

/** Parts of forks, by what stands for them as the options of a cache. */
const forks = new WeakMap<object, Parts>();

function asOptions(parts: Parts): KvCacheOptions {
  const options = {};
  forks.set(options, parts);
  return options as KvCacheOptions;
}

function fresh(options: unknown): Parts {
  const form = guarded(() => readCacheForm(options));
  const handle = native(() => loadNative().cache(form.numbers));
  return { form, handle };
}

/** Errors of the addon as users know them; `name` is what they know the cache by. */
function native<Result>(call: () => Result, name?: string): Result {
  try {
    return call();
  } catch (error) {
    if (error instanceof AttentionError) throw error;
    const known = fromNative(error as NativeError);
    if (name === undefined) throw known;
    throw new AttentionError(known.code, name, known.expected, known.received, { cause: error });
  }
}
