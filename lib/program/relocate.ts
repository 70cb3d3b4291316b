// Programs over a part of the positions: rows and columns of the part take the places of those of the whole.

import { Builder } from './builder.js';
import { importGraph, join } from './combine.js';
import { emit } from './emit.js';
import type { Graph, TableParameter } from './graph.js';
import type { Id } from './nodes.js';

/** The same for all sequences of a batch, or a number for each. */
export type Amount = number | readonly number[];

/** Rows of the part from `from` on, up to the next piece: row r is row base + step * r of the whole. */
export interface Piece {
  readonly from: Amount;
  readonly base: Amount;
  readonly step: number;
}

export interface Part {
  /** All rows and columns are there, in their order: only heads may be missing. */
  readonly whole: boolean;
  /** In order; the first begins at 0. */
  readonly rows: readonly Piece[];
  readonly columns: readonly Piece[];
  /** Of the whole: position of its first query, queries and keys. */
  readonly queryStart: Amount;
  readonly nq: Amount;
  readonly nkv: Amount;
  /** The first query head and key/value head of the part. */
  readonly head: number;
  readonly headKv: number;
}

/** The program as it is over a part; the tables, one value a sequence, follow those that it has. */
export function relocate(graph: Graph, part: Part): { graph: Graph; tables: readonly (readonly number[])[] } {
  const builder = new Builder();
  const tables: (readonly number[])[] = [];
  const b = builder.apply('b', 'integer', []);
  const sum = (x: Id, y: Id): Id => builder.apply('add', 'integer', [x, y]);
  const amount = (value: Amount): Id => {
    if (typeof value === 'number') return builder.nodes.constant('integer', value);
    if (value.every((one) => one === value[0])) return builder.nodes.constant('integer', value[0] ?? 0);
    return builder.apply('table', 'integer', [b], graph.tables.length + tables.push(value) - 1);
  };
  const placed = (op: 'row' | 'col', pieces: readonly Piece[]): Id => {
    const own = builder.apply(op, 'integer', []);
    const places = pieces.map(({ base, step }) =>
      sum(builder.apply('mul', 'integer', [own, amount(step)]), amount(base)),
    );
    return places.reduceRight((later, place, index) =>
      builder.select(builder.compare('lt', own, amount(pieces[index + 1]!.from)), place, later),
    );
  };
  const row = placed('row', part.rows);
  const col = placed('col', part.columns);
  const result = importGraph(
    builder,
    graph,
    { numbers: [], tables: [], grids: 0 },
    {
      row,
      col,
      i: sum(row, amount(part.queryStart)),
      j: col,
      nq: amount(part.nq),
      nkv: amount(part.nkv),
      h: sum(builder.apply('h', 'integer', []), amount(part.head)),
      hkv: sum(builder.apply('hkv', 'integer', []), amount(part.headKv)),
    },
  );
  const more = tables.map((_, index): TableParameter => ({ name: `part ${index}`, type: 'integer', rank: 1 }));
  const parameters = join([graph, { numbers: [], tables: more, grids: 0 }]);
  return { graph: emit(builder, graph.kind, result, parameters), tables };
}
