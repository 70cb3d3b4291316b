// What a program may call: its tables, functions of Math, Number and Boolean.

import type { Op } from './graph.js';
import { asNumber } from './operators.js';
import { dataOf, integerOf, mapLeaves, numberOf, realOf, realOperand, truth, typeOf } from './coerce.js';
import type { Place, Reading } from './coerce.js';
import { literal, nameOf, node } from './values.js';
import type { Data, Quotient, Table, Value } from './values.js';

const constants = ['E', 'LN2', 'LN10', 'LOG2E', 'LOG10E', 'PI', 'SQRT1_2', 'SQRT2'] as const;
const roundings = { floor: 'floorDiv', ceil: 'ceilDiv', trunc: 'truncDiv' } as const;
const realFunctions = ['exp', 'log', 'log2', 'sqrt', 'tanh', 'sin', 'cos'] as const;
const known = [...Object.keys(roundings), ...realFunctions, 'abs', 'sign', 'min', 'max', 'pow', 'fround'];

/** A property of `Math`; undefined if the language does not know it. */
export function memberOfMath(name: string): Value | undefined {
  if (known.includes(name)) return { kind: 'builtin', name };
  const constant = constants.find((other) => other === name);
  return constant === undefined ? undefined : literal(Math[constant]);
}

export const mathMembers = `one of Math.{${known.join(', ')}}`;

export function call(reading: Reading, callee: Value, args: readonly Value[], place: Place): Value {
  if (callee.kind === 'table') return read(reading, callee, args, place);
  if (callee.kind !== 'builtin') {
    return reading.fail(place, `a call of ${nameOf(callee)}`, 'calls of tables and of functions of Math');
  }
  const { name } = callee;
  const data = args.map((argument) => dataOf(reading, argument, place));
  const wanted = name === 'pow' ? 2 : 1;
  if (name === 'min' || name === 'max') {
    if (data.length === 0) reading.fail(place, `Math.${name} of nothing`, 'one number or more');
  } else if (data.length !== wanted) {
    reading.fail(place, `${data.length} arguments of ${name}`, `${wanted}`);
  }
  if (name === 'Boolean') return node(truth(reading, data[0]!, place));
  if (name === 'Number') return asNumber(reading, data[0]!, place);
  const numbers = data.map((argument) => numberOf(reading, argument, place));
  return mapLeaves(reading, numbers, place, (leaves) => callMath(reading, name, leaves, place));
}

/** An element of a table, one integer index an axis. */
function read(reading: Reading, table: Table, args: readonly Value[], place: Place): Value {
  const { name, type, rank } = table;
  if (args.length !== rank) {
    const indices = rank === 1 ? 'one index' : `${rank} indices`;
    reading.fail(place, `${args.length} indices of ${name}`, `${indices}: the table has ${rank} axes`);
  }
  const indices = args.map((argument) => numberOf(reading, argument, place));
  return mapLeaves(reading, indices, place, (leaves) => {
    for (const leaf of leaves) {
      if (typeOf(reading, leaf) === 'integer') continue;
      const remedy = 'an integer: indices are made of integers only, rounded as Math.floor(a / b) where needed';
      reading.fail(place, `a real index of ${name}`, remedy);
    }
    const operands = leaves.map((leaf) => integerOf(reading, leaf, place));
    return node(reading.builder.apply('table', type, operands, 0, name));
  });
}

type Leaf = Exclude<Data, { kind: 'choice' }>;

function callMath(reading: Reading, name: string, args: readonly Leaf[], place: Place): Value {
  const { builder } = reading;
  const [first] = args as [Leaf];
  if (args.every((argument) => argument.kind === 'literal')) {
    return literal(
      foldMath(
        name,
        args.map((argument) => argument.value),
      ),
    );
  }
  const integers = args.every((argument) => typeOf(reading, argument) === 'integer');
  switch (name) {
    case 'floor':
    case 'ceil':
    case 'trunc':
      if (first.kind === 'quotient') return divide(reading, roundings[name], first);
      return integers ? first : node(builder.apply(name, 'real', [realOperand(reading, first, place)]));
    case 'fround':
      // Reals are float32 already.
      return node(integers ? realOperand(reading, first, place) : realOf(reading, first, place));
    case 'min':
    case 'max':
      return args.slice(1).reduce<Value>((so, next) => extreme(reading, name, so as Leaf, next, place), first);
    case 'abs':
    case 'sign':
      if (integers) return node(builder.apply(name, 'integer', [integerOf(reading, first, place)]));
      return node(builder.apply(name, 'real', [realOperand(reading, first, place)]));
    default: {
      const operands = args.map((argument) => realOperand(reading, argument, place));
      return node(builder.apply(name as Op, 'real', operands));
    }
  }
}

function foldMath(name: string, values: readonly number[]): number {
  return (Math[name as 'max'] as (...args: readonly number[]) => number)(...values);
}

function divide(reading: Reading, op: 'floorDiv' | 'ceilDiv' | 'truncDiv', { a, b }: Quotient): Value {
  return node(reading.builder.apply(op, 'integer', [a, b]));
}

function extreme(reading: Reading, name: 'min' | 'max', a: Leaf, b: Leaf, place: Place): Value {
  if (a.kind === 'literal' && b.kind === 'literal') return literal(Math[name](a.value, b.value));
  const integers = typeOf(reading, a) === 'integer' && typeOf(reading, b) === 'integer';
  const [x, y] = [a, b].map((value) =>
    integers ? integerOf(reading, value, place) : realOperand(reading, value, place),
  ) as [number, number];
  return node(reading.builder.apply(name, integers ? 'integer' : 'real', [x, y]));
}
