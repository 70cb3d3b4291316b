// A program's syntax tree to its graph. The language, which this folder reads file by file:
//
//   program     (i, j, context) => …, (s, i, j, context) => …; function (…) {…}; name(…) {…}. A mask's result is a
//               boolean, or an integer that holds unless it is 0; a score's is a number
//   context     { name, other: renamed } or one name, whose properties are read: b h hkv row col nq nkv, the user's
//               numbers (plain) and tables (read by call, one integer index an axis: ids(i), bias(h, i - j))
//   grid        i.x, i.y, i.z, j.x, … of a declared grid: integers; x is the last axis
//   statements  const, let, var, with { … } of the context; assignments, +=, ++; if, else, blocks; return on every path
//   conditions  ! && || ?: < <= > >= == === != !==, of numbers in the place of booleans too (0 and NaN don't hold)
//   integers    + - * % ~ & | ^ << >> >>>, Math.{min,max,abs,sign}; a / b under Math.floor, Math.ceil, Math.trunc, or a
//               bitwise operator, which truncates. Numbers and literals are integers where their value is an int32
//   reals       in masks compared and chosen only, and float32; in scores + - * / **, Math.{min,max,abs,sign,floor,ceil,
//               trunc,fround,exp,log,log2,sqrt,tanh,sin,cos,pow}, where integers that meet reals are rounded to them
//   constants   Math.{E,PI,…}, Infinity, NaN; what is written down is computed in double precision, as JavaScript does,
//               and rounded when it meets something else
//   ignored     directives, comments, __name(…) around the function, counters of coverage tools
//
// All else is ERR_PROGRAM: loops, free names, functions inside, strings, objects, this, defaults, rest and spread.

import type * as Acorn from 'acorn';
import { Builder } from './builder.js';
import { isData, nameOf, node, unusable } from './values.js';
import type { NodeValue, Value } from './values.js';
import { dataOf, numberOf, realOf, truth } from './coerce.js';
import { emit } from './emit.js';
import { evaluate } from './expressions.js';
import type { Names } from './expressions.js';
import type { Graph, ProgramKind } from './graph.js';
import type { Parsed } from './parse.js';
import { problem } from './problem.js';
import { Scope, Values } from './scope.js';
import { bind, namesOf, returned } from './statements.js';

/** What a program's parameter is: a number (rank 0), or a table of one to three axes. */
export interface ParameterKind {
  readonly type: 'integer' | 'real';
  readonly rank: 0 | 1 | 2 | 3;
}

export type ParameterKinds = Readonly<Record<string, ParameterKind>>;

export const contextFields = ['b', 'h', 'hkv', 'row', 'col', 'nq', 'nkv'] as const;

/** Names of a grid's axes, the last one first. */
const axisNames = ['x', 'y', 'z'];

export function lowerProgram(
  kind: ProgramKind,
  source: string,
  { node: tree, offset }: Parsed,
  kinds: ParameterKinds,
  grid: readonly number[] | undefined,
): Graph {
  const builder = new Builder();
  const signature = kind === 'mask' ? 'i, j' : 's, i, j';
  const names: Names = {
    kind,
    builder,
    values: new Values(),
    depth: 0,
    member: (name) => memberOfContext(builder, kinds, name),
    remedy: (name) =>
      `every name from outside to come in through the last parameter: (${signature}, { ${name} }) => …` +
      (name in Math ? `, or Math.${name}` : ''),
    fail: ({ start }, received, remedy) => {
      throw problem(source, start - offset, received, remedy);
    },
  };
  const scope = enter(names, tree, grid);
  const { body } = tree;
  const value = body.type === 'BlockStatement' ? returned(names, scope, body) : evaluate(names, scope, body);
  return emit(builder, kind, resultOf(names, value, body));
}

function resultOf(names: Names, value: Value, body: Acorn.Node): number {
  if (!isData(value)) return names.fail(body, `${nameOf(value)} as the result`, 'a boolean or a number');
  if (names.kind === 'mask') return truth(names, dataOf(names, value, body), body);
  return realOf(names, numberOf(names, value, body), body);
}

/** The function's parameters as names. */
function enter(names: Names, { params, type, ...tree }: Parsed['node'], grid: readonly number[] | undefined): Scope {
  const outer = new Scope();
  // A function's own name hides what is outside.
  const own = type === 'FunctionExpression' && 'id' in tree ? tree.id : undefined;
  if (own) outer.declare(own.name, names.values.add(unusable('the program itself')), true);
  const scope = new Scope(outer);
  if (type === 'FunctionExpression') scope.declare('arguments', names.values.add(unusable('arguments')), true);
  const given = argumentsOf(names, grid);
  for (const [index, pattern] of params.entries()) {
    if (index >= given.length) names.fail(pattern, 'one more parameter', `at most ${given.length}`);
    for (const identifier of namesOf(pattern)) {
      if (scope.has(identifier.name)) names.fail(identifier, 'the same name again', 'names that differ');
      scope.declare(identifier.name, names.values.add(unusable('nothing')), false);
    }
  }
  for (const [index, pattern] of params.entries()) bind(names, scope, pattern, given[index]!);
  return scope;
}

function argumentsOf({ kind, builder }: Names, grid: readonly number[] | undefined): Value[] {
  const position = (op: 'i' | 'j'): NodeValue => {
    const id = builder.apply(op, 'integer', []);
    return grid === undefined ? node(id) : { kind: 'node', id, axes: axesOf(builder, id, grid) };
  };
  const pair: Value[] = [position('i'), position('j'), { kind: 'context' }];
  return kind === 'mask' ? pair : [node(builder.apply('s', 'real', [])), ...pair];
}

/** Coordinates of a position on a grid, whose last axis is the fastest. */
function axesOf(builder: Builder, position: number, grid: readonly number[]): Map<string, number> {
  const constant = (value: number): number => builder.nodes.constant('integer', value);
  const axes = new Map<string, number>();
  let rest = position;
  for (let axis = 0; axis < grid.length; axis += 1) {
    const size = constant(grid.slice(axis + 1).reduce((product, length) => product * length, 1));
    const coordinate = builder.apply('floorDiv', 'integer', [rest, size]);
    axes.set(axisNames[grid.length - 1 - axis]!, coordinate);
    rest = builder.apply('sub', 'integer', [rest, builder.apply('mul', 'integer', [coordinate, size])]);
  }
  return axes;
}

function memberOfContext(builder: Builder, kinds: ParameterKinds, name: string): Value | undefined {
  const field = contextFields.find((other) => other === name);
  if (field !== undefined) return node(builder.apply(field, 'integer', []));
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  if (kind === undefined) return undefined;
  const { type, rank } = kind;
  return rank === 0 ? node(builder.apply('parameter', type, [], 0, name)) : { kind: 'table', name, type, rank };
}
