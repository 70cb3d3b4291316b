// Random and smooth score programs in cases of the grid: the float32 interpreter of their graph inside the float64
// reference.

import { AttentionError } from '../../lib/index.js';
import { compileProgram } from '../../lib/program/compile.js';
import { attendHead } from './attention.js';
import { actualOf, run } from './call.js';
import { describe, type Case } from './case.js';
import { differences } from './check.js';
import { headsOf } from './expected.js';
import { draw, usual, type Topic } from './grid.js';
import { interpretAll, poison, valuesFor } from './interpreter.js';
import { callWith, fromZero, hideBy, libraryMask, libraryScore, limitsOf, maskFor, pairOf } from './program-case.js';
import { randomProgram, type RandomProgram } from './random-program.js';
import { valuesOf } from './values.js';

/** A case in float32 with enough components for the bound to hold what a program's own roundings add. */
export function caseOf(topic: Topic, seed: number, exact: boolean): Case {
  const drawn = draw(topic, seed, usual);
  const one: Case = {
    ...drawn,
    dimQk: 16 + (drawn.dimQk % 16),
    storage: { query: 'plain', key: 'plain', value: 'plain' },
    dtypes: { query: 'float32', key: 'float32', value: 'float32' },
    outputDtype: null,
    lse: true,
  };
  // Products of small integers and a power of two: the score that the program gets has no error.
  return exact ? { ...one, scores: 'ties', scale: 0.25, softcap: null } : { ...one, scores: 'normal', scale: null };
}

class Unfit extends Error {}

/** What is wrong with a case under programs; null where the programs' values are of no use to compare. */
export function wrongScores(
  drawn: Case,
  make: (one: Case) => RandomProgram,
  seed: number,
  masked: boolean,
): string[] | null {
  const values = valuesOf(drawn);
  const one = fromZero(drawn, values);
  const program = make(one);
  const { graph } = compileProgram('score', program.source, program.kinds, program.grid);
  const parameters = valuesFor(graph, program.parameters);
  const heads = headsOf(one, values);
  const mask = masked ? maskFor(one, values, seed, 2) : undefined;
  if (mask !== undefined) hideBy(one, values, heads, mask);
  try {
    const results = heads.map((list, s) =>
      list.map((head, h) => {
        head.score = (given, row, column) => {
          const pair = pairOf(one, values.sequences[s]!, h, row, column, Math.fround(given));
          const outcomes = interpretAll(graph, pair, parameters);
          const value = outcomes[graph.result]!;
          if (value === poison || Number.isNaN(value) || value === Infinity) throw new Unfit();
          let magnitude = 0;
          outcomes.forEach((outcome, n) => {
            const finite = typeof outcome === 'number' && Number.isFinite(outcome);
            if (finite && graph.nodes[n]!.type === 'real') magnitude = Math.max(magnitude, Math.abs(outcome));
          });
          return { value: value as number, magnitude: 4 * magnitude };
        };
        return attendHead(head);
      }),
    );
    const programs = { score: libraryScore(program), ...(mask === undefined ? {} : { mask: libraryMask(mask) }) };
    const wrong = differences(one, { heads, results, lp: null }, actualOf(one, run(callWith(one, values, programs))));
    return wrong.length === 0 ? [] : [...wrong, program.source, describe(one)];
  } catch (error) {
    if (error instanceof Unfit) return null;
    if (error instanceof AttentionError && error.code === 'ERR_OUT_OF_RANGE' && error.expected?.includes('int32')) {
      return null;
    }
    throw error;
  }
}

/** Steps after functions that are only right to a few units in the last place: either side of a step is right. */
const unstable = (source: string): boolean =>
  /Math\.(exp|log|log2|tanh|sin|cos|pow)/.test(source) && /Math\.(floor|ceil|trunc|sign)/.test(source);

/** A random program that fits a case. */
export function scoreFor(one: Case, from: number, depth: number): RandomProgram {
  const limits = limitsOf(one, valuesOf(one), depth);
  for (let seed = from; ; seed++) {
    const program = randomProgram('score', seed, limits);
    if (!unstable(program.source)) return program;
  }
}

/** Programs that are as smooth as their score. */
export const smooth: [string, Record<string, number>][] = [
  ['(s, i, j) => s - 0.125 * (i - j)', {}],
  ['(s, i, j, { slope }) => s - slope * Math.abs(i - j)', { slope: 0.3 }],
  ['(s) => 2 * Math.tanh(s / 2)', {}],
  ['(s) => s * Math.exp(-Math.abs(s))', {}],
  ['(s, i, j, { h, nkv }) => s * Math.log(1 + nkv) / (1 + h)', {}],
  ['(s, i, j) => (i + j) % 3 === 0 ? s : -Infinity', {}],
  ['(s, i, j, { h }) => Math.min(s, 0.5) + (j % 8 === h ? 1 : 0)', {}],
];

/** One of them as a random program would be. */
export function smoothProgram(n: number): RandomProgram {
  const [source, parameters] = smooth[n % smooth.length]!;
  const kinds = Object.fromEntries(Object.keys(parameters).map((name) => [name, { type: 'real', rank: 0 } as const]));
  return { kind: 'score', source, parameters, kinds, grid: undefined };
}
