// The flat form of a call: one array of numbers and a list of buffers, in the order of native/problem_codec.h.

import type { BoundProgram } from './bound-program.js';
import { dtypeId } from './dtype.js';
import type { FloatDtype } from './dtype.js';
import type { CacheStep, PreparedCall } from './execution.js';
import { ordinalOf } from './devices.js';
import type { Geometry, Rows } from './geometry.js';
import type { Grid, Visibility } from './grids.js';
import type { CallOptions } from './options.js';
import type { ResultName, Results } from './results.js';
import type { StatisticsCall } from './statistics.js';
import { rowsOf } from './geometry.js';
import { giveLengthsBack } from './lengths-memory.js';
import type { NativeBuffer } from './native.cjs';
import { isOnDevice, rawView, wholeView } from './view.js';
import type { View } from './view.js';

const codecVersion = 1;

const flagBits = {
  lse: 1,
  entropy: 2,
  rowMax: 4,
  partial: 8,
  sinks: 16,
  bias: 32,
  pages: 64,
  normalizer: 128,
  statistics: 256,
  cuda: 512,
} as const;

/** Slots of the results among the buffers. */
const slotOf: Readonly<Record<ResultName, number>> = { output: 3, lse: 4, entropy: 5, rowMax: 6, o: 3, m: 7, l: 8 };
const firstMaskSlot = 13;
/** In the place of a merged output's dtype. */
const partialResult = 3;

/** All that an attention call is made of, checked. */
export interface AttentionCall {
  readonly options: CallOptions;
  readonly geometry: Geometry;
  readonly visibility: Visibility;
  readonly score: BoundProgram | null;
  readonly bias: Grid | null;
  readonly sinks: Float32Array | null;
  readonly results: Results;
  readonly statistics: StatisticsCall | null;
}

/** Numbers of a call before its tensors, of a tensor, and of a grid. */
const headNumbers = 15;
const rowNumbers = 5;
const gridNumbers = 6;
/** Of pages, before what is shared. */
const pageNumbers = 4;
const normalizerNumbers = 3;

/** Memory for the numbers of calls, by how many grids they have. */
const scratch: Float64Array[] = [];

/** The numbers of an attention call, valid until the next ones are asked for: hand them over at once. */
export function encodeNumbers(call: AttentionCall): Float64Array {
  const { options, geometry, visibility, bias, sinks, results, statistics } = call;
  const { query, key, value, ragged, layout, pages } = geometry;
  const onCuda = options.device !== 'cpu';
  const flags =
    (options.lse ? flagBits.lse : 0) |
    (options.entropy ? flagBits.entropy : 0) |
    (options.rowMax ? flagBits.rowMax : 0) |
    // A sum of weights is its own partial.
    (options.partial && !options.normalizer ? flagBits.partial : 0) |
    (sinks ? flagBits.sinks : 0) |
    (bias ? flagBits.bias : 0) |
    (pages ? flagBits.pages : 0) |
    (options.normalizer ? flagBits.normalizer : 0) |
    (statistics ? flagBits.statistics : 0) |
    (onCuda ? flagBits.cuda : 0);
  const grids = (bias ? 1 : 0) + visibility.grids.length;
  const count = headNumbers + 4 * rowNumbers + gridNumbers * grids + 1;
  const more =
    (pages ? pageNumbers + pages.prefixes.length : 0) +
    (options.normalizer ? normalizerNumbers : 0) +
    (statistics ? statistics.numbers.length : 0) +
    (onCuda ? 1 : 0);
  const numbers = more > 0 ? new Float64Array(count + more) : (scratch[grids] ??= new Float64Array(count));
  numbers[0] = codecVersion;
  numbers[1] = options.environment.isaId;
  numbers[2] = options.threads;
  numbers[3] = geometry.batch;
  numbers[4] = geometry.headsQ;
  numbers[5] = geometry.headsKv;
  numbers[6] = geometry.queries;
  numbers[7] = geometry.keys;
  numbers[8] = geometry.dimQk;
  numbers[9] = geometry.dimV;
  numbers[10] = options.scale ?? 1 / Math.sqrt(geometry.dimQk);
  numbers[11] = options.softcap;
  numbers[12] = options.align === 'top-left' ? 1 : 0;
  numbers[13] = ragged ? 2 : geometry.lengthsQ ? 1 : 0;
  numbers[14] = flags;
  let at = headNumbers;
  at = putRows(numbers, at, query, rowsOf(query.strides, ragged, layout));
  at = putRows(numbers, at, key, rowsOf(key.strides, ragged && !pages, layout));
  at = putRows(numbers, at, value, rowsOf(value.strides, ragged && !pages, layout));
  at = putRows(numbers, at, results.list[0]!.view, results.rows);
  if (bias) at = putGrid(numbers, at, bias);
  numbers[at] = visibility.grids.length;
  at += 1;
  for (const grid of visibility.grids) at = putGrid(numbers, at, grid);
  if (pages) numbers.set([pages.pageSize, pages.count, pages.columns, pages.prefixes.length, ...pages.prefixes], at);
  const end = numbers.length - (onCuda ? 1 : 0);
  // Softmax alone has statistics: there is at most one of these.
  if (options.normalizer) {
    const { kind, byKeys, number } = options.normalizer;
    numbers.set([kind, byKeys ? 1 : 0, number], end - normalizerNumbers);
  }
  if (statistics) numbers.set(statistics.numbers, end - statistics.numbers.length);
  if (onCuda) numbers[end] = ordinalOf(options.device);
  return numbers;
}

/** Numbers and buffers of an attention call, which may be one over a cache. */
export function encodeCall(call: AttentionCall, step?: CacheStep): PreparedCall {
  const { geometry, visibility, score, bias, sinks, results, statistics } = call;
  const { grids } = visibility;
  const first = results.list[0]!;
  const buffers: (NativeBuffer | null)[] = [
    wholeView(geometry.query),
    wholeView(geometry.key),
    wholeView(geometry.value),
    wholeView(first.view),
  ];
  let owned = copiedSlots | (first.owned ? 1 << slotOf[first.name] : 0);
  for (let n = 1; n < results.list.length; n += 1) {
    const { name, view, owned: allocated } = results.list[n]!;
    // Statistics have no layout among the numbers: their buffer starts where they do.
    putBuffer(buffers, slotOf[name], view.offset === 0 || isOnDevice(view) ? wholeView(view) : rawView(view));
    if (allocated) owned |= 1 << slotOf[name];
  }
  if (sinks) putBuffer(buffers, 9, sinks);
  if (bias) putBuffer(buffers, 10, wholeView(bias.view));
  if (geometry.lengthsQ) putBuffer(buffers, 11, geometry.lengthsQ);
  if (geometry.lengthsKv) putBuffer(buffers, 12, geometry.lengthsKv);
  for (let i = 0; i < grids.length; i += 1) putBuffer(buffers, firstMaskSlot + i, wholeView(grids[i]!.view));
  if (geometry.pages) {
    for (const [slot, list] of pageLists(call)) {
      putBuffer(buffers, slot, list);
      if (slot < 31) owned |= 1 << slot;
    }
  }
  statistics?.buffers.forEach((buffer, index) => {
    const slot = firstStatisticSlot(call) + index;
    putBuffer(buffers, slot, buffer);
    if (slot < 31) owned |= 1 << slot;
  });
  return {
    kind: 'attention',
    numbers: () => encodeNumbers(call),
    buffers,
    owned,
    name: (slot) => nameOf(call, slot),
    programs: { mask: visibility.program, score },
    step,
    release: geometry.ragged ? () => releaseLengths(geometry) : undefined,
  };
}

function releaseLengths({ lengthsQ, lengthsKv }: Geometry): void {
  giveLengthsBack(lengthsQ!);
  if (lengthsKv !== lengthsQ) giveLengthsBack(lengthsKv!);
}

/** What a call over pages has after its masks, and where. */
export function pageLists({ geometry, visibility }: AttentionCall): readonly (readonly [number, Int32Array])[] {
  const { pages } = geometry;
  if (!pages) return [];
  const slot = firstMaskSlot + visibility.grids.length;
  return pages.prefixOf
    ? [
        [slot, pages.table],
        [slot + 1, pages.prefixOf],
      ]
    : [[slot, pages.table]];
}

/** Behind the masks, and the two lists of pages. */
function firstStatisticSlot({ geometry, visibility }: AttentionCall): number {
  return firstMaskSlot + visibility.grids.length + (geometry.pages ? 2 : 0);
}

/** Slots of what is copied when a call is made: sinks and lengths. */
const copiedSlots = (1 << 9) | (1 << 11) | (1 << 12);

/** What users call the buffer in a slot. */
function nameOf(call: AttentionCall, slot: number): string | undefined {
  const { geometry, visibility, bias, results } = call;
  if (slot >= firstStatisticSlot(call)) return 'options.statistics';
  if (slot >= firstMaskSlot + visibility.grids.length) return 'options.pages.table';
  if (slot >= firstMaskSlot) return visibility.grids[slot - firstMaskSlot]!.argument;
  switch (slot) {
    case 0:
      return 'query';
    case 1:
      return 'key';
    case 2:
      return 'value';
    case 9:
      return 'options.sinks';
    case 10:
      return bias?.argument;
    case 11:
      return geometry.ragged ? 'options.cuSeqlensQ' : 'options.lengthsQ';
    case 12:
      return geometry.ragged ? 'options.cuSeqlensKv' : 'options.lengthsKv';
    default:
      return results.list.find((result) => slotOf[result.name] === slot)?.argument;
  }
}

/** Slots that nothing is put in are null, or past the end. */
function putBuffer(buffers: (NativeBuffer | null)[], slot: number, view: NativeBuffer): void {
  while (buffers.length < slot) buffers.push(null);
  buffers[slot] = view;
}

/** What a merge is made of, dense: numerators or outputs [rows of heads..., dim], the rest without dim. */
export interface MergeCall {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly dim: number;
  /** Of a finished result. */
  readonly dtype: FloatDtype;
  /** o, m and l where the result is a partial; else output and lse, or output alone of sums. */
  readonly results: readonly MergeBuffer[];
  readonly sinks: Float32Array | null;
  readonly parts: readonly MergePart[];
}

export interface MergePart {
  readonly form: MergeForm;
  /** o, m, l; output, lse; or o. */
  readonly buffers: readonly MergeBuffer[];
}

/** A softmax partial, { output, lse }, or a sum of weights. */
export type MergeForm = 'softmax' | 'finished' | 'sum';
const mergeForms: readonly MergeForm[] = ['softmax', 'finished', 'sum'];

export interface MergeBuffer {
  readonly argument: string;
  readonly view: ArrayBufferView;
  readonly owned: boolean;
}

/** Numbers and buffers of a merge. */
export function encodeMerge({ batch, heads, queries, dim, dtype, results, sinks, parts }: MergeCall): PreparedCall {
  const kinds = parts.map(({ form }) => mergeForms.indexOf(form));
  const partial = results.length === 3;
  const result = partial ? partialResult : dtypeId[dtype];
  const head = [codecVersion, batch, heads, queries, dim, sinks ? 1 : 0, result, parts.length];
  const sinkBuffer = sinks && { argument: 'options.sinks', view: sinks, owned: true };
  const slots: (MergeBuffer | null)[] = [results[0]!, results[1] ?? null, partial ? results[2]! : sinkBuffer];
  for (const { buffers } of parts) slots.push(buffers[0]!, buffers[1] ?? null, buffers[2] ?? null);
  // Results and sinks are at most owned; parts may be copies, too, and then need no protection either.
  let owned = 0;
  for (let slot = 0; slot < Math.min(slots.length, 31); slot += 1) if (slots[slot]?.owned) owned |= 1 << slot;
  return {
    kind: 'merge',
    numbers: () => new Float64Array([...head, ...kinds]),
    buffers: slots.map((slot) => slot && slot.view),
    owned,
    name: (slot) => slots[slot]?.argument,
  };
}

/** Writes a tensor's numbers, and returns where they end. */
function putRows(numbers: Float64Array, at: number, view: View, { batch, head, row }: Rows): number {
  numbers[at] = dtypeId[view.dtype as FloatDtype];
  numbers[at + 1] = view.offset;
  numbers[at + 2] = batch;
  numbers[at + 3] = head;
  numbers[at + 4] = row;
  return at + rowNumbers;
}

function putGrid(numbers: Float64Array, at: number, { view, batch, head, row, column }: Grid): number {
  numbers[at] = dtypeId[view.dtype];
  numbers[at + 1] = view.offset;
  numbers[at + 2] = batch;
  numbers[at + 3] = head;
  numbers[at + 4] = row;
  numbers[at + 5] = column;
  return at + gridNumbers;
}
