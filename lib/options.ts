// The options of a call: their public types, and their values read once, named when unknown, and checked where that
// needs no tensor.

import { floatDtypes } from './dtype.js';
import type { FloatDtype } from './dtype.js';
import { checkDeviceName, presentDevice } from './devices.js';
import { deviceNames, environment } from './environment.js';
import type { DeviceName, Environment, TensorDevice } from './environment.js';
import { describe, invalidType, invalidValue, oneOf, outOfRange, unsupported } from './errors.js';
import type { LengthsInput } from './lengths.js';
import type { MaskItem } from './masks.js';
import type { Score } from './scores.js';
import { readNormalizer } from './normalizers.js';
import type { Normalizer, NormalizerNumbers } from './normalizers.js';
import { checkInteger } from './shape.js';
import type { PagesOptions } from './pages.js';
import { checkSignal } from './signals.js';
import type { AbortSignalLike } from './signals.js';
import { readSnapshot } from './snapshot.js';
import type { StatisticsOptions } from './statistics.js';
import type { TensorInput } from './tensor.js';

/** Order of the axes: `'bhsd'` is [B, H, S, D], `'bshd'` is [B, S, H, D]. */
export type LayoutName = 'bhsd' | 'bshd';

/**
 * Where the last query stands when there are more keys than queries, or fewer: at the last key (`'bottom-right'`), or
 * with the first query at the first key (`'top-left'`).
 */
export type Align = 'bottom-right' | 'top-left';

/** Tensors to write results to, instead of allocating them. Their shapes are those the results would have. */
export interface AttentionOut {
  /** Any strides with the last axis contiguous and no element reached twice; its dtype is the result's. */
  readonly output?: TensorInput | undefined;
  /** Contiguous float32, with `lse: true`. */
  readonly lse?: TensorInput | undefined;
  /** Contiguous float32, with `entropy: true`. */
  readonly entropy?: TensorInput | undefined;
  /** Contiguous float32, with `rowMax: true`. */
  readonly rowMax?: TensorInput | undefined;
  /** Contiguous float32, with `partial: true`. */
  readonly o?: TensorInput | undefined;
  /** Contiguous float32, with `partial: true`. */
  readonly m?: TensorInput | undefined;
  /** Contiguous float32, with `partial: true`. */
  readonly l?: TensorInput | undefined;
}

/** Options that do not change the form of the result. Leaving one out and giving `undefined` are the same. */
export interface AttentionBaseOptions {
  /** Factor of q·k. Default 1/sqrt(Dqk). */
  scale?: number | undefined;
  /**
   * Which keys a query may see; of an array, all items must allow. An item is a program ({@link mask},
   * {@link causal}, ...) or a tensor of dtype 'bool', nonzero meaning visible: [B, Nkv] (padding of keys, always, for
   * rank 2) or [B, Hq, Nq, Nkv], where an axis of size 1 applies to all. No tensors with ragged inputs.
   */
  mask?: MaskItem | readonly MaskItem[] | undefined;
  /** Changes the scaled and soft-capped scores, before the bias: {@link score}, {@link alibi}, ... */
  score?: Score | undefined;
  /**
   * Added to the scores. Any float dtype, any shape that broadcasts to [B, Hq, Nq, Nkv] (axes
   * aligned at the end, as in NumPy). Values below -2.35e38, such as the least float32, count as -Infinity. Not with ragged
   * inputs.
   */
  bias?: TensorInput | undefined;
  /** Replaces a scaled score x by softcap·tanh(x / softcap), before the bias. A finite number > 0. */
  softcap?: number | undefined;
  /** One logit a query head, [Hq], that joins the denominator only. Copied when the call is made. */
  sinks?: TensorInput | Float32Array | readonly number[] | undefined;
  /** Default 'bottom-right'. Moves rules of positions; tensors are indexed by row and column. */
  align?: Align | undefined;
  /** Of the inputs and of an allocated output. Default 'bhsd'. Ragged tensors are [total, H, D] in both. */
  layout?: LayoutName | undefined;
  /** Default: the dtype of `out`'s output, else the query's. */
  outputDtype?: FloatDtype | undefined;
  /** The most threads to use. Default: all this process may use, or `FUSED_ATTENTION_THREADS`, which also caps this. */
  threads?: number | undefined;
  /** A tensor for the output, or tensors by name. The results returned are these. */
  out?: TensorInput | AttentionOut | undefined;
  /** Ragged queries [total, Hq, D]: sequence b has rows [cuSeqlensQ[b], cuSeqlensQ[b + 1]). B + 1 values. */
  cuSeqlensQ?: LengthsInput | undefined;
  /** The same for keys and values; both or neither. */
  cuSeqlensKv?: LengthsInput | undefined;
  /** Valid query rows of each sequence of a padded batch, [B]. Rows past them get output 0 and lse −∞. */
  lengthsQ?: LengthsInput | undefined;
  /** Valid key rows of each sequence, [B]. Rows past them are not read. */
  lengthsKv?: LengthsInput | undefined;
  /** Keys and values lie in the pages of a pool, `key` and `value`; with `cuSeqlensQ` or `lengthsQ` if need be. */
  pages?: PagesOptions | undefined;
  /**
   * Where the call runs. Default 'auto': where q, k and v lie ({@link Tensor.to}); of tensors in host memory what
   * `FUSED_ATTENTION_DEVICE` says, else the CPU. 'cuda' is the first CUDA device, 'cuda:1' the next: tensors in host
   * memory are copied there, and results back. What the kernels do not take is `ERR_UNSUPPORTED`.
   */
  device?: DeviceName | undefined;
  /** Aborts the call. Of a synchronous call it is only looked at before it starts. */
  signal?: AbortSignalLike | undefined;
  /** How scores become weights. Default 'softmax'; only that one goes with sinks and statistics. */
  normalizer?: Normalizer | undefined;
}

/** Options of {@link attention}. The flags decide which tensors the result has. */
export interface AttentionOptions<
  Lse extends boolean | undefined = boolean | undefined,
  Entropy extends boolean | undefined = boolean | undefined,
  RowMax extends boolean | undefined = boolean | undefined,
  Stats extends StatisticsOptions | undefined = StatisticsOptions | undefined,
> extends AttentionBaseOptions {
  /** Also ln Σ exp(score) of each row (with its sink), float32 [B, Hq, Nq]; ragged [Hq, total]. */
  lse?: Lse;
  /** Also the entropy −Σ p ln p of each row's weights, in nats, float32; shape as `lse`. */
  entropy?: Entropy;
  /** Also the largest score of each row, float32; shape as `lse`. */
  rowMax?: RowMax;
  /** Also what these say of the weights; only of softmax. */
  statistics?: Stats;
  /** See {@link PartialOptions}. */
  partial?: false | undefined;
}

/**
 * Options of a call that returns a {@link SoftmaxPartial}, or a {@link SumPartial} where the normalizer is another. It has
 * no sinks: they join when partials are merged.
 */
export interface PartialOptions<Given extends Normalizer | undefined = undefined> extends AttentionBaseOptions {
  partial: true;
  normalizer?: Given;
  outputDtype?: 'float32' | undefined;
  lse?: false | undefined;
  entropy?: false | undefined;
  rowMax?: false | undefined;
  statistics?: undefined;
  sinks?: undefined;
}

/** Options as checked here. Tensors and lengths among them are still as given. */
export interface CallOptions {
  readonly scale: number | undefined;
  readonly softcap: number;
  readonly align: Align;
  readonly layout: LayoutName;
  readonly outputDtype: FloatDtype | undefined;
  readonly lse: boolean;
  readonly entropy: boolean;
  readonly rowMax: boolean;
  readonly partial: boolean;
  readonly threads: number;
  /** What was asked for; where it was not, and tensors lie on a device, that counts. */
  readonly device: TensorDevice;
  readonly signal: AbortSignalLike | undefined;
  /** null: softmax. */
  readonly normalizer: NormalizerNumbers | null;
  readonly environment: Environment;
  readonly given: Readonly<Record<string, unknown>>;
}

const names = [
  'scale',
  'mask',
  'score',
  'bias',
  'softcap',
  'sinks',
  'align',
  'layout',
  'outputDtype',
  'threads',
  'out',
  'cuSeqlensQ',
  'cuSeqlensKv',
  'lengthsQ',
  'lengthsKv',
  'pages',
  'device',
  'signal',
  'normalizer',
  'lse',
  'entropy',
  'rowMax',
  'partial',
  'statistics',
];

/** What any entry point takes, all left out: objects of one shape are read fastest. */
const nothing: Record<string, unknown> = Object.fromEntries(
  [...names, 'k', 'v', 'positions'].map((name) => [name, undefined]),
);

const aligns: readonly Align[] = ['bottom-right', 'top-left'];
const layouts: readonly LayoutName[] = ['bhsd', 'bshd'];

/** `known` are the names that an entry point takes; `layout` where a cache says it, over which only the CPU computes. */
export function readOptions(options: unknown, known: readonly string[] = names, layout?: LayoutName): CallOptions {
  const given = readSnapshot('options', options, known, { ...nothing });
  const signal = checkSignal(given['signal']);
  const settings = environment();
  const { threads } = given;
  const checked: CallOptions = {
    scale: given['scale'] === undefined ? undefined : checkScale(given['scale']),
    softcap: given['softcap'] === undefined ? 0 : checkSoftcap(given['softcap']),
    align: choice('options.align', given['align'], aligns),
    layout: layout ?? choice('options.layout', given['layout'], layouts),
    outputDtype:
      given['outputDtype'] === undefined ? undefined : choice('options.outputDtype', given['outputDtype'], floatDtypes),
    lse: flag('options.lse', given['lse']),
    entropy: flag('options.entropy', given['entropy']),
    rowMax: flag('options.rowMax', given['rowMax']),
    partial: flag('options.partial', given['partial']),
    threads: Math.min(
      threads === undefined ? Infinity : checkInteger('options.threads', threads, 1, Number.MAX_SAFE_INTEGER),
      settings.threads,
    ),
    device: layout === undefined ? readDevice(given['device'], settings) : readHost(given['device'], settings),
    signal,
    normalizer: given['normalizer'] === undefined ? null : readNormalizer(given['normalizer']),
    environment: settings,
    given,
  };
  if (checked.partial) checkPartial(checked);
  if (checked.normalizer) checkSumOfWeights(checked);
  return checked;
}

/** A partial is summed up later, so nothing that needs the finished row goes with it. */
function checkPartial({ lse, entropy, rowMax, outputDtype, given }: CallOptions): void {
  if (given['sinks'] !== undefined) {
    throw invalidValue(
      'options.sinks',
      'none with options.partial (give them to mergePartials)',
      describe(given['sinks']),
    );
  }
  if (given['statistics'] !== undefined) {
    throw unsupported('options.statistics', 'none with options.partial', describe(given['statistics']));
  }
  for (const [name, set] of Object.entries({ lse, entropy, rowMax })) {
    if (set) throw invalidValue(`options.${name}`, 'false with options.partial, whose m and l give it', 'true');
  }
  if (outputDtype !== undefined && outputDtype !== 'float32') {
    throw invalidValue('options.outputDtype', "'float32' with options.partial", describe(outputDtype));
  }
}

/** Weights that each go by their own score have no denominator, and nothing that is made of one. */
function checkSumOfWeights({ lse, entropy, rowMax, partial, normalizer, given }: CallOptions): void {
  if (given['sinks'] !== undefined) {
    throw unsupported('options.sinks', "none without the normalizer 'softmax'", describe(given['sinks']));
  }
  if (given['statistics'] !== undefined) {
    throw unsupported('options.statistics', "none without the normalizer 'softmax'", describe(given['statistics']));
  }
  for (const [name, set] of Object.entries({ lse, entropy, rowMax })) {
    if (set) throw unsupported(`options.${name}`, "false without the normalizer 'softmax'", 'true');
  }
  if (partial && normalizer?.byKeys) {
    throw unsupported('options.normalizer', 'a number with options.partial, which has not all keys', "'keys'");
  }
}

function readDevice(value: unknown, settings: Environment): TensorDevice {
  const asked = value === undefined ? 'auto' : checkDeviceName('options.device', value, deviceNames);
  if (asked !== 'auto') return presentDevice('options.device', asked);
  return settings.device === 'auto' ? 'cpu' : presentDevice('FUSED_ATTENTION_DEVICE', settings.device);
}

/** What the environment says of a device that is not there holds for caches too; one that is there they leave alone. */
function readHost(value: unknown, settings: Environment): 'cpu' {
  const device = readDevice(value, settings);
  if (device === 'cpu' || value === undefined || value === 'auto') return 'cpu';
  throw unsupported('options.device', "'cpu' for a cache", describe(value));
}

function checkScale(value: unknown): number {
  const expected = 'a number that is finite as float32';
  if (typeof value !== 'number') throw invalidType('options.scale', expected, value);
  if (!Number.isFinite(Math.fround(value))) throw outOfRange('options.scale', expected, value);
  return value;
}

function checkSoftcap(value: unknown): number {
  const expected = 'a number > 0 that is finite and normal as float32; leave it out for no cap';
  if (typeof value !== 'number') throw invalidType('options.softcap', expected, value);
  const cap = Math.fround(value);
  if (!(cap >= 2 ** -126 && cap < Infinity)) throw outOfRange('options.softcap', expected, value);
  return value;
}

/** `byDefault` when undefined. */
export function flag(argument: string, value: unknown, byDefault = false): boolean {
  if (value === undefined) return byDefault;
  if (typeof value !== 'boolean') throw invalidType(argument, 'a boolean', value);
  return value;
}

/** The first of `values` when undefined. */
export function choice<Name extends string>(argument: string, value: unknown, values: readonly Name[]): Name {
  if (value === undefined) return values[0]!;
  if (typeof value !== 'string') throw invalidType(argument, oneOf(values), value);
  if (!(values as readonly string[]).includes(value)) throw invalidValue(argument, oneOf(values), describe(value));
  return value as Name;
}
