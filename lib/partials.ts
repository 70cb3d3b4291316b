// Partials: attention over some of the keys, and the one way to combine them.

import { encodeMerge } from './call.js';
import type { MergeBuffer, MergeForm, MergePart } from './call.js';
import { denseElements } from './dense.js';
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
import { checkSignal, choice, throwIfAborted } from './options.js';
import type { AbortSignalLike, LayoutName } from './options.js';
import { guarded } from './prepare.js';
import { contiguousStrides, countOf, isContiguous, sameShape } from './shape.js';
import { readSinks } from './sinks.js';
import { readProperty, readSnapshot } from './snapshot.js';
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
  /** One logit a query head, [Hq], that joins the denominator of the merged rows. */
  sinks?: TensorInput | Float32Array | readonly number[] | undefined;
  /** Of `output` in the parts and in the result, as for {@link attention}. Default 'bhsd'. */
  layout?: LayoutName | undefined;
  /**
   * Tensors to write to: float32 of the result's shapes. `output` must be head-first in memory ([B, Hq, Nq, Dv] without
   * gaps, whatever the order of its axes), `lse` contiguous.
   */
  out?: { readonly output?: TensorInput | undefined; readonly lse?: TensorInput | undefined } | undefined;
  /** Aborts the merge. */
  signal?: AbortSignalLike | undefined;
}

/** Options of {@link mergePartials} for sums, which have neither sinks nor lse. */
export interface SumMergeOptions {
  /** As in {@link MergeOptions}. */
  layout?: LayoutName | undefined;
  /** As in {@link MergeOptions}. */
  out?: { readonly output?: TensorInput | undefined } | undefined;
  /** Aborts the merge. */
  signal?: AbortSignalLike | undefined;
}

/** What {@link mergePartials} returns; float32. */
export interface MergeResult {
  /**
   * [B, Hq, Nq, Dv], with `layout: 'bshd'` [B, Nq, Hq, Dv], ragged [total, Hq, Dv]. Its memory is head-first: for the
   * latter two it is a transposed view.
   */
  readonly output: Tensor;
  /** [B, Hq, Nq]; ragged [Hq, total]. */
  readonly lse: Tensor;
}

/**
 * Combines attention over parts of the keys into attention over all of them.
 *
 * @param parts At least one; all of the same queries and heads. Sums of weights go with those of their own kind only, and
 *   give an output without lse. Tensors of another order in memory than [B, Hq, Nq, …] are copied first, on the calling
 *   thread.
 *
 * Never throws: rejects with an AttentionError, of the codes of {@link attention}, or with an AbortError.
 */
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
): { prepared: PreparedCall; signal: AbortSignalLike | undefined; result: Partial<MergeResult> } {
  const settings = readSnapshot('options', options, ['sinks', 'layout', 'out', 'signal']);
  const signal = checkSignal(settings['signal']);
  throwIfAborted(signal);
  const layout = choice('options.layout', settings['layout'], ['bhsd', 'bshd']);
  const parts = readParts(given, layout);
  const shape = parts[0]!.views[0]!.shape;
  const statistic = shape.slice(0, -1);
  const [batch, heads, queries] = (statistic.length === 2 ? [1, ...statistic] : statistic) as [number, number, number];
  const sums = formOf(parts[0]!.kind) === 'sum';
  if (sums && settings['sinks'] !== undefined) {
    throw unsupported('options.sinks', 'none with sums of weights', describe(settings['sinks']));
  }
  const sinks = readSinks(settings['sinks'], heads);

  const out = readSnapshot('options.out', settings['out'], sums ? ['output'] : ['output', 'lse']);
  const output = target('output', out['output'], shape, (view) => headFirst(view, layout));
  const lse = sums ? null : target('lse', out['lse'], statistic, (view) => view);
  const prepared = encodeMerge({
    batch,
    heads,
    queries,
    dim: shape.at(-1)!,
    output: output.buffer,
    lse: lse && lse.buffer,
    sinks,
    parts: parts.map(densePart),
  });
  const result = { output: output.tensor(layout), ...(lse && { lse: lse.tensor('bhsd') }) };
  return { prepared, signal, result };
}

function readParts(given: unknown, layout: LayoutName): readonly Part[] {
  if (!Array.isArray(given)) throw invalidType('parts', 'an array of partials', given);
  if (given.length < 1 || given.length > maxParts) {
    throw new AttentionError('ERR_OUT_OF_RANGE', 'parts', `1 to ${maxParts} partials`, `${given.length}`);
  }
  const parts = Array.from(given, (part: unknown, index) => readPart(part, `parts[${index}]`, layout));
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
  const shape = Object.freeze(order.map((axis) => view.shape[axis]!));
  return { ...view, shape, strides: Object.freeze(order.map((axis) => view.strides[axis]!)) };
}

function densePart({ kind, argument, views }: Part): MergePart {
  const form = formOf(kind);
  const buffers = views.map((view, index) => {
    const name = `${argument}.${namesOf[form][index]}`;
    return { argument: name, view: denseElements(view, name), owned: !isContiguous(view.shape, view.strides) };
  });
  return { form, buffers };
}

/** Where a result goes, given head-first. */
function target(
  name: string,
  value: unknown,
  shape: readonly number[],
  arrange: (view: HostView) => HostView,
): { buffer: MergeBuffer; tensor: (layout: LayoutName) => Tensor } {
  if (value === undefined) {
    const data = allocate('float32', countOf(shape), name);
    const view: HostView = { data, dtype: 'float32', shape, strides: contiguousStrides(shape), offset: 0 };
    const isOutput = name === 'output';
    return {
      buffer: { argument: name, view: data, owned: true },
      tensor: (layout) => tensorOf(isOutput ? headFirst(view, layout) : view),
    };
  }
  const argument = `options.out.${name}`;
  const given = readFloat32(value, argument);
  const view = arrange(given);
  if (!sameShape(view.shape, shape)) {
    throw shapeMismatch(argument, `${formatShape(shape)} (head-first)`, formatShape(view.shape));
  }
  if (!isContiguous(view.shape, view.strides)) {
    throw unsupported(argument, 'memory that is head-first without gaps', `strides ${formatShape(given.strides)}`);
  }
  return { buffer: { argument, view: rawView(view), owned: false }, tensor: () => toTensor(value, given) };
}
