// A score program as the benchmark needs it: what our library parses, and the same in plain numbers for the check.

export interface ScoreProgram {
  name: string;
  /** Text of the program; 'alibi' stands for the built-in of that name over 8 heads. */
  source: string;
  parameters: Readonly<Record<string, number | readonly number[]>>;
  /** The score of head `h` and positions i and j, in float64. */
  apply(s: number, i: number, j: number, h: number): number;
}

/** What ALiBi gives head h of 8: 2^-(h + 1). */
const alibiSlope = (h: number): number => 2 ** -(h + 1);

export const ALIBI: ScoreProgram = {
  name: 'ALiBi',
  source: 'alibi',
  parameters: {},
  apply: (s, i, j, h) => s - alibiSlope(h) * Math.abs(i - j),
};

export const FOUR_OPERATIONS: ScoreProgram = {
  name: 'four operations',
  source: '(s, i, j, { a, c }) => (s * a + c > 0 ? s * a + c : s)',
  parameters: { a: 0.75, c: 0.125 },
  apply: (s) => (s * 0.75 + 0.125 > 0 ? s * 0.75 + 0.125 : s),
};

export const ONE_TANH: ScoreProgram = {
  name: 'one tanh',
  source: '(s) => Math.tanh(s)',
  parameters: {},
  apply: (s) => Math.tanh(s),
};

export const ONE_EXP: ScoreProgram = {
  name: 'one exp',
  source: '(s) => Math.exp(s)',
  parameters: {},
  apply: (s) => Math.exp(s),
};
