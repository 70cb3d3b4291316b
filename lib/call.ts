// The flat form of a call: one array of numbers and a list of buffers, in the order of native/problem_codec.h.
// The views passed start where their tensor starts, so neither byteOffset nor offset travels.

import type { BoundProgram } from './bound-program.js';
import { dtypeId } from './dtype.js';
import type { FloatDtype } from './dtype.js';
import type { PreparedCall } from './execution.js';
import type { Geometry, Rows } from './geometry.js';
import type { Grid, Visibility } from './grids.js';
import type { CallOptions } from './options.js';
import type { Range, ResultName, Results } from './results.js';
import { rowsOf } from './geometry.js';
import { rawView } from './view.js';
import type { HostView } from './view.js';

const codecVersion = 1;

const flagBits = { lse: 1, entropy: 2, rowMax: 4, partial: 8, sinks: 16, bias: 32 } as const;

/** Slots of the results among the buffers. */
const slotOf: Readonly<Record<ResultName, number>> = { output: 3, lse: 4, entropy: 5, rowMax: 6, o: 3, m: 7, l: 8 };
const firstMaskSlot = 13;

/** All that an attention call is made of, checked. */
export interface AttentionCall {
  readonly options: CallOptions;
  readonly geometry: Geometry;
  readonly visibility: Visibility;
  readonly score: BoundProgram | null;
  readonly bias: Grid | null;
  readonly sinks: Float32Array | null;
  readonly results: Results;
}

/** Numbers of a call before its tensors, of a tensor, and of a grid. */
const headNumbers = 15;
const rowNumbers = 5;
const gridNumbers = 6;

/** The numbers of an attention call, in place: calls can be rare, and this code cold. */
export function encodeNumbers(call: AttentionCall): Float64Array {
  const { options, geometry, visibility, bias, sinks, results } = call;
  const { query, key, value, ragged, layout } = geometry;
  const flags =
    (options.lse ? flagBits.lse : 0) |
    (options.entropy ? flagBits.entropy : 0) |
    (options.rowMax ? flagBits.rowMax : 0) |
    (options.partial ? flagBits.partial : 0) |
    (sinks ? flagBits.sinks : 0) |
    (bias ? flagBits.bias : 0);
  const numbers = new Float64Array(
    headNumbers + 4 * rowNumbers + gridNumbers * ((bias ? 1 : 0) + visibility.grids.length) + 1,
  );
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
  at = putRows(numbers, at, key, rowsOf(key.strides, ragged, layout));
  at = putRows(numbers, at, value, rowsOf(value.strides, ragged, layout));
  at = putRows(numbers, at, results.list[0]!.view, results.rows);
  if (bias) at = putGrid(numbers, at, bias);
  numbers[at] = visibility.grids.length;
  at += 1;
  for (const grid of visibility.grids) at = putGrid(numbers, at, grid);
  return numbers;
}

/** Numbers and buffers of an attention call. */
export function encodeCall(call: AttentionCall): PreparedCall {
  const { geometry, visibility, score, bias, sinks, results } = call;
  const slots = firstMaskSlot + visibility.grids.length;
  const prepared: PreparedCall = {
    kind: 'attention',
    numbers: encodeNumbers(call),
    buffers: new Array<ArrayBufferView | null>(slots).fill(null),
    names: new Array<string | null>(slots).fill(null),
    owned: new Array<boolean>(slots).fill(false),
    programs: { mask: visibility.program, score },
  };
  const put = (slot: number, name: string, view: ArrayBufferView, owned: boolean): void => {
    prepared.buffers[slot] = view;
    prepared.names[slot] = name;
    prepared.owned[slot] = owned;
  };
  put(0, 'query', rawView(geometry.query), false);
  put(1, 'key', rawView(geometry.key), false);
  put(2, 'value', rawView(geometry.value), false);
  for (const { name, argument, view, owned } of results.list) put(slotOf[name], argument, rawView(view), owned);
  if (sinks) put(9, 'options.sinks', sinks, true);
  if (bias) put(10, bias.argument, rawView(bias.view), false);
  const ragged = geometry.ragged;
  if (geometry.lengthsQ) put(11, ragged ? 'options.cuSeqlensQ' : 'options.lengthsQ', geometry.lengthsQ, true);
  if (geometry.lengthsKv) put(12, ragged ? 'options.cuSeqlensKv' : 'options.lengthsKv', geometry.lengthsKv, true);
  visibility.grids.forEach((grid, index) => put(firstMaskSlot + index, grid.argument, rawView(grid.view), false));
  return prepared;
}

/** The memory that a prepared call reads, and the memory of the user's that it writes. */
export function rangesOf(
  prepared: PreparedCall,
  written: (slot: number) => boolean,
): { inputs: Range[]; outputs: Range[] } {
  const inputs: Range[] = [];
  const outputs: Range[] = [];
  prepared.buffers.forEach((view, slot) => {
    if (view === null || prepared.owned[slot]) return;
    (written(slot) ? outputs : inputs).push({ argument: prepared.names[slot]!, view });
  });
  return { inputs, outputs };
}

/** Whether an attention call writes a slot. */
export function isWritten(slot: number): boolean {
  return slot >= 3 && slot <= 8;
}

/** What a merge is made of, dense: numerators or outputs [rows of heads..., dim], the rest without dim. */
export interface MergeCall {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly dim: number;
  readonly output: MergeBuffer;
  readonly lse: MergeBuffer;
  readonly sinks: Float32Array | null;
  readonly parts: readonly MergePart[];
}

export interface MergePart {
  readonly finished: boolean;
  /** o, m, l; or output, lse. */
  readonly buffers: readonly MergeBuffer[];
}

export interface MergeBuffer {
  readonly argument: string;
  readonly view: ArrayBufferView;
  readonly owned: boolean;
}

/** Numbers and buffers of a merge. */
export function encodeMerge({ batch, heads, queries, dim, output, lse, sinks, parts }: MergeCall): PreparedCall {
  const kinds = parts.map(({ finished }) => (finished ? 1 : 0));
  const head = [codecVersion, batch, heads, queries, dim, sinks ? 1 : 0, parts.length];
  const sinkBuffer = sinks && { argument: 'options.sinks', view: sinks, owned: true };
  const slots: (MergeBuffer | null)[] = [output, lse, sinkBuffer];
  for (const { buffers } of parts) slots.push(buffers[0]!, buffers[1]!, buffers[2] ?? null);
  return {
    kind: 'merge',
    numbers: new Float64Array([...head, ...kinds]),
    buffers: slots.map((slot) => slot && slot.view),
    names: slots.map((slot) => slot && slot.argument),
    owned: slots.map((slot) => slot !== null && slot.owned),
  };
}

/** Writes a tensor's numbers, and returns where they end. */
function putRows(numbers: Float64Array, at: number, view: HostView, { batch, head, row }: Rows): number {
  numbers[at] = dtypeId[view.dtype as FloatDtype];
  numbers[at + 2] = batch;
  numbers[at + 3] = head;
  numbers[at + 4] = row;
  return at + rowNumbers;
}

function putGrid(numbers: Float64Array, at: number, { view, batch, head, row, column }: Grid): number {
  numbers[at] = dtypeId[view.dtype];
  numbers[at + 2] = batch;
  numbers[at + 3] = head;
  numbers[at + 4] = row;
  numbers[at + 5] = column;
  return at + gridNumbers;
}
