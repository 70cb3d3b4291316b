// The finished graph: the nodes that the result needs, operands first, in an order that follows from what they are.

import type { Graph, Node, NumberParameter, Op, ProgramKind, TableParameter, ValueType } from './graph.js';
import type { Builder } from './builder.js';
import type { Entry, Id } from './nodes.js';
import { wholeProblem } from './problem.js';

/** As native/program/graph.h has it. */
const mostNodes = 4096;
const mostParameters = 256;

/** What a graph's parameters are; given in full where values are looked up by index, else found by the names in use. */
export interface Parameters {
  readonly numbers: readonly NumberParameter[];
  readonly tables: readonly TableParameter[];
  readonly grids: number;
}

export function emit(builder: Builder, kind: ProgramKind, root: Id, given?: Parameters): Graph {
  const result = withSigns(builder, root);
  const order = operandsFirst(builder, result);
  const parameters = given ?? parametersOf(order.map((id) => builder.nodes.at(id)));
  for (const count of [parameters.numbers.length, parameters.tables.length, parameters.grids]) {
    if (count > mostParameters) throw wholeProblem(`${count}`, `at most ${mostParameters} numbers, tables or grids`);
  }
  const nodes: Node[] = [];
  const places = new Map<Id, number>();
  const pairs = new Map<string, number>();
  const push = (node: Node): number => nodes.push(node) - 1;
  for (const id of order) {
    const { op, type, args, value, label } = builder.nodes.at(id);
    const operands = args.map((argument) => places.get(argument)!);
    if (isFlat(op)) {
      const pair = (a: number, b: number): number => {
        const key = `${op} ${a} ${b}`;
        const known = pairs.get(key) ?? push({ op, type, args: [a, b], value: 0 });
        pairs.set(key, known);
        return known;
      };
      places.set(id, operands.slice(1).reduce(pair, operands[0]!));
    } else {
      const index = given === undefined ? indexOf(parameters, op, type, label) : undefined;
      places.set(id, push({ op, type, args: operands, value: index ?? value }));
    }
  }
  if (nodes.length > mostNodes) {
    throw wholeProblem(`one of ${nodes.length}`, `a program of at most ${mostNodes} operations`);
  }
  return { kind, nodes, result: places.get(result)!, ...parameters };
}

/** The same graph, where the sign of a product with a constant is the constant's again: one operation less. */
function withSigns(builder: Builder, root: Id): Id {
  const { nodes } = builder;
  const made = new Map<Id, Id>();
  for (const id of operandsFirst(builder, root)) {
    const { op, type, args, value, label } = nodes.at(id);
    const operands = args.map((argument) => made.get(argument)!);
    const product = op === 'neg' ? nodes.at(operands[0]!) : undefined;
    const factor = product?.op === 'mul' ? nodes.constantOf(product.args[1]!) : undefined;
    if (product !== undefined && factor !== undefined) {
      made.set(id, nodes.intern('mul', type, [product.args[0]!, nodes.constant(type, -factor)]));
    } else {
      made.set(id, nodes.intern(op, type, operands, value, label));
    }
  }
  return made.get(root)!;
}

/** Operations of any number of operands while a graph is made, of two when it is finished. */
export function isFlat(op: Op): boolean {
  return op === 'land' || op === 'lor' || op === 'bitAnd' || op === 'bitOr' || op === 'bitXor';
}

function operandsFirst(builder: Builder, result: Id): Id[] {
  const order: Id[] = [];
  const seen = new Set<Id>();
  const stack: { id: Id; next: number }[] = [{ id: result, next: 0 }];
  seen.add(result);
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const { args } = builder.nodes.at(top.id);
    const argument = args[top.next];
    top.next += 1;
    if (argument === undefined) {
      order.push(top.id);
      stack.pop();
    } else if (!seen.has(argument)) {
      seen.add(argument);
      stack.push({ id: argument, next: 0 });
    }
  }
  return order;
}

function parametersOf(entries: readonly Entry[]): Parameters {
  const named = <P extends NumberParameter>(op: string, make: (entry: Entry) => P): P[] => {
    const found = new Map<string, P>();
    for (const entry of entries) if (entry.op === op) found.set(`${entry.label}\n${entry.type}`, make(entry));
    return [...found.keys()].sort().map((key) => found.get(key)!);
  };
  const numbers = named('parameter', ({ label, type }) => ({ name: label, type: numeric(type) }));
  const tables = named('table', ({ label, type, args }) => ({
    name: label,
    type: numeric(type),
    rank: args.length as 1 | 2 | 3,
  }));
  return { numbers, tables, grids: 0 };
}

function numeric(type: ValueType): 'integer' | 'real' {
  return type === 'real' ? 'real' : 'integer';
}

function indexOf({ numbers, tables }: Parameters, op: string, type: ValueType, label: string): number | undefined {
  if (op === 'table') return tables.findIndex(({ name }) => name === label);
  if (op === 'parameter') return numbers.findIndex((number) => number.name === label && number.type === type);
  return undefined;
}
