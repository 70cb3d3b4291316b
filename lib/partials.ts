// Partials: attention over some of the keys, and the one way to combine them.

import { encodeMerge } from './call.js';
import type { MergeBuffer, MergeForm, MergePart } from './call.js';
import { denseElements } from './dense.js';
import { floatDtypes } from './dtype.js';
import type { FloatDtype } from './dtype.js';
import {
  AttentionError,
  describe,
  formatShape,
  invalidType,
  invalidValue,
  oneOf,
  shapeMismatch,
  unsupported,
} from './errors.js';
import { execute, executeSync } from './execution.js';
import type { PreparedCall } from './execution.js';
import { allocate } from './memory.js';
import { kinds } from './normalizers.js';
import type { Normalizer, NormalizerName, SoftmaxNormalizer } from './normalizers.js';
import { choice, flag } from './options.js';
import type { LayoutName } from './options.js';
import { guarded } from './prepare.js';
import { contiguousStrides, countOf, isContiguous, sameShape } from './shape.js';
import { checkSignal, throwIfAborted } from './signals.js';
import type { AbortSignalLike } from './signals.js';
import { readSinks } from './sinks.js';
import { isArray, readLength, readList, readProperty, readSnapshot } from './snapshot.js';
import { readTensor, tensorOf, toTensor } from './tensor.js';
import type { Tensor, TensorInput } from './tensor.js';
import { rawView } from './view.js';
import type { HostView } from './view.js';

/**
 * Attention over some of the keys, before normalisation; all float32. With s the scores (natural units) of a row:
 * `m` is a base-2 exponent, `l` = Σ 2^(s·log2 e − m), and `o` = Σ 2^(s·log2 e − m) v. So output = o / l and
 * lse = (m + log2 l)·ln 2. A row that sees no key has m −∞, l 0 and o 0. There are no sinks in it.
 */
export interface SoftmaxPartial {
  readonly kind: 'softmax';
  /** [B, Hq, Nq, Dv] whatever the call's layout; ragged [Hq, total, Dv]. */
  readonly o: Tensor;
  /** [B, Hq, Nq]; ragged [Hq, total]. */
  readonly m: Tensor;
  /** Shape as `m`. */
  readonly l: Tensor;
}

/**
 * Attention over some of the keys with a normalizer that is not softmax: `o` = Σ w v over the keys seen, float32. Weights
 * are functions of their own scores alone, so that sums over parts of the keys add up.
 */
export interface SumPartial {
  readonly kind: SumKind;
  /** [B, Hq, Nq, Dv] whatever the call's layout; ragged [Hq, total, Dv]. */
  readonly o: Tensor;
}

/** What the weights of a {@link SumPartial} were made by. */
export type SumKind = Exclude<NormalizerName, 'softmax'>;

/** What `partial: true` gives with a normalizer; either where that is only known later. */
export type PartialOf<Given extends Normalizer | undefined> = [Given] extends [SoftmaxNormalizer | undefined]
  ? SoftmaxPartial
  : [Given] extends [Exclude<Normalizer, SoftmaxNormalizer>]
    ? SumPartial
    : SoftmaxPartial | SumPartial;

/** A {@link SumPartial} to merge with others of its kind, shift and divisor. */
export interface SumPartialInput {
  readonly kind: SumKind;
  readonly o: TensorInput;
}

/** One part to merge: a partial, or a float32 result with its lse, made without sinks. */
export type PartialInput =
  | { readonly kind: 'softmax'; readonly o: TensorInput; readonly m: TensorInput; readonly l: TensorInput }
  | { readonly kind?: undefined; readonly output: TensorInput; readonly lse: TensorInput };

/** Options of {@link mergePartials}. */
export interface MergeOptions {
  /** Default false. */
  partial?: false | undefined;
  /** One logit a query head, [Hq], that joins the denominator of the merged rows. */
  sinks?: TensorInput | Float32Array | readonly number[] | undefined;
  /** Default: the dtype of `out`'s output, else 'float32'. */
  outputDtype?: FloatDtype | undefined;
  /** Of `output` in the parts and in the result, as for {@link attention}. Default 'bhsd'. */
  layout?: LayoutName | undefined;
  /**
   * Tensors to write to, of the result's shapes. `output` must be head-first in memory ([B, Hq, Nq, Dv] without gaps,
   * whatever the order of its axes), `lse` float32 and contiguous.
   */
  out?: { readonly output?: TensorInput | undefined; readonly lse?: TensorInput | undefined } | undefined;
  /** Aborts the merge. */
  signal?: AbortSignalLike | undefined;
}

/** Options of a merge that returns a {@link SoftmaxPartial}, to be merged with others later. Sinks join at the end. */
export interface MergePartialOptions {
  partial: true;
  /** Of the parts that are finished results. */
  layout?: LayoutName | undefined;
  /** Contiguous float32 tensors to write to. */
  out?:
    | {
        readonly o?: TensorInput | undefined;
        readonly m?: TensorInput | undefined;
        readonly l?: TensorInput | undefined;
      }
    | undefined;
  signal?: AbortSignalLike | undefined;
}

/** Options of {@link mergePartials} for sums, which have neither sinks nor lse, and are their own partials. */
export interface SumMergeOptions {
  /** As in {@link MergeOptions}. */
  outputDtype?: FloatDtype | undefined;
  /** As in {@link MergeOptions}. */
  layout?: LayoutName | undefined;
  /** As in {@link MergeOptions}. */
  out?: { readonly output?: TensorInput | undefined } | undefined;
  /** Aborts the merge. */
  signal?: AbortSignalLike | undefined;
}

/** What {@link mergePartials} returns. */
export interface MergeResult {
  /**
   * [B, Hq, Nq, Dv], with `layout: 'bshd'` [B, Nq, Hq, Dv], ragged [total, Hq, Dv]. Its memory is head-first: for the
   * latter two it is a transposed view.
   */
  readonly output: Tensor;
  /** Float32 [B, Hq, Nq]; ragged [Hq, total]. */
  readonly lse: Tensor;
}

/**
 * Combines attention over parts of the keys into attention over all of them; with `partial: true` into a partial over
 * all of theirs.
 *
 * @param parts At least one; all of the same queries and heads. Sums of weights go with those of their own kind only, and
 *   give an output without lse. Tensors of another order in memory than [B, Hq, Nq, …] are copied first, on the calling
 *   thread.
 *
 * Never throws: rejects with an AttentionError, of the codes of {@link attention}, or with an AbortError.
 */
export function mergePartials(parts: readonly PartialInput[], options: MergePartialOptions): Promise<SoftmaxPartial>;
export function mergePartials(parts: readonly PartialInput[], options?: MergeOptions): Promise<MergeResult>;
export function mergePartials(
  parts: readonly SumPartialInput[],
  options?: SumMergeOptions,
): Promise<Pick<MergeResult, 'output'>>;
export async function mergePartials(parts: unknown, options?: unknown): Promise<unknown> {
  const { prepared, signal, result } = guarded(() => prepareMerge(parts, options));
  await execute(prepared, signal);
  return result;
}

/** {@link mergePartials} on the calling thread (and the pool's); throws what that rejects with. */
export function mergePartialsSync(parts: readonly PartialInput[], options: MergePartialOptions): SoftmaxPartial;
export function mergePartialsSync(parts: readonly PartialInput[], options?: MergeOptions): MergeResult;
export function mergePartialsSync(
  parts: readonly SumPartialInput[],
  options?: SumMergeOptions,
): Pick<MergeResult, 'output'>;
export function mergePartialsSync(parts: unknown, options?: unknown): unknown {
  const { prepared, result } = guarded(() => prepareMerge(parts, options));
  executeSync(prepared);
  return result;
}

/** {@link mergePartials} of partials that no user has seen: their memory needs no protection. */
export function mergeOwn(parts: readonly SoftmaxPartial[], options: MergePartialOptions): Promise<SoftmaxPartial>;
export function mergeOwn(parts: readonly SoftmaxPartial[], options: MergeOptions): Promise<MergeResult>;
export async function mergeOwn(parts: unknown, options: unknown): Promise<unknown> {
  const { prepared, signal, result } = prepareMerge(parts, options, true);
  await execute(prepared, signal);
  return result;
}

/** A part's tensors, head-first: [B, Hq, Nq, Dv] or [Hq, total, Dv]. */
interface Part {
  /** undefined: finished. */
  readonly kind: NormalizerName | undefined;
  readonly argument: string;
  readonly views: readonly HostView[];
}

/** What the tensors of a part are called. */
const namesOf: Readonly<Record<MergeForm, readonly string[]>> = {
  softmax: ['o', 'm', 'l'],
  finished: ['output', 'lse'],
  sum: ['o'],
};

const formOf = (kind: NormalizerName | undefined): MergeForm =>
  kind === undefined ? 'finished' : kind === 'softmax' ? kind : 'sum';

/** Parts, sinks and shapes past this are a mistake, and would only be slow to refuse. */
const maxParts = 2 ** 16;

function prepareMerge(
  given: unknown,
  options: unknown,
  own = false,
): { prepared: PreparedCall; signal: AbortSignalLike | undefined; result: Partial<MergeResult> | SoftmaxPartial } {
  const names = ['partial', 'sinks', 'outputDtype', 'layout', 'out', 'signal'];
  const settings = readSnapshot('options', options, names);
  const signal = checkSignal(settings['signal']);
  throwIfAborted(signal);
  const partial = flag('options.partial', settings['partial']);
  for (const name of partial ? ['sinks', 'outputDtype'] : []) {
    if (settings[name] === undefined) continue;
    throw invalidValue(`options.${name}`, 'none with options.partial', describe(settings[name]));
  }
  const layout = choice('options.layout', settings['layout'], ['bhsd', 'bshd']);
  const parts = readParts(given, layout);
  const shape = parts[0]!.views[0]!.shape;
  const statistic = shape.slice(0, -1);
  const [batch, heads, queries] = (statistic.length === 2 ? [1, ...statistic] : statistic) as [number, number, number];
  const sums = formOf(parts[0]!.kind) === 'sum';
  if (sums && settings['sinks'] !== undefined) {
    throw unsupported('options.sinks', 'none with sums of weights', describe(settings['sinks']));
  }
  if (sums && partial) throw unsupported('options.partial', 'none with sums of weights: their output is one', 'true');
  const sinks = readSinks(settings['sinks'], heads);

  const results = partial ? ['o', 'm', 'l'] : sums ? ['output'] : ['output', 'lse'];
  const out = readSnapshot('options.out', settings['out'], results);
  const float32 = (name: string, sizes: readonly number[]): Target =>
    target(name, out[name], { shape: sizes, dtype: 'float32', arrange: (view) => view });
  const asked = settings['outputDtype'];
  const first = partial
    ? float32('o', shape)
    : target('output', out['output'], {
        shape,
        dtype: asked === undefined ? undefined : choice('options.outputDtype', asked, floatDtypes),
        arrange: (view) => headFirst(view, layout),
      });
  const targets = [first, ...results.slice(1).map((name) => float32(name, statistic))];
  const prepared = encodeMerge({
    batch,
    heads,
    queries,
    dim: shape.at(-1)!,
    dtype: first.dtype,
    results: targets.map(({ buffer }) => buffer),
    sinks,
    parts: parts.map((part) => densePart(part, own)),
  });
  const named = Object.fromEntries(targets.map(({ tensor }, index) => [results[index]!, tensor]));
  return { prepared, signal, result: partial ? ({ kind: 'softmax', ...named } as SoftmaxPartial) : named };
}

function readParts(given: unknown, layout: LayoutName): readonly Part[] {
  if (!isArray('parts', given)) throw invalidType('parts', 'an array of partials', given);
  const count = readLength('parts', given);
  if (count < 1 || count > maxParts) {
    throw new AttentionError('ERR_OUT_OF_RANGE', 'parts', `1 to ${maxParts} partials`, `${count}`);
  }
  const parts = readList('parts', given, (part, argument) => readPart(part, argument, layout));
  const shape = formatShape(parts[0]!.views[0]!.shape);
  const { kind: first } = parts[0]!;
  for (const { kind, argument, views } of parts) {
    if (kind !== first && (formOf(kind) === 'sum' || formOf(first) === 'sum')) {
      const expected = `${describe(first)}, as parts[0] has: sums go with sums of the same weights`;
      throw invalidValue(`${argument}.kind`, expected, describe(kind));
    }
    if (formatShape(views[0]!.shape) === shape) continue;
    throw shapeMismatch(
      `${argument}.${namesOf[formOf(kind)][0]}`,
      `${shape} (head-first), as parts[0] has`,
      formatShape(views[0]!.shape),
    );
  }
  return parts;
}

function readPart(part: unknown, argument: string, layout: LayoutName): Part {
  if (typeof part !== 'object' || part === null) throw invalidType(argument, 'a partial or { output, lse }', part);
  const given = readProperty(argument, part, 'kind');
  const kind = kinds.find((name) => name === given);
  if (kind !== given) throw invalidValue(`${argument}.kind`, oneOf(kinds), describe(given));
  const form = formOf(kind);
  const names = namesOf[form];
  const read = names.map((name) => readFloat32(readProperty(argument, part, name), `${argument}.${name}`));
  const [first, ...statistics] = read as [HostView, ...HostView[]];
  const rank = first.shape.length;
  if (rank !== 3 && rank !== 4) {
    throw shapeMismatch(
      `${argument}.${names[0]}`,
      'rank 4, or rank 3 when ragged',
      `rank ${rank} ${formatShape(first.shape)}`,
    );
  }
  const views = [form === 'finished' ? headFirst(first, layout) : first, ...statistics];
  const shape = views[0]!.shape;
  checkSizes(`${argument}.${names[0]}`, shape);
  const expected = formatShape(shape.slice(0, -1));
  views.forEach((view, index) => {
    if (index === 0 || formatShape(view.shape) === expected) return;
    throw shapeMismatch(`${argument}.${names[index]}`, expected, formatShape(view.shape));
  });
  return { kind, argument, views };
}

function checkSizes(argument: string, shape: readonly number[]): void {
  const heads = shape.at(-3)!;
  const dim = shape.at(-1)!;
  if (heads < 1) throw shapeMismatch(argument, 'at least 1 head', formatShape(shape));
  if (dim < 1 || dim > 1024) throw shapeMismatch(argument, 'a last axis of size 1 to 1024', formatShape(shape));
}

function readFloat32(value: unknown, argument: string): HostView {
  const view = readTensor(value, argument);
  if (view.dtype !== 'float32') throw invalidValue(argument, "dtype 'float32'", describe(view.dtype));
  return view;
}

/** Heads before rows: the order of partials, from that of outputs. Its own inverse. */
function headFirst(view: HostView, layout: LayoutName): HostView {
  const rank = view.shape.length;
  if (rank === 4 && layout === 'bhsd') return view;
  const order = rank === 3 ? [1, 0, 2] : [0, 2, 1, 3];
  const shape = order.map((axis) => view.shape[axis]!);
  return { ...view, shape, strides: order.map((axis) => view.strides[axis]!) };
}

function densePart({ kind, argument, views }: Part, own: boolean): MergePart {
  const form = formOf(kind);
  const buffers = views.map((view, index) => {
    const name = `${argument}.${namesOf[form][index]}`;
    return { argument: name, view: denseElements(view, name), owned: own || !isContiguous(view.shape, view.strides) };
  });
  return { form, buffers };
}

interface Target {
  readonly buffer: MergeBuffer;
  readonly dtype: FloatDtype;
  readonly tensor: Tensor;
}

/** Where a result goes. `arrange` makes its shape head-first, `shape`, and is its own inverse. */
function target(
  name: string,
  value: unknown,
  {
    shape,
    dtype,
    arrange,
  }: { shape: readonly number[]; dtype: FloatDtype | undefined; arrange: (view: HostView) => HostView },
): Target {
  if (value === undefined) {
    const made = dtype ?? 'float32';
    const data = allocate(made, countOf(shape), name);
    const view: HostView = { data, dtype: made, shape, strides: contiguousStrides(shape), offset: 0 };
    return { buffer: { argument: name, view: data, owned: true }, dtype: made, tensor: tensorOf(arrange(view)) };
  }
  const argument = `options.out.${name}`;
  const given = readTensor(value, argument);
  if (given.dtype !== (dtype ?? given.dtype) || given.dtype === 'bool') {
    throw invalidValue(argument, `dtype ${dtype ? `'${dtype}'` : oneOf(floatDtypes)}`, describe(given.dtype));
  }
  const view = arrange(given);
  if (!sameShape(view.shape, shape)) {
    throw shapeMismatch(argument, `${formatShape(shape)} (head-first)`, formatShape(view.shape));
  }
  if (!isContiguous(view.shape, view.strides)) {
    throw unsupported(argument, 'memory that is head-first without gaps', `strides ${formatShape(given.strides)}`);
  }
  return {
    buffer: { argument, view: rawView(view), owned: false },
    dtype: given.dtype,
    tensor: toTensor(value, given),
  };
}
