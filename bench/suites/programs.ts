import { square, type Case } from '../case.js';
import { randomPrograms } from '../random-programs.js';
import { ALIBI, FOUR_OPERATIONS, ONE_EXP, ONE_TANH } from '../score-program.js';

const ROWS = 1024;

/** Dense attention with a score program, beside the same without: four fixed programs and ten of the seed. */
export const programs = (seed: number): Case[] => [
  ...[ALIBI, FOUR_OPERATIONS, ONE_TANH, ONE_EXP].map((program) =>
    square('programs', ROWS, 64, { label: program.name, program }),
  ),
  ...randomPrograms(seed, 10, ROWS).map((program) =>
    square('programs', ROWS, 64, { label: program.name, program, random: true }),
  ),
];
