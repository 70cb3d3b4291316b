// Operators on numbers of one type: constants folded, and the few identities that are exact and that compilers use.
// Reals are never reassociated.

import { complement } from './bits.js';
import type { Op } from './graph.js';
import type { Id, Nodes } from './nodes.js';

const leastInt = -(2 ** 31);

export function isInt32(value: number): boolean {
  return value === (value | 0);
}

type Fold = (x: number, y: number) => number;

const folds: Partial<Record<Op, Fold>> = {
  add: (x, y) => x + y,
  sub: (x, y) => x - y,
  mul: (x, y) => x * y,
  div: (x, y) => x / y,
  mod: (x, y) => x % y,
  floorDiv: (x, y) => Math.floor(x / y),
  ceilDiv: (x, y) => Math.ceil(x / y),
  truncDiv: (x, y) => Math.trunc(x / y),
  neg: (x) => -x,
  bitNot: (x) => ~x,
  shl: (x, y) => x << y,
  shr: (x, y) => x >> y,
  ushr: (x, y) => x >>> y,
};

/** An operator's node, whose operands have its type. */
export function operate(nodes: Nodes, op: Op, a: Id, b?: Id): Id {
  return fold(nodes, op, a, b) ?? simplify(nodes, op, a, b);
}

/** The constant, unless it leaves int32: then the operation stays, and its call is refused. */
function fold(nodes: Nodes, op: Op, a: Id, b: Id | undefined): Id | undefined {
  const x = nodes.constantOf(a);
  const y = b === undefined ? 0 : nodes.constantOf(b);
  if (x === undefined || y === undefined) return undefined;
  const type = nodes.type(a);
  const value = folds[op]!(x, y);
  return type === 'real' || isInt32(value) ? nodes.constant(type, value) : undefined;
}

function simplify(nodes: Nodes, op: Op, a: Id, b: Id | undefined): Id {
  if (op === 'neg') return negate(nodes, a);
  if (op === 'bitNot') return complement(nodes, a);
  const [left, right] = [a, b!];
  switch (op) {
    case 'add':
      return add(nodes, left, right);
    case 'sub':
      return subtract(nodes, left, right);
    case 'mul':
      return multiply(nodes, left, right);
    case 'div':
      return divide(nodes, left, right);
    default:
      return integerOnly(nodes, op, left, right);
  }
}

function plain(nodes: Nodes, op: Op, args: readonly Id[]): Id {
  return nodes.intern(op, nodes.type(args[0]!), args);
}

function isConstant(nodes: Nodes, id: Id, value: number): boolean {
  return Object.is(nodes.constantOf(id), value);
}

function negated(nodes: Nodes, id: Id): Id | undefined {
  const entry = nodes.at(id);
  return entry.op === 'neg' ? entry.args[0] : undefined;
}

/** The constant with the other sign; undefined of the least integer and of other nodes. */
function oppositeConstant(nodes: Nodes, id: Id): Id | undefined {
  const value = nodes.constantOf(id);
  if (value === undefined || value === leastInt) return undefined;
  return nodes.constant(nodes.type(id), -value);
}

function negate(nodes: Nodes, a: Id): Id {
  const inner = negated(nodes, a);
  if (inner !== undefined) return inner;
  return plain(nodes, 'neg', [a]);
}

function add(nodes: Nodes, a: Id, b: Id): Id {
  const integer = nodes.type(a) === 'integer';
  // Of reals -0 + 0 is 0: only -0 changes nothing.
  const nothing = integer ? 0 : -0;
  if (isConstant(nodes, b, nothing)) return a;
  if (isConstant(nodes, a, nothing)) return b;
  const [minusA, minusB] = [negated(nodes, a), negated(nodes, b)];
  if (minusB !== undefined) return subtract(nodes, a, minusB);
  if (minusA !== undefined) return subtract(nodes, b, minusA);
  const [x, y] = nodes.sorted([a, b]) as [Id, Id];
  const constant = nodes.constantOf(y);
  const inner = nodes.at(x);
  if (integer && constant !== undefined && inner.op === 'add') {
    const before = nodes.constantOf(inner.args[1]!);
    if (before !== undefined && isInt32(before + constant)) {
      return operate(nodes, 'add', inner.args[0]!, nodes.constant('integer', before + constant));
    }
  }
  return plain(nodes, 'add', [x, y]);
}

function subtract(nodes: Nodes, a: Id, b: Id): Id {
  const integer = nodes.type(a) === 'integer';
  const opposite = oppositeConstant(nodes, b);
  if (opposite !== undefined) return operate(nodes, 'add', a, opposite);
  const minusB = negated(nodes, b);
  if (minusB !== undefined) return operate(nodes, 'add', a, minusB);
  if (integer && a === b) return nodes.constant('integer', 0);
  // 0 - x is -x but for the sign of zero, which integers don't have.
  if (isConstant(nodes, a, integer ? 0 : -0)) return negate(nodes, b);
  return plain(nodes, 'sub', [a, b]);
}

/** A factor or divisor without its sign, which goes in front of the whole product: compilers move it about. */
function unsigned(nodes: Nodes, id: Id): { id: Id; minus: boolean } {
  const inner = negated(nodes, id);
  if (inner !== undefined) return { id: inner, minus: true };
  const value = nodes.constantOf(id);
  if (value === undefined || !(value < 0 || Object.is(value, -0))) return { id, minus: false };
  const positive = oppositeConstant(nodes, id);
  return positive === undefined ? { id, minus: false } : { id: positive, minus: true };
}

function signed(nodes: Nodes, minus: boolean, product: Id): Id {
  return minus ? operate(nodes, 'neg', product) : product;
}

function multiply(nodes: Nodes, a: Id, b: Id): Id {
  const [left, right] = [unsigned(nodes, a), unsigned(nodes, b)];
  const minus = left.minus !== right.minus;
  if (left.minus || right.minus) return signed(nodes, minus, operate(nodes, 'mul', left.id, right.id));
  const [x, y] = nodes.sorted([a, b]) as [Id, Id];
  if (isConstant(nodes, y, 1)) return x;
  if (nodes.type(x) === 'integer' && isConstant(nodes, y, 0)) return y;
  return plain(nodes, 'mul', [x, y]);
}

function divide(nodes: Nodes, a: Id, b: Id): Id {
  const [left, right] = [unsigned(nodes, a), unsigned(nodes, b)];
  const minus = left.minus !== right.minus;
  if (left.minus || right.minus) return signed(nodes, minus, operate(nodes, 'div', left.id, right.id));
  const divisor = nodes.constantOf(b);
  if (divisor !== undefined && isPowerOfTwo(divisor)) {
    return operate(nodes, 'mul', a, nodes.constant('real', 1 / divisor));
  }
  return plain(nodes, 'div', [a, b]);
}

/** Whether the reciprocal is a normal float32 too: then dividing and multiplying round alike. */
function isPowerOfTwo(value: number): boolean {
  const exponent = Math.log2(Math.abs(value));
  return Number.isInteger(exponent) && Math.abs(exponent) <= 126 && 2 ** exponent === Math.abs(value);
}

function integerOnly(nodes: Nodes, op: Op, a: Id, b: Id): Id {
  if (op === 'mod') return remainder(nodes, a, b);
  const constant = nodes.constantOf(b);
  if (constant !== undefined) {
    const quotient = op === 'floorDiv' || op === 'ceilDiv' || op === 'truncDiv';
    if (quotient && constant === 1) return a;
    if (quotient && constant === -1) return operate(nodes, 'neg', a);
    if ((op === 'shl' || op === 'shr') && (constant & 31) === 0) return a;
    if (op === 'shl' || op === 'shr' || op === 'ushr') {
      return plain(nodes, op, [a, nodes.constant('integer', constant & 31)]);
    }
  }
  return plain(nodes, op, [a, b]);
}

/** The sign of a remainder is the dividend's, whatever the divisor's. */
function remainder(nodes: Nodes, a: Id, b: Id): Id {
  const minusA = negated(nodes, a);
  if (minusA !== undefined) return operate(nodes, 'neg', operate(nodes, 'mod', minusA, b));
  const minusB = negated(nodes, b);
  if (minusB !== undefined) return operate(nodes, 'mod', a, minusB);
  const constant = nodes.constantOf(b);
  if (constant === 1 || constant === -1) return nodes.constant('integer', 0);
  const positive = constant !== undefined && constant < 0 ? oppositeConstant(nodes, b) : undefined;
  return plain(nodes, 'mod', [a, positive ?? b]);
}
