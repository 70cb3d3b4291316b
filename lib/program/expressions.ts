// Expressions of a program as values.

import type * as Acorn from 'acorn';
import { conditional, dataOf, truth, typeOf } from './coerce.js';
import type { Place, Reading } from './coerce.js';
import { isCounter } from './counters.js';
import { call, mathMembers, memberOfMath } from './functions.js';
import type { Id } from './nodes.js';
import { binary, unary } from './operators.js';
import { notYet } from './scope.js';
import type { Scope, Values } from './scope.js';
import { isData, literal, nameOf, node, unusable } from './values.js';
import type { Data, Value } from './values.js';

/** A program while it is read, with its names. */
export interface Names extends Reading {
  readonly values: Values;
  /** What a name of the last parameter is; undefined if it has no such name. */
  member(name: string): Value | undefined;
  /** What `{ … }` would have to hold for a name to be known, as a remedy. */
  remedy(name: string): string;
  depth: number;
}

const deepest = 400;

type Expression = Acorn.Expression | Acorn.SpreadElement | Acorn.Super | Acorn.PrivateIdentifier;

export function evaluate(names: Names, scope: Scope, expression: Expression): Value {
  names.depth += 1;
  if (names.depth > deepest) names.fail(expression, 'deeper nesting', 'a program that is nested less deeply');
  names.builder.nodes.spend(1);
  const value = evaluateDeeper(names, scope, expression);
  names.depth -= 1;
  return value;
}

function evaluateDeeper(names: Names, scope: Scope, expression: Expression): Value {
  switch (expression.type) {
    case 'Literal':
      return evaluateLiteral(names, expression);
    case 'Identifier':
      return lookUp(names, scope, expression);
    case 'ParenthesizedExpression':
      return evaluate(names, scope, expression.expression);
    case 'UnaryExpression':
      return evaluateUnary(names, scope, expression);
    case 'BinaryExpression':
      return evaluateBinary(names, scope, expression);
    case 'LogicalExpression':
      return evaluateLogical(names, scope, expression);
    case 'ConditionalExpression':
      return evaluateConditional(names, scope, expression);
    case 'SequenceExpression':
      return evaluateSequence(names, scope, expression);
    case 'MemberExpression': {
      const object = evaluate(names, scope, expression.object);
      return memberOf(names, object, propertyName(names, expression), expression);
    }
    case 'CallExpression':
      return evaluateCall(names, scope, expression);
    case 'ChainExpression':
      return names.fail(expression, 'an optional property or call', 'a plain property or call');
    case 'AssignmentExpression':
      return evaluateAssignment(names, scope, expression);
    case 'UpdateExpression':
      return evaluateUpdate(names, scope, expression);
    default:
      return names.fail(expression, describeSyntax(expression.type), 'arithmetic, comparisons and conditions');
  }
}

/** `ArrowFunctionExpression` as `arrow function`. */
export function describeSyntax(type: string): string {
  const words = type.replace(/(?:Expression|Statement)$/u, '').replaceAll(/(?<=[a-z])(?=[A-Z])/gu, ' ');
  return `the syntax “${words.toLowerCase()}”`;
}

function evaluateLiteral(names: Names, expression: Acorn.Literal): Value {
  const { value } = expression;
  if (typeof value === 'number') return { kind: 'literal', value, start: expression.start };
  if (typeof value === 'boolean') return node(names.builder.nodes.boolean(value));
  return names.fail(expression, String(expression.raw).slice(0, 40), 'numbers and booleans only');
}

function lookUp(names: Names, scope: Scope, { name, start }: Acorn.Identifier): Value {
  const binding = scope.find(name);
  if (binding === undefined) return lookUpGlobal(names, name, { start });
  const value = names.values.get(binding.slot);
  if (value === notYet) names.fail({ start }, `${name} before its declaration`, 'names that are declared before use');
  return value;
}

function lookUpGlobal(names: Names, name: string, place: Place): Value {
  switch (name) {
    case 'undefined':
      return unusable('undefined');
    case 'NaN':
      return literal(NaN);
    case 'Infinity':
      return literal(Infinity);
    case 'Math':
      return { kind: 'Math' };
    case 'Number':
    case 'Boolean':
      return { kind: 'builtin', name };
    default:
      return names.fail(place, `the free name ${name}`, names.remedy(name));
  }
}

function evaluateUnary(names: Names, scope: Scope, expression: Acorn.UnaryExpression): Value {
  const value = evaluate(names, scope, expression.argument);
  if (expression.operator === 'void') return unusable('undefined');
  const result = unary(names, expression.operator, value, expression);
  return result ?? names.fail(expression, `the operator ${expression.operator}`, 'one of the operators ! - + ~');
}

/** Chains lean to the left: they are walked, not recursed into. */
function evaluateBinary(names: Names, scope: Scope, expression: Acorn.BinaryExpression): Value {
  const chain: Acorn.BinaryExpression[] = [];
  let first: Expression = expression;
  while (first.type === 'BinaryExpression') {
    chain.push(first);
    first = first.left;
  }
  let value = evaluate(names, scope, first);
  for (const link of chain.reverse()) {
    const right = evaluate(names, scope, link.right);
    const result = binary(names, link.operator, value, right, operatorPlace(link));
    value =
      result ?? names.fail(link, `the operator ${link.operator}`, 'arithmetic, comparisons and bitwise operators');
  }
  return value;
}

/** The operator stands somewhere between its operands; its first operand is where the eye starts. */
function operatorPlace(link: Acorn.BinaryExpression): Place {
  return { start: link.start };
}

/** `a && b && c`, however it is bracketed. */
function evaluateLogical(names: Names, scope: Scope, expression: Acorn.LogicalExpression): Value {
  const { operator } = expression;
  if (operator === '??') names.fail(expression, 'the operator ??', 'condition ? a : b');
  const { builder } = names;
  const joined = (conditions: readonly Id[]): Id =>
    operator === '&&' ? builder.all(conditions) : builder.any(conditions);
  const operands: Data[] = [];
  const expressions = operandsOf(expression, operator);
  for (const [index, operand] of expressions.entries()) {
    const { changes } = names.values;
    operands.push(dataOf(names, evaluate(names, scope, operand), operand));
    if (index > 0 && names.values.changes !== changes) {
      names.fail(operand, 'an assignment within a condition', 'assignments as statements of their own');
    }
  }
  // From the right, as a && (b && c); neighbouring conditions are joined all at once.
  let value = operands.at(-1)!;
  let conditions: Id[] = [];
  for (const [index, operand] of [...operands.entries()].reverse().slice(1)) {
    const place = expressions[index]!;
    if (typeOf(names, operand) === 'boolean' && typeOf(names, value) === 'boolean') {
      if (conditions.length === 0) conditions.push(truth(names, value, place));
      conditions.push(truth(names, operand, place));
      value = operand;
      continue;
    }
    if (conditions.length > 0) value = node(joined(conditions));
    conditions = [];
    value = joinNumbers(names, operator, operand, value, place);
  }
  return conditions.length > 0 ? node(joined(conditions)) : value;
}

/** `a && b` of numbers; of a that is `c && d` itself the same as `c && (d && b)`. */
function joinNumbers(names: Names, operator: '&&' | '||', a: Data, b: Data, place: Place): Data {
  const both = operator === '&&';
  if (a.kind === 'choice' && truth(names, both ? a.b : a.a, place) === a.condition) {
    const inner = joinNumbers(names, operator, both ? a.a : a.b, b, place);
    return conditional(names, a.condition, both ? inner : a.a, both ? a.b : inner, place) as Data;
  }
  const held = truth(names, a, place);
  return conditional(names, held, both ? b : a, both ? a : b, place) as Data;
}

/** Operands of one operator in order, whichever way it nests. */
function operandsOf(expression: Acorn.LogicalExpression, operator: string): Expression[] {
  const operands: Expression[] = [];
  const stack: Expression[] = [expression];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    if (next.type === 'LogicalExpression' && next.operator === operator) stack.push(next.right, next.left);
    else operands.push(next);
  }
  return operands;
}

function evaluateConditional(names: Names, scope: Scope, expression: Acorn.ConditionalExpression): Value {
  const condition = truth(names, evaluate(names, scope, expression.test), expression.test);
  let a: Value | undefined;
  let b: Value | undefined;
  fork(
    names,
    condition,
    expression,
    () => (a = evaluate(names, scope, expression.consequent)),
    () => (b = evaluate(names, scope, expression.alternate)),
  );
  return conditional(names, condition, a!, b!, expression);
}

/** Runs both branches from the same values, and merges what they assign. */
export function fork(names: Names, condition: Id, place: Place, then: () => void, otherwise: () => void): void {
  const { values } = names;
  const kept = values.keep();
  const { changes } = values;
  then();
  const changed = values.changes !== changes;
  const first = values.keep();
  if (changed) values.putBack(kept);
  const middle = values.changes;
  otherwise();
  if (!changed && values.changes === middle) return;
  const second = values.keep();
  values.merge(first, second, kept.length, (a, b) => conditional(names, condition, a, b, place));
}

/** Runs an expression for what it assigns: minifiers write `if (c) x = 1` as `c && (x = 1)`. */
export function runExpression(names: Names, scope: Scope, expression: Expression): void {
  const then = (branch: Expression) => () => runExpression(names, scope, branch);
  if (expression.type === 'SequenceExpression') {
    for (const part of expression.expressions) runExpression(names, scope, part);
  } else if (expression.type === 'ConditionalExpression') {
    const { test, consequent, alternate } = expression;
    const condition = truth(names, evaluate(names, scope, test), test);
    fork(names, condition, expression, then(consequent), then(alternate));
  } else if (expression.type === 'LogicalExpression' && expression.operator !== '??') {
    const { left, right, operator } = expression;
    const condition = truth(names, evaluate(names, scope, left), left);
    const nothing = (): void => undefined;
    if (operator === '&&') fork(names, condition, expression, then(right), nothing);
    else fork(names, condition, expression, nothing, then(right));
  } else {
    evaluate(names, scope, expression);
  }
}

function evaluateSequence(names: Names, scope: Scope, { expressions }: Acorn.SequenceExpression): Value {
  for (const expression of expressions.slice(0, -1)) runExpression(names, scope, expression);
  return evaluate(names, scope, expressions.at(-1)!);
}

function evaluateCall(names: Names, scope: Scope, expression: Acorn.CallExpression): Value {
  const target = evaluate(names, scope, expression.callee);
  const args = expression.arguments.map((argument) => evaluate(names, scope, argument));
  return call(names, target, args, expression);
}

/** `x.name`, or `x['name']`. */
function propertyName(names: Names, expression: Acorn.MemberExpression): string {
  const { property, computed } = expression;
  if (!computed && property.type === 'Identifier') return property.name;
  if (computed && property.type === 'Literal' && typeof property.value === 'string') return property.value;
  return names.fail(property, 'a computed property', 'a name; tables are read by call, as in ids(i)');
}

/** A property of the last parameter, of Math, or of a position on a grid. */
export function memberOf(names: Names, object: Value, name: string, place: Place): Value {
  if (object.kind === 'context') {
    return names.member(name) ?? names.fail(place, `the unknown name ${name}`, names.remedy(name));
  }
  if (object.kind === 'Math') return memberOfMath(name) ?? names.fail(place, `Math.${name}`, mathMembers);
  if (object.kind === 'node' && object.axes !== undefined) {
    const axis = object.axes.get(name);
    if (axis !== undefined) return node(axis);
    return names.fail(place, `the unknown axis ${name}`, `one of ${[...object.axes.keys()].join(', ')}`);
  }
  if (isData(object)) names.fail(place, `the property ${name} of a number`, 'a number; i.x needs a declared grid');
  if (object.kind === 'table') names.fail(place, `the property ${name} of ${nameOf(object)}`, 'a call, as in ids(i)');
  return names.fail(place, `the property ${name} of ${nameOf(object)}`, 'names of the last parameter, and of Math');
}

function evaluateAssignment(names: Names, scope: Scope, expression: Acorn.AssignmentExpression): Value {
  const { left, operator } = expression;
  if (left.type !== 'Identifier') return names.fail(left, 'an assignment to this', 'assignments to variables');
  if (operator === '=') return assign(names, scope, left, evaluate(names, scope, expression.right));
  const before = lookUp(names, scope, left);
  const right = evaluate(names, scope, expression.right);
  const value = binary(names, operator.slice(0, -1), before, right, expression);
  return assign(names, scope, left, value ?? names.fail(expression, `the operator ${operator}`, 'x = …'));
}

function evaluateUpdate(names: Names, scope: Scope, expression: Acorn.UpdateExpression): Value {
  const { argument, operator, prefix } = expression;
  if (isCounter(expression, (name) => scope.find(name) !== undefined)) return unusable('a counter');
  if (argument.type !== 'Identifier') return names.fail(expression, 'a change of this', 'changes of variables');
  const before = lookUp(names, scope, argument);
  const after = binary(names, operator === '++' ? '+' : '-', before, literal(1), expression)!;
  assign(names, scope, argument, after);
  return prefix ? after : before;
}

export function assign(names: Names, scope: Scope, { name, start }: Acorn.Identifier, value: Value): Value {
  const binding = scope.find(name);
  if (binding === undefined) return names.fail({ start }, `an assignment to the free name ${name}`, names.remedy(name));
  if (binding.constant) names.fail({ start }, `an assignment to the constant ${name}`, 'a variable declared by let');
  if (names.values.get(binding.slot) === notYet) {
    names.fail({ start }, `${name} before its declaration`, 'names that are declared before use');
  }
  names.values.set(binding.slot, value);
  return value;
}
