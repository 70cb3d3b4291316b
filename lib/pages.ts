// Keys and values in the pages of a pool: the `pages` option, and what a call over them is about.

import { checkReadable, lengthOf, typedArrayName } from './arrays.js';
import { describe, formatShape, invalidType, invalidValue, outOfRange, shapeMismatch } from './errors.js';
import { checkOperand, maxRows, readOperands, shapeOf } from './geometry.js';
import type { Geometry, ReadView } from './geometry.js';
import { checkPadded, readCumulative, snapshotLengths } from './lengths.js';
import type { LengthsInput } from './lengths.js';
import { checkMemory } from './memory.js';
import type { CallOptions } from './options.js';
import { checkInteger } from './shape.js';
import { isArray, readElement, readLength, readList, readProperty, readSnapshot } from './snapshot.js';
import type { View } from './view.js';

/** Integers of a tensor, such as a block table of another library: contiguous, [B, maxPages]. */
export interface PageTableTensor {
  readonly data: Int32Array;
  readonly dims?: readonly number[] | undefined;
  readonly shape?: readonly number[] | undefined;
}

/** Numbers of pages, a row a sequence: [B, maxPages] row by row, nested (rows may be shorter), or with its shape. */
export type PageTableInput = Int32Array | readonly (readonly number[] | Int32Array)[] | PageTableTensor;

/** Sequences whose first tokens are the same ones, in the same pages. */
export interface SharedPrefix {
  /** Numbers of sequences, each in one prefix at most. */
  readonly sequences: readonly number[] | Int32Array;
  /** Tokens that they share; each sequence has so many or more. */
  readonly tokens: number;
}

/**
 * Keys and values that lie in the pages of a pool (PagedAttention, Kwon et al. 2023). Key and value are the pools then:
 * [numPages, Hkv, pageSize, D] in layout 'bhsd', [numPages, pageSize, Hkv, D] in 'bshd'; strides are free but for the
 * last axis, so both halves of one pool work as views. Token t of sequence b is row t mod pageSize of page
 * table[b][floor(t / pageSize)]; masks, scores and tensors go by t. Rows past the lengths are not read, nor are
 * entries of the table past the last page in use. Table and lengths are copied when the call is made.
 */
export interface PagesOptions {
  /** Entries past a sequence's last page may be anything. Pages may be named by several sequences. */
  readonly table: PageTableInput;
  /** Tokens of each sequence, [B]. */
  readonly lengths: LengthsInput;
  /** Tokens of a page, 1 or more. Default: that of the pool, which it has to be. */
  readonly pageSize?: number | undefined;
  /**
   * So many first tokens are the same ones for all sequences: their pages are read once for all of them, and `explain`
   * says why where they are not. As `prefixes` with one entry. Results stay within the accuracy of any call, but
   * their bits may depend on which sequences share.
   */
  readonly sharedPrefix?: number | undefined;
  /** The same for groups of sequences. Whole pages are shared; what of a prefix is in the next one, each reads itself. */
  readonly prefixes?: readonly SharedPrefix[] | undefined;
}

/** The option as checked: snapshots of the call's own. */
export interface Pages {
  readonly pageSize: number;
  /** In the pool. */
  readonly count: number;
  /** Of a sequence in the table. */
  readonly columns: number;
  readonly table: Int32Array;
  /** Tokens that sequences share, and which of these a sequence has, or -1; null where there are none. */
  readonly prefixes: readonly number[];
  readonly prefixOf: Int32Array | null;
}

const place = 'options.pages';
const names = ['table', 'lengths', 'pageSize', 'sharedPrefix', 'prefixes'];

/** The geometry of a call whose key and value are pools. */
export function readPagedGeometry<Of extends View>(
  q: unknown,
  k: unknown,
  v: unknown,
  options: CallOptions,
  read: ReadView<Of>,
): Geometry<Of> {
  const { layout, given } = options;
  const ragged = given['cuSeqlensQ'] !== undefined;
  for (const name of ['lengthsKv', 'cuSeqlensKv', ...(ragged ? ['lengthsQ'] : [])]) {
    if (given[name] === undefined) continue;
    const expected =
      name === 'lengthsQ' ? 'none with cumulative lengths' : 'none with options.pages, which has lengths';
    throw invalidValue(`options.${name}`, expected, describe(given[name]));
  }
  const asked = readSnapshot(place, given['pages'], names);
  const [query, key, value] = readOperands(q, k, v, read);
  const sizesQ = checkOperand('query', query, ragged, layout);
  const pool = checkOperand('key', key, false, layout, maxRows);
  const values = checkOperand('value', value, false, layout, maxRows);
  if (sizesQ.heads % pool.heads !== 0) {
    throw shapeMismatch('key', `a number of heads that divides the query's ${sizesQ.heads}`, `${pool.heads}`);
  }
  const { pageSize } = asked;
  if (pageSize !== undefined) {
    const rows = checkInteger('options.pages.pageSize', pageSize, 1, maxRows);
    if (rows !== pool.rows) throw shapeMismatch('key', `pages of ${rows} rows`, formatShape(key.shape));
  } else if (pool.rows === 0) throw outOfRange('key', 'pages of at least 1 row', 0);
  if (pool.dim !== sizesQ.dim) {
    const expected = shapeOf<number | string>('numPages', pool.heads, pool.rows, sizesQ.dim, false, layout);
    throw shapeMismatch('key', formatShape(expected), formatShape(key.shape));
  }
  if (values.batch !== pool.batch || values.heads !== pool.heads || values.rows !== pool.rows) {
    const expected = shapeOf(pool.batch, pool.heads, pool.rows, values.dim, false, layout);
    throw shapeMismatch('value', formatShape(expected), formatShape(value.shape));
  }
  const cumulativeQ = ragged ? readCumulative(given['cuSeqlensQ'], sizesQ.rows, 'options.cuSeqlensQ') : null;
  const batch = cumulativeQ ? cumulativeQ.length - 1 : sizesQ.batch;
  const lengths = snapshotLengths(asked['lengths'], 'options.pages.lengths');
  const { table, columns } = readTable(asked['table'], batch, (b, n, entry) => {
    if (n * pool.rows < (lengths[b] ?? 0)) {
      throw outOfRange(`options.pages.table[${b}, ${n}]`, `one of the pool's ${pool.batch} pages`, entry);
    }
  });
  const capacity = columns * pool.rows;
  checkPadded(lengths, batch, capacity, 'options.pages.lengths');
  const pages = {
    pageSize: pool.rows,
    count: pool.batch,
    columns,
    table,
    ...readPrefixes(asked, batch, lengths, place),
  };
  const rest = { headsQ: sizesQ.heads, headsKv: pool.heads, queries: sizesQ.rows, dimQk: pool.dim, dimV: values.dim };
  const shared = { query, key, value, ragged, layout, batch, ...rest, pages };
  if (cumulativeQ) {
    const starts = startsOf(lengths);
    const total = starts[batch]!;
    if (total > maxRows) throw outOfRange('options.pages.lengths', `at most ${maxRows} tokens in all`, total);
    return { ...shared, keys: total, lengthsQ: cumulativeQ, lengthsKv: starts };
  }
  if (capacity > maxRows) throw outOfRange('options.pages.table', `pages for at most ${maxRows} tokens`, capacity);
  return { ...shared, keys: capacity, lengthsQ: readQueries(given, batch, sizesQ.rows), lengthsKv: lengths };
}

function readQueries(given: Readonly<Record<string, unknown>>, batch: number, rows: number): Float64Array {
  if (given['lengthsQ'] === undefined) return new Float64Array(batch).fill(rows);
  const lengths = snapshotLengths(given['lengthsQ'], 'options.lengthsQ');
  checkPadded(lengths, batch, rows, 'options.lengthsQ');
  return lengths;
}

function startsOf(lengths: Float64Array): Float64Array {
  const starts = new Float64Array(lengths.length + 1);
  for (let b = 0; b < lengths.length; b += 1) starts[b + 1] = starts[b]! + lengths[b]!;
  return starts;
}

const tableKinds = 'an Int32Array, number[][] or { data: Int32Array, dims }';

interface Table {
  readonly table: Int32Array;
  readonly columns: number;
}

/** Called with a number that no page can have, which is an error where it is in use. */
type Strange = (sequence: number, column: number, entry: number) => void;

/** A copy of the table. What its entries say is checked where they are used. */
function readTable(value: unknown, batch: number, strange: Strange): Table {
  const argument = 'options.pages.table';
  if (isArray(argument, value)) return fromRows(value, batch, argument, strange);
  if (typedArrayName(value) === 'Int32Array') {
    checkReadable(argument, value as Int32Array);
    const table = new Int32Array(value as Int32Array);
    const columns = batch === 0 ? 0 : table.length / batch;
    if (!Number.isInteger(columns) || (batch === 0 && table.length > 0)) {
      throw shapeMismatch(argument, `[${batch}, maxPages]`, `${table.length} entries`);
    }
    return { table, columns };
  }
  if (typeof value !== 'object' || value === null) throw invalidType(argument, tableKinds, value);
  const data = readProperty(argument, value, 'data');
  if (typedArrayName(data) !== 'Int32Array') throw invalidType(`${argument}.data`, 'an Int32Array', data);
  const shape = readProperty(argument, value, 'dims') ?? readProperty(argument, value, 'shape');
  if (!isArray(`${argument}.dims`, shape)) throw invalidType(`${argument}.dims`, '[B, maxPages]', shape);
  const axes = readLength(`${argument}.dims`, shape);
  const [rows, columns] = [0, 1].map((axis) => readElement(`${argument}.dims`, shape, axis));
  checkReadable(`${argument}.data`, data as Int32Array);
  const table = new Int32Array(data as Int32Array);
  const fits = Number.isInteger(columns) && (columns as number) >= 0 && table.length === batch * (columns as number);
  if (axes !== 2 || rows !== batch || !fits) {
    throw shapeMismatch(
      argument,
      `[${batch}, maxPages] with all of its entries`,
      `${describe(shape)} of ${table.length}`,
    );
  }
  return { table, columns: columns as number };
}

/** Rows that are shorter than others end in pages that there are not. */
function fromRows(rows: readonly unknown[], batch: number, argument: string, strange: Strange): Table {
  const count = readLength(argument, rows);
  if (count !== batch) throw shapeMismatch(argument, `${batch} rows, one a sequence`, `${count}`);
  const lists = readList(argument, rows, (row, name) => ({ name, row, length: lengthOfList(row, name) }));
  const columns = lists.reduce((most, { length }) => Math.max(most, length), 0);
  if (batch * columns > maxRows) throw outOfRange(argument, `at most ${maxRows} entries`, batch * columns);
  checkMemory('float32', batch * columns, argument);
  const table = new Int32Array(batch * columns);
  // Every entry that a row says it has is read before anything is written to the rest: a hole ends it at once.
  lists.forEach(({ name, row, length }, b) => {
    for (let n = 0; n < length; n += 1) {
      const entry = readElement(name, row as ArrayLike<unknown>, n);
      if (typeof entry !== 'number') throw invalidType(`${name}[${n}]`, 'the number of a page', entry);
      const possible = Number.isInteger(entry) && entry >= 0 && entry <= maxRows;
      if (!possible) strange(b, n, entry);
      table[b * columns + n] = possible ? entry : -1;
    }
  });
  lists.forEach(({ length }, b) => table.fill(-1, b * columns + length, (b + 1) * columns));
  return { table, columns };
}

/** `sharedPrefix` and `prefixes` of sequences that have so many tokens. */
export function readPrefixes(
  asked: Readonly<Record<string, unknown>>,
  batch: number,
  lengths: Float64Array,
  options: string,
): Pick<Pages, 'prefixes' | 'prefixOf'> {
  const { sharedPrefix, prefixes } = asked;
  if (sharedPrefix !== undefined) {
    if (prefixes !== undefined) {
      throw invalidValue(`${options}.prefixes`, `none with ${options}.sharedPrefix`, describe(prefixes));
    }
    const least = lengths.reduce((a, b) => Math.min(a, b), maxRows);
    const tokens = checkInteger(`${options}.sharedPrefix`, sharedPrefix, 0, least);
    return { prefixes: [tokens], prefixOf: new Int32Array(batch) };
  }
  if (prefixes === undefined) return { prefixes: [], prefixOf: null };
  const list = `${options}.prefixes`;
  if (!isArray(list, prefixes)) throw invalidType(list, 'an array of { sequences, tokens }', prefixes);
  const count = readLength(list, prefixes);
  if (count > batch) throw outOfRange(list, `at most ${batch} prefixes`, count);
  const prefixOf = new Int32Array(batch).fill(-1);
  const tokens = readList(list, prefixes, (prefix, argument, n) => {
    if (prefix === undefined) throw invalidType(argument, 'an object', prefix);
    const read = readSnapshot(argument, prefix, ['sequences', 'tokens']);
    const members = snapshotList(read['sequences'], batch, `${argument}.sequences`);
    let least = maxRows;
    members.forEach((member, i) => {
      const b = checkInteger(`${argument}.sequences[${i}]`, member, 0, batch - 1);
      if (prefixOf[b] !== -1)
        throw invalidValue(`${argument}.sequences[${i}]`, 'a sequence of no other prefix', `${b}`);
      prefixOf[b] = n;
      least = Math.min(least, lengths[b]!);
    });
    return checkInteger(`${argument}.tokens`, read['tokens'], 0, least);
  });
  return { prefixes: tokens, prefixOf: tokens.length > 0 ? prefixOf : null };
}

/** How many elements a list of the user's has. An array may claim any length, whatever it holds. */
function lengthOfList(value: unknown, argument: string): number {
  if (isArray(argument, value)) return readLength(argument, value);
  if (typedArrayName(value) !== 'Int32Array') throw invalidType(argument, 'a number[] or Int32Array', value);
  checkReadable(argument, value as Int32Array);
  return lengthOf(value as Int32Array);
}

/** A copy of a list of at most `most` elements. */
function snapshotList(value: unknown, most: number, argument: string): readonly unknown[] {
  const length = lengthOfList(value, argument);
  if (length > most) throw outOfRange(argument, `at most ${most} entries`, length);
  return Array.from({ length }, (_, n) => readElement(argument, value as ArrayLike<unknown>, n));
}
