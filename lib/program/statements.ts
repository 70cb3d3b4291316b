// Statements of a program: what it returns, path by path. Nothing loops, so every path is walked once.

import type * as Acorn from 'acorn';
import { conditional, truth } from './coerce.js';
import { describeSyntax, evaluate, fork, memberOf, runExpression } from './expressions.js';
import type { Names } from './expressions.js';
import type { Id } from './nodes.js';
import { Scope, notYet, unassigned } from './scope.js';
import { isData, nameOf } from './values.js';
import type { Value } from './values.js';

/** Statements that are still to be run. */
interface Rest {
  readonly statement: Acorn.Statement;
  readonly scope: Scope;
  readonly next: Rest | undefined;
}

/** What a function's body returns; every path has to return something. */
export function returned(names: Names, scope: Scope, body: Acorn.BlockStatement): Value {
  declareVariables(names, scope, body);
  declareBlock(names, scope, body.body);
  const value = run(names, before(body.body, scope, undefined));
  const remedy = 'a return on every path';
  return value ?? names.fail({ start: body.end - 1 }, 'a path that returns nothing', remedy);
}

function before(statements: readonly Acorn.Statement[], scope: Scope, rest: Rest | undefined): Rest | undefined {
  return statements.reduceRight<Rest | undefined>((next, statement) => ({ statement, scope, next }), rest);
}

/** Runs statements to the first return; undefined if there is none. */
function run(names: Names, first: Rest | undefined): Value | undefined {
  names.depth += 1;
  if (names.depth > 400) names.fail(first!.statement, 'deeper nesting', 'a program that is nested less deeply');
  const exits: { condition: Id; value: Value; at: Acorn.Statement }[] = [];
  let value: Value | undefined;
  let rest = first;
  while (rest !== undefined && value === undefined) {
    const { statement, scope, next }: Rest = rest;
    rest = next;
    names.builder.nodes.spend(1);
    switch (statement.type) {
      case 'ReturnStatement':
        if (!statement.argument) names.fail(statement, 'a return of nothing', 'a value');
        value = evaluate(names, scope, statement.argument);
        if (!isData(value)) {
          names.fail(statement.argument, `${nameOf(value)} as the result`, 'a boolean or a number');
        }
        break;
      case 'BlockStatement': {
        const inner = new Scope(scope);
        declareBlock(names, inner, statement.body);
        rest = before(statement.body, inner, next);
        break;
      }
      case 'IfStatement': {
        const condition = truth(names, evaluate(names, scope, statement.test), statement.test);
        const [then, otherwise] = [statement.consequent, statement.alternate ?? undefined];
        const taken = (branch: Acorn.Statement | undefined): Rest | undefined =>
          branch === undefined ? next : { statement: branch, scope, next };
        if (condition === names.builder.nodes.true || condition === names.builder.nodes.false) {
          rest = taken(condition === names.builder.nodes.true ? then : otherwise);
        } else if (!returnsOf(statement).some) {
          const only = (branch: Acorn.Statement | undefined) => () => {
            if (branch !== undefined) run(names, { statement: branch, scope, next: undefined });
          };
          fork(names, condition, statement, only(then), only(otherwise));
        } else if (returnsOf(then).every) {
          exits.push({ condition, value: aside(names, taken(then))!, at: statement });
          rest = taken(otherwise);
        } else if (otherwise !== undefined && returnsOf(otherwise).every) {
          const opposite = names.builder.not(condition);
          exits.push({ condition: opposite, value: aside(names, taken(otherwise))!, at: statement });
          rest = taken(then);
        } else {
          const [a, b] = [aside(names, taken(then)), aside(names, taken(otherwise))];
          if (a === undefined || b === undefined) return undefined;
          value = conditional(names, condition, a, b, statement);
        }
        break;
      }
      default:
        runSimple(names, scope, statement);
    }
  }
  names.depth -= 1;
  if (value === undefined) return undefined;
  return exits.reduceRight((so, { condition, value: exit, at }) => conditional(names, condition, exit, so, at), value);
}

/** Runs one of several paths, and leaves the values as they were. */
function aside(names: Names, rest: Rest | undefined): Value | undefined {
  const kept = names.values.keep();
  const value = run(names, rest);
  names.values.putBack(kept);
  return value;
}

function runSimple(names: Names, scope: Scope, statement: Acorn.Statement): void {
  switch (statement.type) {
    case 'EmptyStatement':
      return;
    case 'ExpressionStatement': {
      const { expression } = statement;
      if ('directive' in statement && typeof statement.directive === 'string') return;
      runExpression(names, scope, expression);
      return;
    }
    case 'VariableDeclaration':
      for (const { id, init } of statement.declarations) {
        if (init) bind(names, scope, id, evaluate(names, scope, init));
        else if (statement.kind !== 'var') bind(names, scope, id, unassigned);
      }
      return;
    default:
      names.fail(statement, describeSyntax(statement.type), 'const, let, if and return');
  }
}

/** Gives the names of a declaration or a parameter their values; they are declared already. */
export function bind(names: Names, scope: Scope, pattern: Acorn.Pattern, value: Value): void {
  if (pattern.type === 'Identifier') {
    names.values.set(scope.find(pattern.name)!.slot, value);
    return;
  }
  if (pattern.type !== 'ObjectPattern') {
    names.fail(pattern, describeSyntax(pattern.type), 'plain names, or { name, … } without defaults');
  }
  for (const property of pattern.properties) {
    if (property.type !== 'Property') {
      names.fail(property, describeSyntax(property.type), 'every name on its own');
    }
    const { key } = property;
    const name = !property.computed && key.type === 'Identifier' ? key.name : stringOf(key);
    if (name === undefined) names.fail(key, 'a computed name', 'a plain name');
    if (property.value.type === 'AssignmentPattern') {
      names.fail(property.value, 'a default value', `${name} without a default: give the value with the program`);
    }
    bind(names, scope, property.value, memberOf(names, value, name, key));
  }
}

function stringOf(key: Acorn.Expression | Acorn.PrivateIdentifier): string | undefined {
  return key.type === 'Literal' && typeof key.value === 'string' ? key.value : undefined;
}

/** The names that a pattern declares. */
export function namesOf(pattern: Acorn.Pattern): Acorn.Identifier[] {
  switch (pattern.type) {
    case 'Identifier':
      return [pattern];
    case 'ObjectPattern':
      return pattern.properties.flatMap((property) =>
        property.type === 'Property' ? namesOf(property.value) : namesOf(property.argument),
      );
    case 'AssignmentPattern':
      return namesOf(pattern.left);
    default:
      return [];
  }
}

/** Declares what `let` and `const` of one block do; it exists from the block's start. */
function declareBlock(names: Names, scope: Scope, statements: readonly Acorn.Statement[]): void {
  for (const statement of statements) {
    if (statement.type !== 'VariableDeclaration' || statement.kind === 'var') continue;
    for (const { id } of statement.declarations) {
      for (const { name } of namesOf(id)) scope.declare(name, names.values.add(notYet), statement.kind === 'const');
    }
  }
}

/** Declares every `var` of the function, wherever it stands, and refuses functions within the function. */
function declareVariables(names: Names, scope: Scope, body: Acorn.BlockStatement): void {
  const stack: unknown[] = [body];
  while (stack.length > 0) {
    const found = stack.pop();
    if (Array.isArray(found)) stack.push(...found);
    if (typeof found !== 'object' || found === null || !('type' in found) || found instanceof RegExp) continue;
    const inner = found as Acorn.AnyNode;
    if (/^(?:Function|Class|ArrowFunction)/u.test(inner.type)) {
      names.fail(inner, describeSyntax(inner.type), 'one function without others inside');
    }
    if (inner.type === 'VariableDeclaration' && inner.kind === 'var') {
      for (const { name } of inner.declarations.flatMap(({ id }) => namesOf(id))) {
        if (!scope.has(name)) scope.declare(name, names.values.add(unassigned), false);
      }
    }
    stack.push(...Object.values(inner));
  }
}

/** Whether some path through a statement returns, and whether all do. */
interface Returns {
  readonly some: boolean;
  readonly every: boolean;
}

const known = new WeakMap<Acorn.Statement, Returns>();

function returnsOf(statement: Acorn.Statement): Returns {
  let returns = known.get(statement);
  if (returns === undefined) known.set(statement, (returns = findReturns(statement)));
  return returns;
}

function findReturns(statement: Acorn.Statement): Returns {
  switch (statement.type) {
    case 'ReturnStatement':
      return { some: true, every: true };
    case 'BlockStatement': {
      const inner = statement.body.map(returnsOf);
      return { some: inner.some(({ some }) => some), every: inner.some(({ every }) => every) };
    }
    case 'IfStatement': {
      const then = returnsOf(statement.consequent);
      const otherwise = statement.alternate ? returnsOf(statement.alternate) : { some: false, every: false };
      return { some: then.some || otherwise.some, every: then.every && otherwise.every };
    }
    default:
      return { some: false, every: false };
  }
}
