// What a rank is asked to compute, and what all ranks together are: read, told to each other and compared.

import type { AttentionResult } from '../attention.js';
import { describe, formatShape, shapeMismatch, unsupported } from '../errors.js';
import type { BoundProgram } from '../bound-program.js';
import { readGeometry } from '../geometry.js';
import type { Geometry } from '../geometry.js';
import { readItems, readMasks } from '../grids.js';
import { readMask } from '../masks.js';
import { choice, readOptions } from '../options.js';
import type { AttentionBaseOptions, CallOptions, LayoutName } from '../options.js';
import type { Part } from '../program/relocate.js';
import { readScore } from '../scores.js';
import { throwIfAborted } from '../signals.js';
import { readSinks } from '../sinks.js';
import { readTensor } from '../tensor.js';
import type { HostView } from '../view.js';
import { groupFailed } from './engine.js';
import type { Channel } from './group.js';
import { alike, countOf, piecesOf, placed, shardings, totals } from './runs.js';
import type { Run, Sharding } from './runs.js';

/** Options of attention over a group. What they say of positions is meant of the whole sequence. */
export interface ParallelOptions<Lse extends boolean | undefined = boolean | undefined> extends Pick<
  AttentionBaseOptions,
  | 'scale'
  | 'score'
  | 'softcap'
  | 'sinks'
  | 'align'
  | 'layout'
  | 'outputDtype'
  | 'threads'
  | 'cuSeqlensQ'
  | 'cuSeqlensKv'
  | 'device'
  | 'signal'
> {
  /** Programs; no tensors, and no masks that hold tensors (`ERR_UNSUPPORTED`). */
  mask?: AttentionBaseOptions['mask'];
  /** How rows are dealt out to ranks, as by {@link shard}. Default 'contiguous', where shards may be of any lengths. */
  sharding?: Sharding | undefined;
  /** Also ln Σ exp(score) of each row (with its sink), float32. */
  lse?: Lse;
}

/**
 * Attention of this rank's queries, or in a tree of all queries, to the keys of all ranks: as in {@link AttentionResult}.
 * Outputs that are 'bshd' or ragged may be head-first in memory.
 */
export type ParallelResult<Lse extends boolean | undefined = boolean | undefined> = Pick<
  AttentionResult<Lse>,
  'output' | 'lse'
>;

export interface Request {
  /** Layout 'bhsd'. */
  readonly options: CallOptions;
  /** Of this rank's tensors, head-first, as they are when ragged. */
  readonly geometry: Geometry<HostView>;
  /** That of the arguments and of the result. */
  readonly layout: LayoutName;
  readonly sharding: Sharding;
  readonly mask: BoundProgram | null;
  readonly score: BoundProgram | null;
  readonly sinks: Float32Array | null;
  /** What else ranks have to be alike in. */
  readonly detail?: string;
}

const names = [
  'scale',
  'mask',
  'score',
  'softcap',
  'sinks',
  'align',
  'layout',
  'outputDtype',
  'threads',
  'cuSeqlensQ',
  'cuSeqlensKv',
  'device',
  'signal',
  'lse',
];

/** The arguments of one rank. `more` are options of its schedule alone. */
export function readRequest(
  tensors: readonly [unknown, unknown, unknown],
  given: unknown,
  more: readonly string[],
): Request {
  const options = readOptions(given, [...names, ...more]);
  throwIfAborted(options.signal);
  const geometry = headFirst(readGeometry(...tensors, options, readTensor));
  checkPrograms(options.given['mask']);
  return {
    options: { ...options, layout: 'bhsd' },
    geometry,
    layout: options.layout,
    sharding: choice('options.sharding', options.given['sharding'], shardings),
    mask: readMasks(options.given['mask'], geometry).program,
    score: readScore(options.given['score']),
    sinks: readSinks(options.given['sinks'], geometry.headsQ),
  };
}

function checkPrograms(mask: unknown): void {
  if (mask === undefined) return;
  for (const [argument, item] of readItems(mask)) {
    const program = readMask(item);
    if (program === undefined) readTensor(item, argument);
    if (program === undefined || program.grids.length > 0) {
      throw unsupported(argument, 'a program (tables take the place of tensors)', 'a tensor');
    }
  }
}

function headFirst(geometry: Geometry<HostView>): Geometry<HostView> {
  const { query, key, value, ragged, layout } = geometry;
  if (ragged || layout === 'bhsd') return geometry;
  return { ...geometry, layout: 'bhsd', query: exchanged(query), key: exchanged(key), value: exchanged(value) };
}

/** [B, S, H, D] as [B, H, S, D], and the other way round. */
export function exchanged(view: HostView): HostView {
  const order = (sizes: readonly number[]): readonly number[] =>
    Object.freeze([sizes[0]!, sizes[2]!, sizes[1]!, sizes[3]!]);
  return { ...view, shape: order(view.shape), strides: order(view.strides) };
}

/** Rows of each sequence on one rank; of a batch that is not ragged they are as many in all. */
export interface Counts {
  readonly queries: readonly number[];
  readonly keys: readonly number[];
}

/** All ranks: which rows each has of each sequence, and the sequences as they are together. */
export interface Whole extends Counts {
  readonly counts: readonly Counts[];
  /** [rank][sequence] */
  readonly rows: readonly (readonly (readonly Run[])[])[];
  readonly columns: readonly (readonly (readonly Run[])[])[];
}

/** What ranks have to be alike in. */
interface Header extends Counts {
  readonly operation: string;
  readonly alike: Readonly<Record<string, unknown>>;
}

/**
 * Reads this rank's arguments and hears of those of the others. Where they do not fit together all ranks throw, and the
 * group stays: ERR_SHAPE_MISMATCH of the same text, or where one rank's arguments are wrong its error, and
 * ERR_GROUP_FAILED elsewhere. `sharesQueries`: all ranks have the same queries.
 */
export async function agree(
  channel: Channel,
  operation: string,
  read: () => Request,
  sharesQueries = false,
): Promise<{ request: Request; whole: Whole }> {
  let request: Request | undefined;
  let failure: unknown;
  try {
    const given = read();
    channel.heed(given.options.signal);
    request = given;
  } catch (error) {
    failure = error;
  }
  const own = request ? headerOf(operation, request) : { refused: (failure as Error).message };
  const headers: unknown[] = [];
  for (const peer of channel.others()) void channel.send(peer, 'header', JSON.stringify(own), []);
  for (let peer = 0; peer < channel.size; peer += 1) {
    headers.push(peer === channel.rank ? own : JSON.parse((await channel.receive(peer, 'header')).note));
  }
  try {
    if (request === undefined) throw failure;
    return { request, whole: fit(headers as readonly (Header & { refused?: string })[], request, sharesQueries) };
  } catch (error) {
    channel.agreed = true;
    throw error;
  }
}

function headerOf(operation: string, { geometry, sharding, options, detail }: Request): Header {
  const { query, key, value, ragged, batch, headsQ, headsKv, dimQk, dimV, queries, keys } = geometry;
  const rows = (lengths: Float64Array | null, all: number): readonly number[] =>
    lengths && ragged ? Array.from(lengths.subarray(1), (end, b) => end - lengths[b]!) : [all];
  return {
    operation,
    alike: {
      sharding,
      align: options.align,
      cuSeqlens: ragged,
      batch,
      heads: [headsQ, headsKv],
      dims: [dimQk, dimV],
      dtypes: [query.dtype, key.dtype, value.dtype],
      options: detail,
    },
    queries: rows(geometry.lengthsQ, queries),
    keys: rows(geometry.lengthsKv, keys),
  };
}

function fit(
  headers: readonly (Header & { readonly refused?: string })[],
  { sharding }: Request,
  sharesQueries: boolean,
): Whole {
  headers.forEach(({ refused }, rank) => {
    if (refused !== undefined) throw groupFailed('arguments that each rank can use', `on rank ${rank} ${refused}`);
  });
  const first = headers[0]!;
  headers.forEach(({ operation, alike: own, queries }, rank) => {
    if (operation !== first.operation) {
      throw groupFailed(`${first.operation} on every rank, as on rank 0`, `${operation} on rank ${rank}`);
    }
    for (const [name, value] of Object.entries(own)) {
      const [here, there] = [said(value), said(first.alike[name])];
      if (here !== there) throw shapeMismatch(`${name} of rank ${rank}`, `${there}, as on rank 0`, here);
    }
    if (sharesQueries && queries.join() !== first.queries.join()) {
      const expected = `${formatShape(first.queries)} rows, as on rank 0`;
      throw shapeMismatch(`query of rank ${rank}`, expected, formatShape(queries));
    }
  });
  const keys = headers.map((header) => header.keys);
  const queries = headers.map((header) => header.queries);
  const all = first.queries.map((count) => [{ start: 0, step: 1, count }]);
  return {
    counts: headers,
    rows: sharesQueries ? headers.map(() => all) : placed('query', sharding, queries),
    columns: placed('key', sharding, keys),
    queries: sharesQueries ? first.queries : totals(queries),
    keys: totals(keys),
  };
}

function said(value: unknown): string {
  return Array.isArray(value) ? formatShape(value as string[]) : describe(value);
}

/** The part of the whole that rows and columns are, all heads of it. */
export function partOf(
  { options }: Pick<Request, 'options'>,
  whole: Counts,
  rows: readonly (readonly Run[])[],
  columns: readonly (readonly Run[])[],
): Part {
  const starts = whole.queries.map((queries, b) => (options.align === 'top-left' ? 0 : whole.keys[b]! - queries));
  return {
    whole: false,
    rows: piecesOf(rows),
    columns: piecesOf(columns),
    queryStart: alike(starts),
    nq: alike(whole.queries),
    nkv: alike(whole.keys),
    head: 0,
    headKv: 0,
  };
}

/** Every row of sequences, in order. */
export function allRows(counts: readonly number[]): readonly (readonly Run[])[] {
  return counts.map((count) => [{ start: 0, step: 1, count }]);
}

/** Rows of each sequence in lists of runs. */
export function countsOf(sequences: readonly (readonly Run[])[]): readonly number[] {
  return sequences.map(countOf);
}

/** The axis of rows. */
export function rowAxis({ ragged }: Pick<Geometry, 'ragged'>): number {
  return ragged ? 0 : 2;
}

/** The sinks of some query heads. */
export function sinksOf({ sinks }: Request, { start, count }: Run): Float32Array | null {
  return sinks && sinks.subarray(start, start + count);
}
