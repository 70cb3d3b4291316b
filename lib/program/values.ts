// What an expression stands for while a program is read: numbers as JavaScript has them until they meet a node, nodes,
// choices whose branches stay apart as long as possible, and the things that are not values at all.

import type { Id } from './nodes.js';

export type Value = Literal | NodeValue | Quotient | Choice | Table | Context | Math | Builtin | Unusable;

/** A number that is written down, in double precision: compilers compute with it as JavaScript does. */
export interface Literal {
  readonly kind: 'literal';
  readonly value: number;
  /** Where it is written, unless it was computed. */
  readonly start?: number;
}

export interface NodeValue {
  readonly kind: 'node';
  readonly id: Id;
  /** Of a position on a declared grid: its axes. */
  readonly axes?: ReadonlyMap<string, Id>;
}

/** `a / b` of integers: a real, or an integer when it is rounded at once. */
export interface Quotient {
  readonly kind: 'quotient';
  readonly a: Id;
  readonly b: Id;
}

/** `condition ? a : b` of data; functions of it are functions of its branches, and booleans too. */
export interface Choice {
  readonly kind: 'choice';
  readonly condition: Id;
  readonly a: Data;
  readonly b: Data;
  readonly leaves: number;
}

export type Data = Literal | NodeValue | Quotient | Choice;

export interface Table {
  readonly kind: 'table';
  readonly name: string;
  readonly type: 'integer' | 'real';
  readonly rank: number;
}

/** The last parameter. */
export interface Context {
  readonly kind: 'context';
}

/** The object `Math`. */
export interface Math {
  readonly kind: 'Math';
}

/** A function of `Math`, `Number` or `Boolean`. */
export interface Builtin {
  readonly kind: 'builtin';
  readonly name: string;
}

/** What is an error as soon as it is used. */
export interface Unusable {
  readonly kind: 'unusable';
  readonly what: string;
}

export function literal(value: number): Literal {
  return { kind: 'literal', value };
}

export function node(id: Id): NodeValue {
  return { kind: 'node', id };
}

export function unusable(what: string): Unusable {
  return { kind: 'unusable', what };
}

export function isData(value: Value): value is Data {
  return value.kind === 'literal' || value.kind === 'node' || value.kind === 'quotient' || value.kind === 'choice';
}

export function leavesOf(value: Data): number {
  return value.kind === 'choice' ? value.leaves : 1;
}

/** For messages. */
export function nameOf(value: Value): string {
  switch (value.kind) {
    case 'table':
      return `the table ${value.name}`;
    case 'context':
      return 'the last parameter as a whole';
    case 'Math':
      return 'Math as a whole';
    case 'builtin':
      return `the function ${value.name}`;
    case 'unusable':
      return value.what;
    case 'quotient':
      return 'a quotient';
    case 'literal':
      return String(value.value);
    default:
      return 'a value';
  }
}
