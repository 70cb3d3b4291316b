// What a program's graph means, pair by pair: integers exactly, reals in float32 with one rounding an operation.

import type { Graph, Node } from '../../lib/program/graph.js';

/** A value of a table parameter, last axis contiguous. */
export interface TableValue {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

/** Where a pair is, and the score so far. */
export interface Pair {
  readonly i: number;
  readonly j: number;
  readonly row: number;
  readonly col: number;
  readonly b: number;
  readonly h: number;
  readonly hkv: number;
  readonly nq: number;
  readonly nkv: number;
  readonly s: number;
}

/** Values of a graph's parameters: by name, or one after another as combined graphs need them. */
export interface ParameterValues {
  readonly numbers: readonly number[];
  readonly tables: readonly TableValue[];
  /** Mask tensors at the pair. */
  readonly grids?: readonly ((pair: Pair) => boolean)[];
}

/** The values that a graph reads, from those that its program was given. */
export function valuesFor(graph: Graph, given: Readonly<Record<string, number | TableValue>>): ParameterValues {
  return {
    numbers: graph.numbers.map(({ name }) => given[name] as number),
    tables: graph.tables.map(({ name }) => given[name] as TableValue),
  };
}

/** Thrown where the library refuses the call: an integer leaves int32, or a divisor is 0. */
export class Refused extends Error {}

/** The result of a read out of range, and of what uses it. */
export const poison = Symbol('poison');

export type Outcome = number | boolean | typeof poison;

/** A graph's result at one pair. */
export function interpret(graph: Graph, pair: Pair, parameters: ParameterValues): Outcome {
  return interpretAll(graph, pair, parameters)[graph.result]!;
}

/** The values of all nodes at one pair. A refused operation counts only if the result needs it. */
export function interpretAll(graph: Graph, pair: Pair, parameters: ParameterValues): Outcome[] {
  const outcomes: Outcome[] = [];
  for (const node of graph.nodes) {
    const args = node.args.map((argument) => outcomes[argument]!);
    outcomes.push(evaluate(node, args, pair, parameters));
  }
  return outcomes;
}

function evaluate(node: Node, args: readonly Outcome[], pair: Pair, parameters: ParameterValues): Outcome {
  const { op, type, value } = node;
  switch (op) {
    case 'constant':
      return type === 'boolean' ? value !== 0 : value;
    case 'parameter': {
      const number = parameters.numbers[value]!;
      return type === 'real' ? Math.fround(number) : number;
    }
    case 'grid':
      return parameters.grids![value]!(pair);
    case 'land':
    case 'lor': {
      const absorbing = op === 'lor';
      if (args.includes(absorbing)) return absorbing;
      return args.includes(poison) ? poison : !absorbing;
    }
    case 'select':
      return args[0] === poison ? poison : args[0] ? args[1]! : args[2]!;
    default:
  }
  if (args.includes(poison)) return poison;
  if (op === 'table') return read(parameters.tables[value]!, args as readonly number[], type);
  if (args.length === 0) return pair[op as keyof Pair];
  const [a, b] = args as [never, never];
  const result = operations[op]!(a, b);
  if (typeof result === 'boolean') return result;
  if (type === 'real') return Math.fround(result);
  if (result !== (result | 0)) throw new Refused(`${op} of ${args.join(', ')} is ${result}`);
  return result + 0;
}

function read({ data, shape }: TableValue, indices: readonly number[], type: string): Outcome {
  let at = 0;
  for (const [axis, index] of indices.entries()) {
    if (index < 0 || index >= shape[axis]!) return poison;
    at = at * shape[axis]! + index;
  }
  return type === 'real' ? Math.fround(data[at]!) : data[at]!;
}

type Operation = (a: never, b: never) => number | boolean;

const binary = (run: (a: number, b: number) => number | boolean): Operation => run;

/** Applied to float32 or int32 operands; the result is rounded after. */
const operations: Readonly<Record<string, Operation>> = {
  add: binary((a, b) => a + b),
  sub: binary((a, b) => a - b),
  mul: binary((a, b) => a * b),
  div: binary((a, b) => a / b),
  mod: binary((a, b) => a % b),
  floorDiv: binary((a, b) => Math.floor(a / b)),
  ceilDiv: binary((a, b) => Math.ceil(a / b)),
  truncDiv: binary((a, b) => Math.trunc(a / b)),
  neg: binary((a) => -a),
  abs: binary(Math.abs),
  min: binary(Math.min),
  max: binary(Math.max),
  sign: binary(Math.sign),
  bitAnd: binary((a, b) => a & b),
  bitOr: binary((a, b) => a | b),
  bitXor: binary((a, b) => a ^ b),
  bitNot: binary((a) => ~a),
  shl: binary((a, b) => a << b),
  shr: binary((a, b) => a >> b),
  ushr: binary((a, b) => a >>> b),
  lt: binary((a, b) => a < b),
  le: binary((a, b) => a <= b),
  eq: binary((a, b) => a === b),
  ne: binary((a, b) => a !== b),
  lnot: (a: boolean) => !a,
  toReal: binary((a) => a),
  floor: binary(Math.floor),
  ceil: binary(Math.ceil),
  trunc: binary(Math.trunc),
  exp: binary(Math.exp),
  log: binary(Math.log),
  log2: binary(Math.log2),
  sqrt: binary(Math.sqrt),
  tanh: binary(Math.tanh),
  sin: binary(Math.sin),
  cos: binary(Math.cos),
  pow: binary((a, b) => a ** b),
};
