// A graph with the values that it reads: what masks and scores are made of, and the addon's handle of it.

import type { BlockLayout } from './block-layout.js';
import { describe, AttentionError, fromNative, oneOf } from './errors.js';
import { language } from './language.js';
import { loadNative } from './native.cjs';
import type { NativeError, NativeProgram } from './native.cjs';
import { checkExact, kindsOf, parameterToJSON, readParameters } from './parameters.js';
import type { Parameter } from './parameters.js';
import { encodeGraph } from './program/graph.js';
import type { Graph, ProgramKind } from './program/graph.js';
import type { TensorInput } from './tensor.js';

/**
 * A mask's other form, cheaper to schedule: positions from `origin` on are cells of a grid, and a query's cell x sees a
 * key's cell c where start[x] <= c < end[x] and c = x modulo the period on every axis. Positions before it are seen by
 * all, and see all. See native/program/axis_product.h.
 */
export interface AxisProduct {
  readonly origin: number;
  readonly axes: readonly {
    readonly length: number;
    readonly period: number;
    /** Names of the program's tables. */
    readonly start: string;
    readonly end: string;
  }[];
}

export class BoundProgram {
  readonly graph: Graph;
  /** Values of the graph's number parameters and tables, in its order. */
  readonly numbers: readonly Parameter[];
  readonly tables: readonly Parameter[];
  /** Mask tensors that it reads, in the order of its grids. */
  readonly grids: readonly TensorInput[];
  /** 'lost' where a part had one, or the program before some of its parameters changed. */
  readonly product: AxisProduct | 'lost' | undefined;
  /** Lists of blocks that must allow a pair, besides the graph. */
  readonly lists: readonly BlockLayout[];
  #handle: NativeProgram | null = null;

  constructor(
    graph: Graph,
    numbers: readonly Parameter[],
    tables: readonly Parameter[],
    grids: readonly TensorInput[] = [],
    product?: AxisProduct | 'lost',
    lists: readonly BlockLayout[] = [],
  ) {
    this.graph = graph;
    this.numbers = numbers;
    this.tables = tables;
    this.grids = grids;
    this.product = product;
    this.lists = lists;
  }

  /** The addon's copy, made when first needed. */
  get handle(): NativeProgram {
    return (this.#handle ??= makeHandle(this));
  }
}

/** Several programs as one graph, which `combine` makes of theirs; their values follow each other. Lists must all allow. */
export function joinPrograms(programs: readonly BoundProgram[], combine: (graphs: Graph[]) => Graph): BoundProgram {
  const graph = combine(programs.map((program) => program.graph));
  return new BoundProgram(
    graph,
    programs.flatMap(({ numbers }) => numbers),
    programs.flatMap(({ tables }) => tables),
    programs.flatMap(({ grids }) => grids),
    programs.some(({ product }) => product) ? 'lost' : undefined,
    programs.flatMap(({ lists }) => lists),
  );
}

function makeHandle({ graph, numbers, tables, product, lists }: BoundProgram): NativeProgram {
  const encoded = encodeGraph(graph);
  for (const { number } of numbers) encoded.push(number);
  for (const { shape } of tables) encoded.push(...shape);
  const buffers: (Int32Array | Float32Array)[] = tables.map(({ cells }) => cells!);
  if (product && product !== 'lost') {
    const indexOf = (name: string): number => graph.tables.findIndex((table) => table.name === name);
    encoded.push(product.axes.length, product.origin);
    for (const { length, period, start, end } of product.axes) {
      encoded.push(length, period, indexOf(start), indexOf(end));
    }
  } else if (lists.length > 0) encoded.push(0);
  if (lists.length > 0) encoded.push(lists.length);
  for (const { sizeQ, sizeK, rows, columns, batches, heads, byRow, starts, blocks } of lists) {
    encoded.push(sizeQ, sizeK, rows, columns, batches, heads, byRow ? 1 : 0);
    buffers.push(starts, blocks);
  }
  try {
    return loadNative().program(new Float64Array(encoded), buffers);
  } catch (error) {
    if (error instanceof AttentionError) throw error;
    throw fromNative(error as NativeError);
  }
}

/** A program as a user gave it: what `with` and `toJSON` go by. */
export interface ProgramSource {
  readonly kind: ProgramKind;
  readonly source: string;
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly grid: readonly number[] | undefined;
  /** What the source is compiled to with parameters of these kinds. */
  readonly graph: Graph;
}

/** Compiles a program, or finds it compiled, and gives it its parameters. */
export function bindProgram(
  kind: ProgramKind,
  program: unknown,
  parameters: ReadonlyMap<string, Parameter>,
  grid: readonly number[] | undefined,
  product?: AxisProduct | 'lost',
): { bound: BoundProgram; source: ProgramSource } {
  const { graph, source } = language().compileProgram(kind, program, kindsOf(parameters), grid);
  return bindGraph(graph, { kind, source, parameters, grid, graph }, product);
}

function bindGraph(
  graph: Graph,
  source: ProgramSource,
  product?: AxisProduct | 'lost',
): { bound: BoundProgram; source: ProgramSource } {
  for (const { name, type } of graph.numbers) {
    // An integer that the program compares with reals becomes one.
    if (type === 'real') checkExact(`parameters.${name}`, source.parameters.get(name)!.number, source.kind);
  }
  const values = ({ name }: { name: string }): Parameter => source.parameters.get(name)!;
  return { bound: new BoundProgram(graph, graph.numbers.map(values), graph.tables.map(values), [], product), source };
}

/** The program of `before`, whose source is `old`, with some parameters replaced. */
export function rebind(
  before: BoundProgram,
  old: ProgramSource,
  given: unknown,
): { bound: BoundProgram; source: ProgramSource } {
  const changes = readParameters('parameters', given, old.kind);
  for (const name of changes.keys()) {
    if (old.parameters.has(name)) continue;
    const known = [...old.parameters.keys()];
    const expected = known.length === 0 ? 'none: the program has no parameters' : `one of ${oneOf(known)}`;
    throw new AttentionError('ERR_INVALID_ARG_VALUE', `parameters.${name}`, expected, describe(name));
  }
  const parameters = new Map([...old.parameters, ...changes]);
  const product = before.product && 'lost';
  for (const [name, { kind }] of changes) {
    const was = old.parameters.get(name)!.kind;
    if (was.type === kind.type && was.rank === kind.rank) continue;
    return bindProgram(old.kind, old.source, parameters, old.grid, product);
  }
  return bindGraph(old.graph, { ...old, parameters }, product);
}

/** `{ kind, source, parameters, grid }`, which mask() and score() take back. */
export function sourceToJSON({ kind, source, parameters, grid }: ProgramSource): Record<string, unknown> {
  const json: Record<string, unknown> = { kind, source };
  if (parameters.size > 0) {
    json['parameters'] = Object.fromEntries([...parameters].map(([name, value]) => [name, parameterToJSON(value)]));
  }
  if (grid !== undefined) json['grid'] = [...grid];
  return json;
}
