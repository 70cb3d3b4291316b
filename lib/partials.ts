// Partials: attention over some of the keys, and the one way to combine them.

import { encodeMerge } from './call.js';
import type { MergeBuffer, MergePart } from './call.js';
import { denseElements } from './dense.js';
import {
  AttentionError,
  describe,
  formatShape,
  invalidType,
  invalidValue,
  shapeMismatch,
  unsupported,
} from './errors.js';
import { execute, executeSync } from './execution.js';
import type { PreparedCall } from './execution.js';
import { allocate } from './memory.js';
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
 * @param parts At least one; all of the same queries and heads. Tensors of another order in memory than
 *   [B, Hq, Nq, …] are copied first, on the calling thread.
 *
 * Never throws: rejects with an AttentionError, of the codes of {@link attention}, or with an AbortError.
 */
export async function mergePartials(parts: readonly PartialInput[], options?: MergeOptions): Promise<MergeResult> {
  const { prepared, signal, result } = guarded(() => prepareMerge(parts, options));
  await execute(prepared, signal);
  return result;
}

/** {@link mergePartials} on the calling thread (and the pool's); throws what that rejects with. */
export function mergePartialsSync(parts: readonly PartialInput[], options?: MergeOptions): MergeResult {
  const { prepared, result } = guarded(() => prepareMerge(parts, options));
  executeSync(prepared);
  return result;
}

/** A part's tensors, head-first: [B, Hq, Nq, Dv] or [Hq, total, Dv]. */
interface Part {
  readonly finished: boolean;
  readonly argument: string;
  readonly names: readonly string[];
  readonly views: readonly HostView[];
}

/** Parts, sinks and shapes past this are a mistake, and would only be slow to refuse. */
const maxParts = 2 ** 16;

function prepareMerge(
  given: unknown,
  options: unknown,
): { prepared: PreparedCall; signal: AbortSignalLike | undefined; result: MergeResult } {
  const settings = readSnapshot('options', options, ['sinks', 'layout', 'out', 'signal']);
  const signal = checkSignal(settings['signal']);
  throwIfAborted(signal);
  const layout = choice('options.layout', settings['layout'], ['bhsd', 'bshd']);
  const parts = readParts(given, layout);
  const shape = parts[0]!.views[0]!.shape;
  const statistic = shape.slice(0, -1);
  const [batch, heads, queries] = (statistic.length === 2 ? [1, ...statistic] : statistic) as [number, number, number];
  const sinks = readSinks(settings['sinks'], heads);

  const out = readSnapshot('options.out', settings['out'], ['output', 'lse']);
  const output = target('output', out['output'], shape, (view) => headFirst(view, layout));
  const lse = target('lse', out['lse'], statistic, (view) => view);
  const prepared = encodeMerge({
    batch,
    heads,
    queries,
    dim: shape.at(-1)!,
    output: output.buffer,
    lse: lse.buffer,
    sinks,
    parts: parts.map(densePart),
  });
  return { prepared, signal, result: { output: output.tensor(layout), lse: lse.tensor('bhsd') } };
}

function readParts(given: unknown, layout: LayoutName): readonly Part[] {
  if (!Array.isArray(given)) throw invalidType('parts', 'an array of partials', given);
  if (given.length < 1 || given.length > maxParts) {
    throw new AttentionError('ERR_OUT_OF_RANGE', 'parts', `1 to ${maxParts} partials`, `${given.length}`);
  }
  const parts = Array.from(given, (part: unknown, index) => readPart(part, `parts[${index}]`, layout));
  const shape = formatShape(parts[0]!.views[0]!.shape);
  for (const { argument, names, views } of parts) {
    if (formatShape(views[0]!.shape) === shape) continue;
    throw shapeMismatch(
      `${argument}.${names[0]}`,
      `${shape} (head-first), as parts[0] has`,
      formatShape(views[0]!.shape),
    );
  }
  return parts;
}

function readPart(part: unknown, argument: string, layout: LayoutName): Part {
  if (typeof part !== 'object' || part === null) throw invalidType(argument, 'a partial or { output, lse }', part);
  const kind = readProperty(argument, part, 'kind');
  if (kind !== undefined && kind !== 'softmax') throw invalidValue(`${argument}.kind`, "'softmax'", describe(kind));
  const finished = kind === undefined;
  const names = finished ? ['output', 'lse'] : ['o', 'm', 'l'];
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
  const views = [finished ? headFirst(first, layout) : first, ...statistics];
  const shape = views[0]!.shape;
  checkSizes(`${argument}.${names[0]}`, shape);
  const expected = formatShape(shape.slice(0, -1));
  views.forEach((view, index) => {
    if (index === 0 || formatShape(view.shape) === expected) return;
    throw shapeMismatch(`${argument}.${names[index]}`, expected, formatShape(view.shape));
  });
  return { finished, argument, names, views };
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

function densePart({ finished, argument, names, views }: Part): MergePart {
  const buffers = views.map((view, index) => {
    const name = `${argument}.${names[index]}`;
    return { argument: name, view: denseElements(view, name), owned: !isContiguous(view.shape, view.strides) };
  });
  return { finished, buffers };
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
