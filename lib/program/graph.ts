// A program as every backend knows it: a typed graph in single assignment form. The numbers are those of
// native/program/graph.h.

/** What an operation does; the value is its number in the encoded form. */
export const ops = {
  constant: 0,
  parameter: 1,
  table: 2,
  grid: 3,
  i: 8,
  j: 9,
  row: 10,
  col: 11,
  b: 12,
  h: 13,
  hkv: 14,
  nq: 15,
  nkv: 16,
  s: 17,
  add: 24,
  sub: 25,
  mul: 26,
  div: 27,
  mod: 28,
  floorDiv: 29,
  ceilDiv: 30,
  truncDiv: 31,
  neg: 32,
  abs: 33,
  min: 34,
  max: 35,
  sign: 36,
  bitAnd: 40,
  bitOr: 41,
  bitXor: 42,
  bitNot: 43,
  shl: 44,
  shr: 45,
  ushr: 46,
  lt: 48,
  le: 49,
  eq: 50,
  ne: 51,
  lnot: 56,
  land: 57,
  lor: 58,
  select: 59,
  toReal: 60,
  floor: 64,
  ceil: 65,
  trunc: 66,
  exp: 67,
  log: 68,
  log2: 69,
  sqrt: 70,
  tanh: 71,
  sin: 72,
  cos: 73,
  pow: 74,
} as const;

export type Op = keyof typeof ops;

/** Integers are int32, reals float32 with one rounding an operation. */
export type ValueType = 'boolean' | 'integer' | 'real';
export const valueTypes: Readonly<Record<ValueType, number>> = { boolean: 0, integer: 1, real: 2 };

export type ProgramKind = 'mask' | 'score';

export interface Node {
  readonly op: Op;
  readonly type: ValueType;
  /** Indices of earlier nodes. */
  readonly args: readonly number[];
  /** Of a constant its value; of `parameter`, `table` and `grid` the index of what is read; else 0. */
  readonly value: number;
}

/** A number given with the program. */
export interface NumberParameter {
  readonly name: string;
  readonly type: 'integer' | 'real';
}

/** An array given with the program, read by call with one index an axis. */
export interface TableParameter {
  readonly name: string;
  readonly type: 'integer' | 'real';
  readonly rank: 1 | 2 | 3;
}

export interface Graph {
  readonly kind: ProgramKind;
  readonly nodes: readonly Node[];
  readonly result: number;
  readonly numbers: readonly NumberParameter[];
  readonly tables: readonly TableParameter[];
  /** Mask tensors read by `grid` nodes. */
  readonly grids: number;
}

const graphVersion = 1;

/** The numbers of native/program/graph.h; parameter values follow them. */
export function encodeGraph(graph: Graph): number[] {
  const { kind, nodes, result, numbers, tables, grids } = graph;
  const encoded = [graphVersion, kind === 'mask' ? 0 : 1, nodes.length, result, numbers.length, tables.length, grids];
  for (const { type } of numbers) encoded.push(valueTypes[type]);
  for (const { type, rank } of tables) encoded.push(valueTypes[type], rank);
  for (const { op, type, args, value } of nodes) {
    encoded.push(ops[op], valueTypes[type], args[0] ?? -1, args[1] ?? -1, args[2] ?? -1, value);
  }
  return encoded;
}
