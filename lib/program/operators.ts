// Operators of the language on values: what is written down is computed as JavaScript does, the rest becomes nodes.

import { isInt32 } from './arithmetic.js';
import type { Op } from './graph.js';
import { bitsOf, dataOf, integerOf, numberOf, realOf, realOperand, truth, typeOf, zeroOrOne } from './coerce.js';
import type { Place, Reading } from './coerce.js';
import { literal, node } from './values.js';
import type { Data, Value } from './values.js';

/** A binary operator as a program writes it; undefined if the language has no such operator. */
export function binary(reading: Reading, operator: string, a: Value, b: Value, place: Place): Value | undefined {
  if (operator in arithmetic) return calculate(reading, operator, numberOf(reading, a, place), b, place);
  if (operator in bitwise) return combineBits(reading, operator, a, b, place);
  if (operator in comparisons) return compare(reading, operator, a, b, place);
  return undefined;
}

const arithmetic: Readonly<Record<string, { op: Op; fold: (x: number, y: number) => number }>> = {
  __proto__: null as never,
  '+': { op: 'add', fold: (x, y) => x + y },
  '-': { op: 'sub', fold: (x, y) => x - y },
  '*': { op: 'mul', fold: (x, y) => x * y },
  '/': { op: 'div', fold: (x, y) => x / y },
  '%': { op: 'mod', fold: (x, y) => x % y },
  '**': { op: 'pow', fold: (x, y) => x ** y },
};

function calculate(reading: Reading, operator: string, a: Data, second: Value, place: Place): Value {
  const { builder } = reading;
  const b = numberOf(reading, second, place);
  const { op, fold } = arithmetic[operator]!;
  if (a.kind === 'literal' && b.kind === 'literal') return literal(fold(a.value, b.value));
  const integers = typeOf(reading, a) === 'integer' && typeOf(reading, b) === 'integer';
  const dividing = op === 'div' || op === 'mod';
  if (integers && dividing && b.kind === 'literal' && b.value === 0 && (op === 'mod' || reading.kind === 'mask')) {
    reading.fail(place, `${operator} 0`, 'a divisor that is not 0');
  }
  if (integers && op === 'div') {
    return divide(reading, integerOf(reading, a, place), integerOf(reading, b, place));
  }
  if (integers && op !== 'pow') {
    return node(builder.apply(op, 'integer', [integerOf(reading, a, place), integerOf(reading, b, place)]));
  }
  if (op === 'mod') reading.fail(place, '% of real numbers', 'integers, or a - b * Math.trunc(a / b)');
  return node(builder.apply(op, 'real', [realOperand(reading, a, place), realOperand(reading, b, place)]));
}

/** a / -b is -a / b, and compilers write one for the other. */
function divide({ builder }: Reading, a: number, b: number): Value {
  const { op, args, value } = builder.nodes.at(b);
  if (op === 'neg') return { kind: 'quotient', a: builder.apply('neg', 'integer', [a]), b: args[0]! };
  if (op !== 'constant' || value >= 0 || !isInt32(-value)) return { kind: 'quotient', a, b };
  const positive = builder.nodes.constant('integer', -value);
  return { kind: 'quotient', a: builder.apply('neg', 'integer', [a]), b: positive };
}

const bitwise: Readonly<Record<string, { op: Op; fold: (x: number, y: number) => number }>> = {
  __proto__: null as never,
  '&': { op: 'bitAnd', fold: (x, y) => x & y },
  '|': { op: 'bitOr', fold: (x, y) => x | y },
  '^': { op: 'bitXor', fold: (x, y) => x ^ y },
  '<<': { op: 'shl', fold: (x, y) => x << y },
  '>>': { op: 'shr', fold: (x, y) => x >> y },
  '>>>': { op: 'ushr', fold: (x, y) => x >>> y },
};

function combineBits(reading: Reading, operator: string, a: Value, b: Value, place: Place): Value {
  const { builder } = reading;
  const { op, fold } = bitwise[operator]!;
  if (a.kind === 'node' && b.kind === 'node' && '&|^'.includes(operator)) {
    const [x, y] = [a.id, b.id];
    if (builder.nodes.type(x) === 'boolean' && builder.nodes.type(y) === 'boolean') {
      const both =
        op === 'bitAnd' ? builder.all([x, y]) : op === 'bitOr' ? builder.any([x, y]) : builder.compare('ne', x, y);
      return zeroOrOne(reading, both, place);
    }
  }
  const [x, y] = [bitsOf(reading, a, place), bitsOf(reading, b, place)];
  if (x.kind === 'literal' && y.kind === 'literal') return literal(fold(x.value, y.value));
  return node(builder.apply(op, 'integer', [integerOf(reading, x, place), integerOf(reading, y, place)]));
}

type Relation = 'lt' | 'le' | 'eq' | 'ne';

const comparisons: Readonly<Record<string, { relation: Relation; swap: boolean }>> = {
  __proto__: null as never,
  '<': { relation: 'lt', swap: false },
  '<=': { relation: 'le', swap: false },
  '>': { relation: 'lt', swap: true },
  '>=': { relation: 'le', swap: true },
  '==': { relation: 'eq', swap: false },
  '===': { relation: 'eq', swap: false },
  '!=': { relation: 'ne', swap: false },
  '!==': { relation: 'ne', swap: false },
};

function compare(reading: Reading, operator: string, first: Value, second: Value, place: Place): Value {
  const { builder } = reading;
  const { relation, swap } = comparisons[operator]!;
  const [a, b] = [dataOf(reading, first, place), dataOf(reading, second, place)];
  const types = [typeOf(reading, a), typeOf(reading, b)];
  if ((relation === 'eq' || relation === 'ne') && types[0] === 'boolean' && types[1] === 'boolean') {
    return node(builder.compare(relation, truth(reading, a, place), truth(reading, b, place)));
  }
  if (types.includes('boolean')) {
    // Loosely a boolean equals the number that it becomes.
    const loose = operator === '==' || operator === '!=';
    if (!loose) reading.fail(place, `${operator} with a boolean`, 'two numbers, or two conditions');
    const [x, y] = [asNumber(reading, a, place), asNumber(reading, b, place)] as [Data, Data];
    return node(compareNumbers(reading, relation, x, y, place));
  }
  const [x, y] = swap
    ? [numberOf(reading, b, place), numberOf(reading, a, place)]
    : [numberOf(reading, a, place), numberOf(reading, b, place)];
  return node(compareNumbers(reading, relation, x, y, place));
}

function compareNumbers(reading: Reading, relation: Relation, a: Data, b: Data, place: Place): number {
  const { builder } = reading;
  if (a.kind === 'literal' && b.kind === 'literal') {
    const [x, y] = [a.value, b.value];
    const holds = relation === 'lt' ? x < y : relation === 'le' ? x <= y : (x === y) === (relation === 'eq');
    return builder.nodes.boolean(holds);
  }
  const [typeA, typeB] = [typeOf(reading, a), typeOf(reading, b)];
  if (typeA === 'integer' && typeB === 'integer') {
    return builder.compare(relation, integerOf(reading, a, place), integerOf(reading, b, place));
  }
  if (typeA === 'integer' && b.kind === 'literal') return integerAndReal(reading, relation, a, b.value, false, place);
  if (typeB === 'integer' && a.kind === 'literal') return integerAndReal(reading, relation, b, a.value, true, place);
  return builder.compare(relation, realOf(reading, a, place), realOf(reading, b, place));
}

/** An integer compared with a real number that is written down: the same as with one of its neighbours. */
function integerAndReal(
  reading: Reading,
  relation: Relation,
  integer: Data,
  real: number,
  realFirst: boolean,
  place: Place,
): number {
  const { builder } = reading;
  const { nodes } = builder;
  if (relation === 'eq' || relation === 'ne' || Number.isNaN(real)) return nodes.boolean(relation === 'ne');
  // x < r is x < ceil(r), x <= r is x <= floor(r); r < x is floor(r) < x, r <= x is ceil(r) <= x.
  const bound = (relation === 'lt') === realFirst ? Math.floor(real) : Math.ceil(real);
  if (!isInt32(bound)) return nodes.boolean(bound > 0 !== realFirst);
  return compareNumbers(reading, relation, ...order(integer, literal(bound), realFirst), place);
}

function order(integer: Data, real: Data, realFirst: boolean): [Data, Data] {
  return realFirst ? [real, integer] : [integer, real];
}

/** `-x`, `+x`, `~x` and `!x`; undefined for other operators. */
export function unary(reading: Reading, operator: string, value: Value, place: Place): Value | undefined {
  const { builder } = reading;
  switch (operator) {
    case '!':
      return node(builder.not(truth(reading, value, place)));
    case '+':
      return asNumber(reading, value, place);
    case '-': {
      const number = numberOf(reading, value, place);
      if (number.kind === 'literal') return literal(-number.value);
      if (number.kind === 'quotient') return { ...number, a: builder.apply('neg', 'integer', [number.a]) };
      if (typeOf(reading, number) === 'integer') {
        return node(builder.apply('neg', 'integer', [integerOf(reading, number, place)]));
      }
      return node(builder.apply('neg', 'real', [realOperand(reading, number, place)]));
    }
    case '~': {
      const bits = bitsOf(reading, value, place);
      if (bits.kind === 'literal') return literal(~bits.value);
      return node(builder.apply('bitNot', 'integer', [integerOf(reading, bits, place)]));
    }
    default:
      return undefined;
  }
}

/** `+x` and `Number(x)`: booleans are 0 or 1. */
export function asNumber(reading: Reading, value: Value, place: Place): Value {
  const data = dataOf(reading, value, place);
  if (data.kind === 'node' && reading.builder.nodes.type(data.id) === 'boolean') {
    return zeroOrOne(reading, data.id, place);
  }
  return numberOf(reading, data, place);
}
