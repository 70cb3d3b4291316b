// Parameters that the programs of this folder are given, and a printable form of the graphs.

import { compileProgram } from '../../lib/program/compile.js';
import type { ParameterKind } from '../../lib/program/compile.js';
import type { Graph } from '../../lib/program/graph.js';
import type { TableValue } from '../reference/interpreter.js';
import { programs } from './programs.js';

/** Positions of a sequence that the tables fit. */
export const size = 24;

function table(shape: readonly number[], at: (index: number) => number, real: boolean): TableValue {
  const count = shape.reduce((product, length) => product * length, 1);
  const values = Array.from({ length: count }, (_, index) => at(index));
  return { data: real ? Float32Array.from(values) : Int32Array.from(values), shape };
}

export const parameters: Readonly<Record<string, number | TableValue>> = {
  ids: table([size], (index) => Math.floor(index / 7), false),
  other: table([size], (index) => (index * 5) % 4, false),
  prefix: table([2], (index) => 3 + 4 * index, false),
  window: 5,
  time: table([size], (index) => ((index * 7) % 16) / 8, true),
  limit: 1.5,
  slope: table([4], (index) => 2 ** -index, true),
  bias: table([4, 15], (index) => Math.sin(index), true),
};

export const kinds: Readonly<Record<string, ParameterKind>> = Object.fromEntries(
  Object.entries(parameters).map(([name, value]) => [name, kindOf(value)]),
);

function kindOf(value: number | TableValue): ParameterKind {
  if (typeof value === 'number') return { type: Number.isInteger(value) ? 'integer' : 'real', rank: 0 };
  const { data, shape } = value;
  return { type: data instanceof Int32Array ? 'integer' : 'real', rank: shape.length as 1 | 2 | 3 };
}

/** All of a graph, the sign of zero included. */
export function printed(graph: Graph): string {
  const exact = (_: string, value: unknown): unknown =>
    typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)) ? `${1 / value} ${value}` : value;
  return JSON.stringify(graph, exact);
}

/** The graph of one of the programs, given as a function or a text. */
export function compileNamed(name: string, program: unknown): Graph {
  const { kind, grid } = programs[name]!;
  return compileProgram(kind, program, kinds, grid).graph;
}
