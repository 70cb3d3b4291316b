// Programs to graphs, kept by what they are made of: the same source for parameters of the same kinds compiles once.

import { AttentionError, describe, invalidType } from '../errors.js';
import type { Graph, ProgramKind } from './graph.js';
import { contextFields, lowerProgram } from './lower.js';
import type { ParameterKind, ParameterKinds } from './lower.js';
import { parseProgram } from './parse.js';
import { wholeProblem } from './problem.js';
import { checkLimits, sourceOf } from './source.js';

export type { ParameterKind } from './lower.js';

export interface Compiled {
  /** Numbers and tables are those that the program uses, by name; values are looked up by it. */
  readonly graph: Graph;
  readonly source: string;
}

/** Operations, and programs, that are kept in all. */
const mostOperations = 100_000;
const mostPrograms = 512;
/** The least recently used come first. */
const kept = new Map<string, Compiled>();
let operations = 0;

/**
 * The graph of a program, which is parsed and never called.
 *
 * @param program A function, or its source.
 * @param kinds The user's parameters. A number that is an integer may be used as a real too, where a mask compares it
 *   with reals: the graph then has it with that type, and its value must be one that float32 holds.
 * @param grid Lengths of one to three axes, the last one fastest: positions then have `x`, `y`, `z`.
 * @throws AttentionError `ERR_PROGRAM`; `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE` of the grid.
 */
export function compileProgram(
  kind: ProgramKind,
  program: unknown,
  kinds: ParameterKinds,
  grid?: readonly number[],
): Compiled {
  const source = sourceOf(program);
  if (grid !== undefined) checkGrid(grid);
  const key = `${kind} ${grid?.join('x') ?? ''} ${keyOf(kinds)}\n${source}`;
  let compiled = kept.get(key);
  if (compiled === undefined) {
    checkLimits(source);
    checkNames(kinds);
    compiled = { graph: lowerProgram(kind, source, parseProgram(source), kinds, grid), source };
    operations += compiled.graph.nodes.length;
    makeRoom();
  } else {
    kept.delete(key);
  }
  kept.set(key, compiled);
  return compiled;
}

function makeRoom(): void {
  for (const [key, { graph }] of kept) {
    if (operations <= mostOperations && kept.size < mostPrograms) return;
    kept.delete(key);
    operations -= graph.nodes.length;
  }
}

function keyOf(kinds: ParameterKinds): string {
  let key = '';
  for (const name of Object.keys(kinds).sort()) {
    const { type, rank } = kinds[name]!;
    key += `${type} ${rank} ${name.length} ${name} `;
  }
  return key;
}

function checkNames(kinds: Readonly<Record<string, ParameterKind>>): void {
  for (const name of contextFields) {
    if (Object.hasOwn(kinds, name)) {
      throw wholeProblem(
        `a parameter named ${name}`,
        `other names than ${contextFields.join(', ')}, which stand for the pair`,
      );
    }
  }
}

function checkGrid(grid: readonly number[]): void {
  if (!Array.isArray(grid)) throw invalidType('grid', 'an array of one to three lengths', grid);
  const positions = grid.reduce((product, length) => product * length, 1);
  const fits = grid.every((length) => Number.isInteger(length) && length > 0) && positions < 2 ** 31;
  if (grid.length < 1 || grid.length > 3 || !fits) {
    const received = `[${grid.map((length) => describe(length)).join(', ')}]`;
    throw new AttentionError('ERR_OUT_OF_RANGE', 'grid', 'one to three positive lengths, below 2^31 in all', received);
  }
}
