// What q, k and v say about the problem: its sizes, and where rows and heads of each tensor lie.

import { floatDtypes } from './dtype.js';
import type { TensorDevice } from './environment.js';
import { describe, formatShape, invalidValue, oneOf, outOfRange, shapeMismatch } from './errors.js';
import { checkPadded, readCumulative, snapshotLengths } from './lengths.js';
import type { CallOptions, LayoutName } from './options.js';
import type { Pages } from './pages.js';
import { deviceOf } from './view.js';
import type { View } from './view.js';

/** Features of one head, of queries and keys as of values. */
const maxDim = 1024;

/** Rows and heads of a tensor. */
export const maxRows = 2 ** 31 - 1;

/** A plan keeps some 100 bytes for each sequence, so this many are still a matter of memory, not of mistakes. */
const maxSequences = 2 ** 22;

/** Strides of a [B, H, S, D] tensor, whatever the order of its axes in memory. Ragged tensors have batch 0. */
export interface Rows {
  readonly batch: number;
  readonly head: number;
  readonly row: number;
}

export interface Geometry<Of extends View = View> {
  /** All on one device. */
  readonly query: Of;
  readonly key: Of;
  readonly value: Of;
  readonly ragged: boolean;
  readonly layout: LayoutName;
  /** Sequences. */
  readonly batch: number;
  readonly headsQ: number;
  readonly headsKv: number;
  /** Rows of the tensors: a sequence's, or ragged: of all. Of keys in pages: those that the table has room for. */
  readonly queries: number;
  readonly keys: number;
  readonly dimQk: number;
  readonly dimV: number;
  /** Snapshots of the call's own; cumulative when ragged. Both or neither. */
  readonly lengthsQ: Float64Array | null;
  readonly lengthsKv: Float64Array | null;
  /** Where keys and values are in the pages of a pool. */
  readonly pages?: Pages;
}

/** A tensor's sizes by meaning. Ragged: `batch` is 1 and `rows` counts all sequences. */
interface Sizes {
  batch: number;
  heads: number;
  rows: number;
  dim: number;
}

/** A tensor argument, read and checked. */
export type ReadView<Of extends View> = (value: unknown, argument: string) => Of;

/** `read` says which tensors are taken. */
export function readGeometry<Of extends View>(
  q: unknown,
  k: unknown,
  v: unknown,
  options: CallOptions,
  read: ReadView<Of>,
): Geometry<Of> {
  const { layout, given } = options;
  const ragged = given['cuSeqlensQ'] !== undefined || given['cuSeqlensKv'] !== undefined;
  const [query, key, value] = readOperands(q, k, v, read);
  const sizesQ = checkOperand('query', query, ragged, layout);
  const sizesK = checkOperand('key', key, ragged, layout);
  const sizesV = checkOperand('value', value, ragged, layout);
  const { heads, dim } = sizesQ;
  if (heads % sizesK.heads !== 0) {
    throw shapeMismatch('key', `a number of heads that divides the query's ${heads}`, `${sizesK.heads}`);
  }
  const { batch } = sizesQ;
  expectSizes('key', key, sizesK, { batch, heads: sizesK.heads, rows: sizesK.rows, dim }, ragged, layout);
  const likeKey = { batch, heads: sizesK.heads, rows: sizesK.rows, dim: sizesV.dim };
  expectSizes('value', value, sizesV, likeKey, ragged, layout);
  const lengths = readLengths(given, ragged, batch, sizesQ.rows, sizesK.rows);
  return {
    query,
    key,
    value,
    ragged,
    layout,
    batch: ragged ? lengths.lengthsQ!.length - 1 : batch,
    headsQ: heads,
    headsKv: sizesK.heads,
    queries: sizesQ.rows,
    keys: sizesK.rows,
    dimQk: dim,
    dimV: sizesV.dim,
    lengthsQ: lengths.lengthsQ,
    lengthsKv: lengths.lengthsKv,
  };
}

/** Query, key and value, which have to be on one device. */
export function readOperands<Of extends View>(q: unknown, k: unknown, v: unknown, read: ReadView<Of>): [Of, Of, Of] {
  const query = read(q, 'query');
  return [query, readBeside(query, k, 'key', read), readBeside(query, v, 'value', read)];
}

function readBeside<Of extends View>(query: Of, value: unknown, argument: string, read: ReadView<Of>): Of {
  const view = read(value, argument);
  checkDevice(argument, view, deviceOf(query), 'as the query');
  return view;
}

/** Refuses a tensor that is elsewhere. */
export function checkDevice(argument: string, view: View, device: TensorDevice, why: string): void {
  if (deviceOf(view) === device) return;
  throw invalidValue(argument, `a tensor on ${describe(device)}, ${why}`, `one on ${describe(deviceOf(view))}`);
}

/** Strides by meaning of a tensor shaped like the output. */
export function rowsOf(strides: readonly number[], ragged: boolean, layout: LayoutName): Rows {
  if (ragged) return { batch: 0, head: strides[1]!, row: strides[0]! };
  const head = layout === 'bhsd' ? 1 : 2;
  return { batch: strides[0]!, head: strides[head]!, row: strides[3 - head]! };
}

/** The shape that sizes have in memory order. */
export function shapeOf<Size>(
  batch: Size,
  heads: Size,
  rows: Size,
  dim: Size,
  ragged: boolean,
  layout: LayoutName,
): readonly Size[] {
  if (ragged) return [rows, heads, dim];
  return layout === 'bhsd' ? [batch, heads, rows, dim] : [batch, rows, heads, dim];
}

/** Sizes of a tensor of a call, by meaning. */
export function sizesOf(shape: readonly number[], ragged: boolean, layout: LayoutName): Sizes {
  if (ragged) return { batch: 1, heads: shape[1]!, rows: shape[0]!, dim: shape[2]! };
  const heads = layout === 'bhsd' ? 1 : 2;
  return { batch: shape[0]!, heads: shape[heads]!, rows: shape[3 - heads]!, dim: shape[3]! };
}

/** Kernels read whole rows: the last axis must be contiguous. */
export function checkLastAxis(argument: string, view: View): void {
  const axis = view.shape.length - 1;
  if (view.strides[axis] === 1 || view.shape[axis]! <= 1 || view.shape.includes(0)) return;
  const received = `stride ${view.strides[axis]} (strides ${formatShape(view.strides)})`;
  throw invalidValue(argument, 'a contiguous last axis (stride 1)', received);
}

export function checkOperand(
  argument: string,
  view: View,
  ragged: boolean,
  layout: LayoutName,
  most = maxSequences,
): Sizes {
  const { shape, dtype } = view;
  if (dtype === 'bool') throw invalidValue(argument, `dtype ${oneOf(floatDtypes)}`, describe(dtype));
  const rank = ragged ? 3 : 4;
  if (shape.length !== rank) {
    const axes = shapeOf('B', 'H', 'S', 'D', ragged, layout);
    const hint = ragged
      ? 'with cumulative lengths'
      : shape.length === 3
        ? 'or rank 3 with cuSeqlensQ and cuSeqlensKv'
        : '';
    const expected = `rank ${rank} ${formatShape(ragged ? ['total', 'H', 'D'] : axes)}${hint && ` ${hint}`}`;
    throw shapeMismatch(argument, expected, `rank ${shape.length} ${formatShape(shape)}`);
  }
  const sizes = sizesOf(shape, ragged, layout);
  if (sizes.heads < 1) throw outOfRange(argument, 'at least 1 head', sizes.heads);
  if (sizes.dim < 1 || sizes.dim > maxDim) {
    throw outOfRange(argument, `a last axis of size 1 to ${maxDim}`, sizes.dim);
  }
  if (sizes.heads > maxRows) throw outOfRange(argument, `at most ${maxRows} heads`, sizes.heads);
  if (sizes.rows > maxRows) throw outOfRange(argument, `at most ${maxRows} rows`, sizes.rows);
  checkSequences(argument, sizes.batch, most);
  checkLastAxis(argument, view);
  return sizes;
}

function checkSequences(argument: string, count: number, most = maxSequences): void {
  if (count > most)
    throw outOfRange(argument, `at most ${most} ${most === maxSequences ? 'sequences' : 'pages'}`, count);
}

function expectSizes(
  argument: string,
  view: View,
  sizes: Sizes,
  expected: Sizes,
  ragged: boolean,
  layout: LayoutName,
): void {
  const { batch, heads, rows, dim } = expected;
  if (sizes.batch === batch && sizes.heads === heads && sizes.rows === rows && sizes.dim === dim) return;
  throw shapeMismatch(argument, formatShape(shapeOf(batch, heads, rows, dim, ragged, layout)), formatShape(view.shape));
}

function readLengths(
  given: Readonly<Record<string, unknown>>,
  ragged: boolean,
  batch: number,
  queries: number,
  keys: number,
): { lengthsQ: Float64Array | null; lengthsKv: Float64Array | null } {
  const { lengthsQ, lengthsKv } = given;
  if (!ragged) {
    if (lengthsQ === undefined && lengthsKv === undefined) return { lengthsQ: null, lengthsKv: null };
    return {
      lengthsQ: readPadded('options.lengthsQ', lengthsQ, batch, queries),
      lengthsKv: readPadded('options.lengthsKv', lengthsKv, batch, keys),
    };
  }
  for (const name of ['lengthsQ', 'lengthsKv']) {
    if (given[name] === undefined) continue;
    throw invalidValue(`options.${name}`, 'none with cumulative lengths', describe(given[name]));
  }
  const cumulativeQ = cumulativeOf('options.cuSeqlensQ', given['cuSeqlensQ'], queries);
  // Self-attention gives the same lengths twice.
  const same = given['cuSeqlensKv'] === given['cuSeqlensQ'] && keys === queries;
  const cumulativeKv = same ? cumulativeQ : cumulativeOf('options.cuSeqlensKv', given['cuSeqlensKv'], keys);
  if (cumulativeQ.length !== cumulativeKv.length) {
    const expected = `${cumulativeQ.length} values, as cuSeqlensQ has`;
    throw shapeMismatch('options.cuSeqlensKv', expected, `${cumulativeKv.length}`);
  }
  checkSequences('options.cuSeqlensQ', cumulativeQ.length - 1);
  return { lengthsQ: cumulativeQ, lengthsKv: cumulativeKv };
}

function readPadded(argument: string, value: unknown, batch: number, rows: number): Float64Array {
  if (value === undefined) return new Float64Array(batch).fill(rows);
  const lengths = snapshotLengths(value, argument);
  checkPadded(lengths, batch, rows, argument);
  return lengths;
}

function cumulativeOf(argument: string, value: unknown, total: number): Float64Array {
  if (value === undefined) throw invalidValue(argument, 'cumulative lengths of both sides', 'undefined');
  return readCumulative(value, total, argument);
}
