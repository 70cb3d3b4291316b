// Nobody is timed before the results are right: sampled rows against float64, and all rows against ours.
//
// Each float32 row must lie within twice the bound that this library promises of itself (test/reference/tolerance.ts), and
// so must the difference of two implementations: each may use up its own. 16-bit results are judged by the rule of that
// file, over all sampled rows together. Contestants whose job is another case's are checked there.
import { attendHead, type Head } from '../test/reference/attention.js';
import { round } from '../test/reference/half.js';
import { HalfRule, outputBound, rowContext } from '../test/reference/tolerance.js';
import { seenKeys, sequences, type Case } from './case.js';
import type { Contestant } from './contestant.js';
import type { Inputs, Operand } from './inputs.js';

const SAMPLES = 24;

type Part = ReturnType<typeof sequences>[number];

function start(from: Operand, batch: number, head: number, row: number): number {
  return batch * from.strides.batch + head * from.strides.head + row * from.strides.row;
}

function rows(from: Operand, batch: number, head: number, first: number, count: number): Float64Array {
  const copy = new Float64Array(count * from.dim);
  for (let row = 0; row < count; row++) {
    const at = start(from, batch, head, first + row);
    copy.set(from.data.subarray(at, at + from.dim), row * from.dim);
  }
  return copy;
}

/** The row as a problem of one head and one query, in float64. */
function rowProblem(c: Case, inputs: Inputs, part: Part, head: number, row: number): Head {
  const { batch, rowQ, rowKv, keys } = part;
  const headKv = Math.floor((head * c.headsKv) / c.headsQ);
  const position = row + keys - part.queries;
  const { program } = c;
  const sees = seenKeys(c, head, row, part.queries, keys);
  return {
    queries: 1,
    keys,
    dimQk: c.dim,
    dimV: c.dim,
    query: rows(inputs.query, batch, head, rowQ + row, 1),
    key: rows(inputs.key, batch, headKv, rowKv, keys),
    value: rows(inputs.value, batch, headKv, rowKv, keys),
    scale: 1 / Math.sqrt(c.dim),
    softcap: 0,
    allowed: (_row, column) => sees(column),
    ...(program === undefined
      ? {}
      : {
          score: (s: number, _row: number, column: number) => {
            const value = program.apply(s, position, column, head);
            // Some operations deep, each of which may lose a rounding of numbers like these.
            return { value, magnitude: 8 * (Math.abs(value) + Math.abs(s) + 1) };
          },
        }),
  };
}

interface Judge {
  contestant: Contestant;
  rule: HalfRule | null;
  /** What is wrong, once something is. */
  wrong: string | null;
}

function checkRow(c: Case, inputs: Inputs, part: Part, head: number, row: number, judges: readonly Judge[]): void {
  const { batch, rowQ, keys } = part;
  const problem = rowProblem(c, inputs, part, head, row);
  const expected = attendHead(problem);
  const { dtype } = c;
  // What lp.ts computes, but for its rounding of the inputs: these are numbers of the type already.
  const low =
    dtype === 'float32' ? null : attendHead(problem, (p) => round(dtype, p)).output.map((x) => round(dtype, x));
  for (const judge of judges) {
    const actual = judge.contestant.row(batch, head, rowQ + row);
    if (actual === null || judge.wrong !== null) continue;
    for (let d = 0; d < c.dim; d++) {
      if (judge.rule !== null && low !== null) {
        judge.rule.add(actual[d]!, expected.output[d]!, low[d]!);
        continue;
      }
      const bound = 2 * outputBound(rowContext(expected, 0, c.dim, keys), expected.spread[d]!);
      const error = Math.abs(actual[d]! - expected.output[d]!);
      if (!(error <= bound)) {
        judge.wrong = `off by ${error} (allowed ${bound}) at batch ${batch}, head ${head}, row ${rowQ + row}, component ${d}`;
        break;
      }
    }
  }
}

/** max over the rows of a head of the Euclidean norm, and of any component. */
function extremes(
  from: Operand,
  part: Part,
  head: number,
  first: number,
  count: number,
): { norm: number; top: number } {
  let norm = 0;
  let top = 0;
  for (let row = 0; row < count; row++) {
    const at = start(from, part.batch, head, first + row);
    let square = 0;
    for (let d = 0; d < from.dim; d++) {
      const x = Math.abs(from.data[at + d]!);
      square += x * x;
      if (x > top) top = x;
    }
    norm = Math.max(norm, square);
  }
  return { norm: Math.sqrt(norm), top };
}

/**
 * Every row of a peer against ours, within the same bound made coarser: A <= scale |q||k|, sum p|v| <= max|v|.
 * Answers what is wrong, or null.
 */
function compareAll(c: Case, inputs: Inputs, ours: Contestant, peer: Contestant): string | null {
  let compared = 0;
  for (const part of sequences(c)) {
    const { batch, rowQ, rowKv, queries, keys } = part;
    for (let head = 0; head < c.headsQ; head++) {
      const headKv = Math.floor((head * c.headsKv) / c.headsQ);
      const q = extremes(inputs.query, part, head, rowQ, queries);
      const k = extremes(inputs.key, part, headKv, rowKv, keys);
      const v = extremes(inputs.value, part, headKv, rowKv, keys);
      const magnitude = (q.norm * k.norm) / Math.sqrt(c.dim);
      const bound = 2 * outputBound({ dimQk: c.dim, keys, magnitude, lse: 0 }, v.top);
      for (let row = 0; row < queries; row++) {
        const theirs = peer.row(batch, head, rowQ + row);
        if (theirs === null) continue;
        const mine = ours.row(batch, head, rowQ + row)!;
        for (let d = 0; d < c.dim; d++) {
          const difference = Math.abs(mine[d]! - theirs[d]!);
          if (!(difference <= bound)) {
            return `differs from ours by ${difference} at batch ${batch}, head ${head}, row ${rowQ + row}, component ${d}`;
          }
        }
        compared++;
      }
    }
  }
  return compared === 0 ? 'did no row' : null;
}

/**
 * Runs every contestant once and compares. The first one is ours and does all rows.
 *
 * @returns what is wrong, by contestant; nothing is in it when all are right
 */
export async function checkResults(
  c: Case,
  inputs: Inputs,
  contestants: readonly Contestant[],
): Promise<Map<Contestant, string>> {
  const wrong = new Map<Contestant, string>();
  const judges: Judge[] = [];
  for (const contestant of contestants) {
    try {
      await contestant.run();
    } catch (error) {
      wrong.set(contestant, error instanceof Error ? error.message : String(error));
      continue;
    }
    if (contestant.otherWork !== undefined || contestant.otherResult) continue;
    const halves = c.dtype !== 'float32' && contestant.role === 'ours';
    judges.push({ contestant, rule: halves ? new HalfRule(c.dtype) : null, wrong: null });
  }
  const parts = sequences(c);
  const sampled = new Set<string>();
  for (let sample = 0; sample < SAMPLES; sample++) {
    const at = (sample * 37) % parts.length;
    const part = parts[at]!;
    const head = sample % c.headsQ;
    const row = Math.min(Math.floor(((sample + 0.5) / SAMPLES) * part.queries), part.queries - 1);
    const key = `${at} ${head} ${row}`;
    if (!sampled.has(key)) checkRow(c, inputs, part, head, row, judges);
    sampled.add(key);
  }
  const ours = judges.find(({ contestant }) => contestant.role === 'ours')?.contestant;
  for (const { contestant, rule, wrong: found } of judges) {
    let verdict = found ?? rule?.verdict() ?? null;
    const comparable = c.dtype === 'float32' && ours !== undefined && contestant !== ours;
    if (verdict === null && comparable) verdict = compareAll(c, inputs, ours, contestant);
    if (verdict !== null) wrong.set(contestant, verdict);
  }
  return wrong;
}
