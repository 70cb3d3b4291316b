// Values as what an operation needs: booleans, integers, reals.

import { isInt32 } from './arithmetic.js';
import type { Builder } from './builder.js';
import type { ProgramKind, ValueType } from './graph.js';
import type { Id } from './nodes.js';
import { isData, leavesOf, literal, nameOf, node, unusable } from './values.js';
import type { Data, Value } from './values.js';

/** Where an error points. */
export interface Place {
  readonly start: number;
}

/** One program while it is read. */
export interface Reading {
  readonly kind: ProgramKind;
  readonly builder: Builder;
  /** Throws ERR_PROGRAM. */
  fail(place: Place, received: string, remedy: string): never;
}

/** Branches that one choice may have in all. */
const mostLeaves = 512;

const wholeNumbers = 'integers and booleans: masks may only compare real numbers';

export function dataOf(reading: Reading, value: Value, place: Place): Data {
  if (isData(value)) return value;
  return reading.fail(place, nameOf(value), 'a number or a boolean');
}

/** `condition ? a : b`. What is neither a number nor a boolean fails when it is used. */
export function conditional(reading: Reading, condition: Id, a: Value, b: Value, place: Place): Value {
  const { builder } = reading;
  if (a === b || condition === builder.nodes.true) return a;
  if (condition === builder.nodes.false) return b;
  if (!isData(a) || !isData(b)) {
    const [other] = [a, b].filter((value) => !isData(value)) as [Value];
    return unusable(other.kind === 'unusable' ? other.what : `${nameOf(other)} in a condition`);
  }
  if (isBoolean(reading, a) && isBoolean(reading, b)) {
    return node(builder.select(condition, truth(reading, a, place), truth(reading, b, place)));
  }
  const leaves = leavesOf(a) + leavesOf(b);
  if (leaves > mostLeaves) reading.fail(place, 'more alternatives', `at most ${mostLeaves} in one choice`);
  return { kind: 'choice', condition, a, b, leaves };
}

/** The same function of every branch; `make` is given data that are no choices. */
export function mapLeaves(
  reading: Reading,
  args: readonly Data[],
  place: Place,
  make: (args: readonly Exclude<Data, { kind: 'choice' }>[]) => Value,
): Value {
  const at = args.findIndex(({ kind }) => kind === 'choice');
  const choice = args[at];
  if (choice?.kind !== 'choice') return make(args as Exclude<Data, { kind: 'choice' }>[]);
  reading.builder.nodes.spend(1);
  const replaced = (by: Data): Data[] => args.map((argument, index) => (index === at ? by : argument));
  const a = mapLeaves(reading, replaced(choice.a), place, make);
  const b = mapLeaves(reading, replaced(choice.b), place, make);
  return conditional(reading, choice.condition, a, b, place);
}

/** Whether a value is a boolean, an integer, or a real; undefined if its branches differ in that. */
export function typeOf(reading: Reading, value: Data): ValueType | undefined {
  switch (value.kind) {
    case 'literal':
      return isInt32(value.value) ? 'integer' : 'real';
    case 'node':
      return reading.builder.nodes.type(value.id);
    case 'quotient':
      return 'real';
    case 'choice': {
      const [a, b] = [typeOf(reading, value.a), typeOf(reading, value.b)];
      if (a === b) return a;
      return a === undefined || b === undefined || a === 'boolean' || b === 'boolean' ? undefined : 'real';
    }
  }
}

function isBoolean(reading: Reading, value: Data): boolean {
  return value.kind === 'node' && reading.builder.nodes.type(value.id) === 'boolean';
}

/** A value as a condition: numbers hold unless they are 0 or NaN. */
export function truth(reading: Reading, value: Value, place: Place): Id {
  const { builder } = reading;
  const { nodes } = builder;
  const data = dataOf(reading, value, place);
  switch (data.kind) {
    case 'literal':
      return nodes.boolean(Boolean(data.value));
    case 'choice':
      return builder.select(data.condition, truth(reading, data.a, place), truth(reading, data.b, place));
    case 'quotient':
      return truth(reading, node(realOf(reading, data, place)), place);
    case 'node': {
      const type = nodes.type(data.id);
      if (type === 'boolean') return data.id;
      const zero = nodes.constant(type, 0);
      if (type === 'integer') return builder.compare('ne', data.id, zero);
      return builder.any([builder.compare('lt', data.id, zero), builder.compare('lt', zero, data.id)]);
    }
  }
}

/** A number, where booleans are an error. */
export function numberOf(reading: Reading, value: Value, place: Place): Data {
  const data = dataOf(reading, value, place);
  const type = typeOf(reading, data);
  if (type === 'boolean') reading.fail(place, 'a boolean', 'a number; a boolean becomes one by condition ? 1 : 0');
  if (type === undefined) reading.fail(place, 'a boolean on some paths', 'a number on all of them');
  return data;
}

/** The integer node of a number that is one. */
export function integerOf(reading: Reading, value: Data, place: Place): Id {
  const { builder } = reading;
  switch (value.kind) {
    case 'literal':
      return builder.nodes.constant('integer', value.value);
    case 'node':
      return value.id;
    case 'choice': {
      const [a, b] = [integerOf(reading, value.a, place), integerOf(reading, value.b, place)];
      return builder.select(value.condition, a, b);
    }
    case 'quotient':
      return reading.fail(place, 'a quotient', 'an integer, such as Math.floor(a / b)');
  }
}

/** A number as a real node; masks know only those that need no rounding. */
export function realOf(reading: Reading, value: Data, place: Place): Id {
  const { builder, kind } = reading;
  const { nodes } = builder;
  switch (value.kind) {
    case 'literal':
      if (kind === 'mask' && !isFloat32(value.value)) {
        const { start = place.start } = value;
        reading.fail({ start }, `${value.value}`, `a float32 number, such as Math.fround(${value.value})`);
      }
      return nodes.constant('real', value.value);
    case 'quotient':
      if (kind === 'mask')
        reading.fail(place, 'a quotient', 'Math.floor(a / b), Math.ceil(a / b) or Math.trunc(a / b)');
      return builder.apply('div', 'real', [toReal(reading, value.a, place), toReal(reading, value.b, place)]);
    case 'node':
      return nodes.type(value.id) === 'real' ? value.id : toReal(reading, value.id, place);
    case 'choice': {
      if (typeOf(reading, value) === 'integer') {
        return toReal(reading, integerOf(reading, value, place), place);
      }
      return builder.select(value.condition, realOf(reading, value.a, place), realOf(reading, value.b, place));
    }
  }
}

function toReal(reading: Reading, id: Id, place: Place): Id {
  const { builder, kind } = reading;
  const { nodes } = builder;
  const { op, args, value, label } = nodes.at(id);
  if (op === 'constant' && (kind === 'score' || isFloat32(value))) return nodes.constant('real', value);
  if (kind === 'score') return builder.apply('toReal', 'real', [id]);
  // The number was given to be compared with reals; that it happens to be whole changes nothing.
  if (op === 'parameter') return nodes.intern('parameter', 'real', [], value, label);
  if (op === 'select') {
    return builder.select(args[0]!, toReal(reading, args[1]!, place), toReal(reading, args[2]!, place));
  }
  return reading.fail(place, 'an integer compared with a real', 'two integers, or two reals such as numbers or tables');
}

export function isFloat32(value: number): boolean {
  return Object.is(Math.fround(value), value);
}

/** An operand of real arithmetic, which masks don't have. */
export function realOperand(reading: Reading, value: Data, place: Place): Id {
  if (reading.kind === 'mask') reading.fail(place, 'real arithmetic', wholeNumbers);
  return realOf(reading, value, place);
}

/** An operand of bitwise operators, by JavaScript's conversion to int32. */
export function bitsOf(reading: Reading, value: Value, place: Place): Data {
  const { builder } = reading;
  return mapLeaves(reading, [dataOf(reading, value, place)], place, ([leaf]) => {
    if (leaf!.kind === 'literal') return literal(leaf!.value | 0);
    if (leaf!.kind === 'quotient') return node(builder.apply('truncDiv', 'integer', [leaf!.a, leaf!.b]));
    const type = builder.nodes.type(leaf!.id);
    if (type === 'boolean') return zeroOrOne(reading, leaf!.id, place);
    if (type === 'real') reading.fail(place, 'a real number', 'integers for bitwise operators and shifts');
    return leaf!;
  }) as Data;
}

/** A boolean as a number. */
export function zeroOrOne(reading: Reading, condition: Id, place: Place): Value {
  return conditional(reading, condition, literal(1), literal(0), place);
}
