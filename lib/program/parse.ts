// The one function in a program's text, as a syntax tree. The parser is loaded when the first program is compiled.

import type * as Acorn from 'acorn';
import { problem, wholeProblem } from './problem.js';

export type FunctionNode = Acorn.FunctionExpression | Acorn.ArrowFunctionExpression;

/** A function's tree; `offset` is what has to be taken from its positions to have those of the source. */
export interface Parsed {
  readonly node: FunctionNode;
  readonly offset: number;
}

const functionExpected = 'one function, such as (i, j, { window }) => i - j <= window';

let parser: typeof Acorn | undefined;

/**
 * Parses a program: an arrow function, a `function`, or a method, as `Function.prototype.toString` gives them.
 *
 * @throws AttentionError `ERR_PROGRAM`.
 */
export function parseProgram(source: string): Parsed {
  parser ??= require('acorn') as typeof Acorn;
  const asExpression = parseWrapped(parser, source, '(', '\n)');
  if (asExpression.body !== undefined) {
    const node = unwrapNamed(asExpression.body);
    if (node.type === 'ArrowFunctionExpression' || node.type === 'FunctionExpression') {
      return { node: plainFunction(source, node, 1), offset: 1 };
    }
    throw problem(source, node.start - 1, 'no function', functionExpected);
  }
  const asMethod = parseWrapped(parser, source, '({', '\n})');
  if (asMethod.body === undefined) {
    const { reason, offset } = asExpression.at >= asMethod.at ? asExpression : asMethod;
    throw problem(source, offset, reason, 'JavaScript without syntax errors');
  }
  const method = asMethod.body.type === 'ObjectExpression' ? asMethod.body.properties : [];
  const [property] = method;
  if (method.length !== 1 || property?.type !== 'Property' || !property.method) {
    const accessor = property?.type === 'Property' && property.kind !== 'init';
    throw problem(source, 0, accessor ? 'a getter or setter' : 'no function', functionExpected);
  }
  return { node: plainFunction(source, property.value as Acorn.FunctionExpression, 2), offset: 2 };
}

interface Attempt {
  readonly body?: Acorn.Expression;
  readonly at: number;
  readonly reason: string;
  readonly offset: number;
}

/** What stands between two brackets, if it is one expression and nothing more. */
function parseWrapped(acorn: typeof Acorn, source: string, before: string, after: string): Attempt {
  const shift = before.length;
  try {
    const { body } = acorn.parse(before + source + after, { ecmaVersion: 2022, sourceType: 'script' });
    const [statement] = body;
    if (body.length === 1 && statement?.type === 'ExpressionStatement') {
      return { body: statement.expression, at: 0, reason: '', offset: 0 };
    }
    const second = Math.max(0, (body[1]?.start ?? shift) - shift);
    return { at: second, reason: 'more than one function', offset: second };
  } catch (error) {
    if (error instanceof RangeError) throw wholeProblem('deeper nesting', 'a program that is nested less deeply');
    const { pos, message } = error as Error & { pos?: number };
    const at = Math.max(0, (pos ?? 0) - shift);
    const reason = message.replace(/ \(\d+:\d+\)$/u, '');
    return { at, reason: reason.charAt(0).toLowerCase() + reason.slice(1), offset: at };
  }
}

/** `__name(function, 'name')`, which bundlers put around functions to keep their names, is the function. */
function unwrapNamed(node: Acorn.Expression): Acorn.Expression {
  if (node.type !== 'CallExpression' || node.callee.type !== 'Identifier' || node.callee.name !== '__name') return node;
  const [wrapped, name] = node.arguments;
  if (node.arguments.length !== 2 || name?.type !== 'Literal' || typeof name.value !== 'string') return node;
  return wrapped !== undefined && wrapped.type !== 'SpreadElement' ? wrapped : node;
}

function plainFunction(source: string, node: FunctionNode, offset: number): FunctionNode {
  if (node.async) throw problem(source, node.start - offset, 'an async function', functionExpected);
  if (node.generator) throw problem(source, node.start - offset, 'a generator', functionExpected);
  return node;
}
