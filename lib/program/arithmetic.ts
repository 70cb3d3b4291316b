// Operators on numbers of one type: constants folded, and the few identities that are exact and that compilers use.
// Reals are never reassociated.

import type { Op } from './graph.js';
import type { Id, Nodes } from './nodes.js';

const leastInt = -(2 ** 31);
const mostInt = 2 ** 31 - 1;

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
  bitAnd: (x, y) => x & y,
  bitOr: (x, y) => x | y,
  bitXor: (x, y) => x ^ y,
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
  if (op === 'bitNot') return nodes.at(a).op === 'bitNot' ? nodes.at(a).args[0]! : plain(nodes, op, [a]);
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
    case 'bitAnd':
    case 'bitOr':
    case 'bitXor':
      return combineBits(nodes, op, left, right);
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
  const { op, args } = nodes.at(a);
  if (op === 'mul') {
    const factor = oppositeConstant(nodes, args[1]!);
    if (factor !== undefined) return operate(nodes, 'mul', args[0]!, factor);
  }
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

function multiply(nodes: Nodes, a: Id, b: Id): Id {
  const [x, y] = nodes.sorted([a, b]) as [Id, Id];
  if (isConstant(nodes, y, 1)) return x;
  if (isConstant(nodes, y, -1)) return operate(nodes, 'neg', x);
  if (nodes.type(x) === 'integer' && isConstant(nodes, y, 0)) return y;
  const minusX = negated(nodes, x);
  if (minusX !== undefined) {
    const factor = oppositeConstant(nodes, y);
    return factor === undefined
      ? operate(nodes, 'neg', operate(nodes, 'mul', minusX, y))
      : operate(nodes, 'mul', minusX, factor);
  }
  const minusY = negated(nodes, y);
  if (minusY !== undefined) return operate(nodes, 'neg', operate(nodes, 'mul', x, minusY));
  return plain(nodes, 'mul', [x, y]);
}

function divide(nodes: Nodes, a: Id, b: Id): Id {
  const [minusA, minusB] = [negated(nodes, a), negated(nodes, b)];
  if (minusA !== undefined) return operate(nodes, 'neg', operate(nodes, 'div', minusA, b));
  if (minusB !== undefined) return operate(nodes, 'neg', operate(nodes, 'div', a, minusB));
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

function combineBits(nodes: Nodes, op: 'bitAnd' | 'bitOr' | 'bitXor', a: Id, b: Id): Id {
  const [x, y] = nodes.sorted([a, b]) as [Id, Id];
  const constant = nodes.constantOf(y);
  if (x === y) return op === 'bitXor' ? nodes.constant('integer', 0) : x;
  if (constant === 0) return op === 'bitAnd' ? y : x;
  if (constant === -1) return op === 'bitAnd' ? x : op === 'bitOr' ? y : operate(nodes, 'bitNot', x);
  return plain(nodes, op, [x, y]);
}

function integerOnly(nodes: Nodes, op: Op, a: Id, b: Id): Id {
  const constant = nodes.constantOf(b);
  if (constant !== undefined) {
    const quotient = op === 'floorDiv' || op === 'ceilDiv' || op === 'truncDiv';
    if (quotient && constant === 1) return a;
    if (quotient && constant === -1) return operate(nodes, 'neg', a);
    if (op === 'mod' && (constant === 1 || constant === -1)) return nodes.constant('integer', 0);
    // The sign of a remainder is the dividend's.
    if (op === 'mod' && constant < 0 && -constant <= mostInt) {
      return plain(nodes, op, [a, nodes.constant('integer', -constant)]);
    }
    if ((op === 'shl' || op === 'shr') && (constant & 31) === 0) return a;
    if (op === 'shl' || op === 'shr' || op === 'ushr') {
      return plain(nodes, op, [a, nodes.constant('integer', constant & 31)]);
    }
  }
  return plain(nodes, op, [a, b]);
}
