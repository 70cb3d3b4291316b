// attention and attentionSync.

import { encodeCall } from './call.js';
import type { AttentionCall } from './call.js';
import { execute, executeSync } from './execution.js';
import type { AttentionOptions, PartialOptions } from './options.js';
import { kinds } from './normalizers.js';
import type { Normalizer } from './normalizers.js';
import type { PartialOf } from './partials.js';
import { guarded, readCall } from './prepare.js';
import { dropResults } from './results.js';
import type { StatisticsOf, StatisticsOptions } from './statistics.js';
import type { Tensor, TensorInput } from './tensor.js';

type Flag = boolean | undefined;

/** A tensor that is there when its flag is `true`, absent when it is not, and either when that is only known later. */
type Flagged<Name extends string, Given extends Flag> = [Given] extends [true]
  ? { readonly [Key in Name]: Tensor }
  : [Given] extends [false | undefined]
    ? { readonly [Key in Name]?: undefined }
    : { readonly [Key in Name]?: Tensor | undefined };

type Asked = StatisticsOptions | undefined;

/** The same for statistics. */
type Described<Given extends Asked> = [Given] extends [StatisticsOptions]
  ? { readonly statistics: StatisticsOf<Given> }
  : [Given] extends [undefined]
    ? { readonly statistics?: undefined }
    : { readonly statistics?: StatisticsOf<StatisticsOptions> | undefined };

/**
 * What {@link attention} returns. `output` is [B, Hq, Nq, Dv] ('bhsd'), [B, Nq, Hq, Dv] ('bshd') or ragged
 * [total, Hq, Dv]; `lse`, `entropy` and `rowMax` are float32 [B, Hq, Nq], ragged [Hq, total]. A row that sees no key has
 * output 0, lse −∞ (or its sink), entropy 0 and rowMax −∞.
 */
export type AttentionResult<
  Lse extends Flag = Flag,
  Entropy extends Flag = Flag,
  RowMax extends Flag = Flag,
  Stats extends Asked = Asked,
> = {
  readonly output: Tensor;
} & Flagged<'lse', Lse> &
  Flagged<'entropy', Entropy> &
  Flagged<'rowMax', RowMax> &
  Described<Stats>;

/**
 * softmax(mask(softcap(scale · q kᵀ) + bias)) v, computed off the event loop; another function in softmax's place with
 * `normalizer`.
 *
 * The arrays of the arguments must not be written before the promise settles; results are complete only then. Where q, k
 * and v lie on a device ({@link Tensor.to}), it computes there, and that is where the results are.
 *
 * @param q [B, Hq, Nq, Dqk] ('bhsd', the default), [B, Nq, Hq, Dqk] ('bshd'), or ragged [total, Hq, Dqk]. float32,
 *   float16 or bfloat16, q, k and v each their own. The last axis must be contiguous; other strides are free.
 * @param k [B, Hkv, Nkv, Dqk] and so on; Hq must be a multiple of Hkv.
 * @param v [B, Hkv, Nkv, Dv]. Dqk and Dv are 1 to 1024; B, Nq and Nkv may be 0.
 * @returns See {@link AttentionResult}; with `partial: true` a {@link SoftmaxPartial} or {@link SumPartial}.
 *
 * Never throws: rejects with an AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_UNKNOWN_OPTION`,
 * `ERR_SHAPE_MISMATCH`, `ERR_OUT_OF_RANGE`, `ERR_UNSUPPORTED`, `ERR_NO_DEVICE`, `ERR_OUT_OF_MEMORY`,
 * `ERR_BUFFER_IN_USE` (`out` is written by another call), `ERR_ALIASING` (`out` overlaps another argument; whole address
 * ranges count), `ERR_DISPOSED`, `ERR_LOAD_FAILED`, `ERR_INTERNAL`; or with an AbortError.
 */
export function attention<const Given extends Normalizer | undefined = undefined>(
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options: PartialOptions<Given>,
): Promise<PartialOf<Given>>;
export function attention<
  Lse extends Flag = undefined,
  Entropy extends Flag = undefined,
  RowMax extends Flag = undefined,
  const Stats extends Asked = undefined,
>(
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options?: AttentionOptions<Lse, Entropy, RowMax, Stats>,
): Promise<AttentionResult<Lse, Entropy, RowMax, Stats>>;
export async function attention(q: unknown, k: unknown, v: unknown, options?: unknown): Promise<unknown> {
  const { call, prepared } = guarded(() => prepare(q, k, v, options));
  try {
    await execute(prepared, call.options.signal);
  } catch (error) {
    dropResults(call.results.list);
    throw error;
  }
  return resultOf(call);
}

/** {@link attention} on the calling thread (and the pool's); throws what that rejects with. */
export function attentionSync<const Given extends Normalizer | undefined = undefined>(
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options: PartialOptions<Given>,
): PartialOf<Given>;
export function attentionSync<
  Lse extends Flag = undefined,
  Entropy extends Flag = undefined,
  RowMax extends Flag = undefined,
  const Stats extends Asked = undefined,
>(
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options?: AttentionOptions<Lse, Entropy, RowMax, Stats>,
): AttentionResult<Lse, Entropy, RowMax, Stats>;
export function attentionSync(q: unknown, k: unknown, v: unknown, options?: unknown): unknown {
  const { call, prepared } = guarded(() => prepare(q, k, v, options));
  try {
    executeSync(prepared);
  } catch (error) {
    dropResults(call.results.list);
    throw error;
  }
  return resultOf(call);
}

function prepare(q: unknown, k: unknown, v: unknown, options: unknown) {
  const call = readCall(q, k, v, options, 'allocate');
  return { call, prepared: encodeCall(call) };
}

export function resultOf({ options, results, statistics }: AttentionCall): unknown {
  const tensors: Record<string, unknown> = options.partial ? { kind: kinds[options.normalizer?.kind ?? 0] } : {};
  for (const { name, tensor } of results.list) tensors[name] = tensor;
  if (statistics) tensors['statistics'] = statistics.results;
  return tensors;
}
