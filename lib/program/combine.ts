// Graphs made of graphs. Numbers, tables and grids of the parts follow each other, so that their values do too.

import { Builder } from './builder.js';
import { emit, isFlat } from './emit.js';
import type { Parameters } from './emit.js';
import type { Graph, Op } from './graph.js';
import type { Id } from './nodes.js';

/** The mask that all, or any, of the masks allow. */
export function combineMasks(op: 'and' | 'or', graphs: readonly Graph[]): Graph {
  const builder = new Builder();
  const results = importAll(builder, graphs);
  return emit(builder, 'mask', op === 'and' ? builder.all(results) : builder.any(results), join(graphs));
}

/** The mask that allows what the other does not. */
export function negateMask(graph: Graph): Graph {
  const builder = new Builder();
  return emit(builder, 'mask', builder.not(importAll(builder, [graph])[0]!), join([graph]));
}

/** The mask that reads one boolean tensor. */
export function gridMask(): Graph {
  const builder = new Builder();
  return emit(builder, 'mask', builder.apply('grid', 'boolean', []), { numbers: [], tables: [], grids: 1 });
}

/** Scores go through the first program, then through the second, and so on. */
export function composeScores(graphs: readonly Graph[]): Graph {
  const builder = new Builder();
  const first = builder.apply('s', 'real', []);
  let before: Parameters = { numbers: [], tables: [], grids: 0 };
  let score = first;
  for (const graph of graphs) {
    score = importGraph(builder, graph, before, { s: score });
    before = join([before, graph]);
  }
  return emit(builder, 'score', score, before);
}

export function join(parts: readonly Parameters[]): Parameters {
  return {
    numbers: parts.flatMap(({ numbers }) => numbers),
    tables: parts.flatMap(({ tables }) => tables),
    grids: parts.reduce((sum, { grids }) => sum + grids, 0),
  };
}

function importAll(builder: Builder, graphs: readonly Graph[]): Id[] {
  return graphs.map((graph, index) => importGraph(builder, graph, join(graphs.slice(0, index))));
}

/** What stands in the place of a graph's leaves. */
export type Leaves = Partial<Readonly<Record<Op, Id>>>;

/** A graph's result among the nodes of another. */
export function importGraph(builder: Builder, graph: Graph, before: Parameters, leaves: Leaves = {}): Id {
  const { nodes, result } = graph;
  const starts = { parameter: before.numbers.length, table: before.tables.length, grid: before.grids };
  const chained = chainedNodes(graph);
  const made: Id[] = [];
  // Members of a chain of one junction are joined all at once, at its end.
  const members: Id[][] = [];
  for (const [index, { op, type, args, value }] of nodes.entries()) {
    if (isFlat(op)) {
      const parts = args.flatMap((argument) =>
        chained.has(argument) && nodes[argument]!.op === op ? members[argument]! : [made[argument]!],
      );
      members[index] = parts;
      if (!chained.has(index) || index === result) made[index] = builder.apply(op, type, parts);
    } else if (leaves[op] !== undefined) {
      made[index] = leaves[op];
    } else {
      const start = op === 'parameter' || op === 'table' || op === 'grid' ? starts[op] : 0;
      made[index] = builder.apply(
        op,
        type,
        args.map((argument) => made[argument]!),
        value + start,
      );
    }
  }
  return made[result]!;
}

/** Junctions, of booleans or bits, that only one other of their kind uses. */
function chainedNodes({ nodes }: Graph): Set<number> {
  const users = nodes.map(() => [] as number[]);
  for (const [index, { args }] of nodes.entries()) for (const argument of args) users[argument]!.push(index);
  const chained = new Set<number>();
  for (const [index, { op }] of nodes.entries()) {
    const [user] = users[index]!;
    if (!isFlat(op)) continue;
    if (users[index]!.length === 1 && nodes[user!]!.op === op) chained.add(index);
  }
  return chained;
}
