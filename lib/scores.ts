// Scores: programs that change a score before the softmax, with their parameters, and their composition.

import { bindProgram, joinPrograms, rebind, sourceToJSON } from './bound-program.js';
import type { BoundProgram, ProgramSource } from './bound-program.js';
import { checkMaker, face, ours } from './class-face.js';
import { replaceInParts } from './combination.js';
import { AttentionError, describe, invalidType, invalidValue } from './errors.js';
import { language } from './language.js';
import type { MaskContext, Position } from './masks.js';
import { readParameters } from './parameters.js';
import type { ProgramParameters } from './parameters.js';
import { readProgramOptions } from './program-options.js';
import type { ProgramOptions } from './program-options.js';
import { isArray, reading, readLength, readList, readProperty } from './snapshot.js';

/** A score as a plain function, parsed and never called. */
export type ScoreFunction<Parameters = {}> = (
  s: number,
  i: Position,
  j: Position,
  context: MaskContext<Parameters>,
) => number;

type Origin =
  | { readonly made: 'program'; readonly source: ProgramSource; readonly label: string | undefined }
  | { readonly made: 'compose'; readonly items: readonly Score[] };

let boundOf: (score: Score) => BoundProgram;
let isScore: (value: unknown) => value is Score;
let make: (bound: BoundProgram, origin: Origin) => Score;

/**
 * A rule that turns the scaled and soft-capped score of a query and a key into another. Made by {@link score}, by
 * {@link alibi} and its like, and by {@link compose}; immutable, and usable in any number of calls.
 */
export class Score {
  readonly #bound: BoundProgram;
  readonly #origin: Origin;

  static {
    isScore = (value): value is Score => typeof value === 'object' && value !== null && #bound in value;
    boundOf = (item) => item.#bound;
    make = (bound, origin) => new Score(ours, bound, origin);
    face(this, 'Score', isScore);
  }

  private constructor(token: symbol, bound: BoundProgram, origin: Origin) {
    checkMaker(token, 'Score', 'score()');
    this.#bound = bound;
    this.#origin = origin;
  }

  /** The program's text; of a composition how it was made. */
  get source(): string {
    const origin = this.#origin;
    if (origin.made === 'program') return origin.source.source;
    return `compose(${origin.items.map((item) => item.source).join(', ')})`;
  }

  /** The same score with some parameters replaced; of a composition, the one part that has such a parameter takes it. */
  with(parameters: ProgramParameters): Score {
    const origin = this.#origin;
    if (origin.made === 'program') {
      const { bound, source } = rebind(this.#bound, origin.source, parameters);
      return make(bound, { made: 'program', source, label: undefined });
    }
    const items = replaceInParts(
      origin.items,
      parameters,
      (item, name) => item.#parameterCount(name),
      (item, changes) => item.with(changes),
    );
    return composition(items);
  }

  /** A plain object that {@link score} takes back. */
  toJSON(): unknown {
    const origin = this.#origin;
    if (origin.made === 'program') return sourceToJSON(origin.source);
    return { kind: 'score', operation: 'compose', items: origin.items.map((item) => item.toJSON()) };
  }

  /** How the score was made, e.g. `temperature(0.7)`. */
  toString(): string {
    const origin = this.#origin;
    if (origin.made === 'program') return origin.label ?? `score(${origin.source.source})`;
    return `compose(${origin.items.map(String).join(', ')})`;
  }

  #parameterCount(name: string): number {
    const origin = this.#origin;
    if (origin.made === 'program') return origin.source.parameters.has(name) ? 1 : 0;
    return origin.items.reduce((sum, item) => sum + item.#parameterCount(name), 0);
  }
}

/**
 * A score from a plain function `(s, i, j, { names }) => number` of the score so far and the positions of query and key,
 * or from the same as a string; see {@link mask}. Numbers are float32, one rounding an operation; positions and integer
 * tables stay integers until they meet a float. A result of −∞ hides the key.
 *
 * @param program A function, its text, or what {@link Score.toJSON} gave.
 * @throws AttentionError as {@link mask} does.
 */
export function score<const Parameters extends ProgramParameters = {}>(
  program: ScoreFunction<Parameters> | string | object,
  parameters?: Parameters,
  options?: ProgramOptions,
): Score {
  if (typeof program === 'object' && program !== null)
    return reading('program', () => scoreFromJSON('program', program));
  const { grid } = readProgramOptions(options);
  const { bound, source } = bindProgram('score', program, readParameters('parameters', parameters, 'score'), grid);
  return make(bound, { made: 'program', source, label: undefined });
}

/** A score of this package's own, which says how it was made. */
export function builtInScore(label: string, program: string, parameters: Readonly<Record<string, unknown>>): Score {
  const { bound, source } = bindProgram('score', program, readParameters(label, parameters, 'score'), undefined);
  return make(bound, { made: 'program', source, label });
}

/** One score after the other: the first sees the score of q and k, the next what the first made of it. */
export function compose(...scores: Score[]): Score {
  if (scores.length === 0) throw new AttentionError('ERR_INVALID_ARG_VALUE', 'compose', 'at least one score', 'none');
  scores.forEach((item: unknown, index) => {
    if (!isScore(item)) throw invalidType(`compose[${index}]`, 'a Score', item);
  });
  return composition(scores);
}

/** The program of the `score` option. */
export function readScore(value: unknown): BoundProgram | null {
  if (value === undefined) return null;
  if (!isScore(value)) throw invalidType('options.score', 'a Score (made by score(), alibi(), ...)', value);
  return boundOf(value);
}

function composition(items: readonly Score[]): Score {
  return make(joinPrograms(items.map(boundOf), language().composeScores), { made: 'compose', items: [...items] });
}

function scoreFromJSON(argument: string, json: object): Score {
  if (readProperty(argument, json, 'kind') !== 'score') {
    throw invalidType(argument, 'a function, its text, or the JSON of a score', json);
  }
  const operation = readProperty(argument, json, 'operation');
  if (operation === undefined) {
    const grid = readProperty(argument, json, 'grid');
    return score(
      readProperty(argument, json, 'source') as string,
      readProperty(argument, json, 'parameters') as ProgramParameters,
      { grid: grid as readonly number[] | undefined },
    );
  }
  const items = readProperty(argument, json, 'items');
  if (operation !== 'compose') throw invalidValue(`${argument}.operation`, "'compose'", describe(operation));
  const list = `${argument}.items`;
  if (!isArray(list, items) || readLength(list, items) === 0) throw invalidType(list, 'an array of scores', items);
  const scores = readList(list, items, (item, name) => {
    if (typeof item !== 'object' || item === null) throw invalidType(name, 'a score', item);
    return scoreFromJSON(name, item);
  });
  return composition(scores);
}
