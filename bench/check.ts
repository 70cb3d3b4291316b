// Nobody is timed before the results are right: sampled rows against float64, and all rows against ours.
//
// Each row must lie within twice the float32 bound that this library promises of itself (test/reference/tolerance.ts), and
// so must the difference of two implementations: each may use up its own.
import { attendHead } from '../test/reference/attention.js';
import { outputBound, rowContext } from '../test/reference/tolerance.js';
import { sequences, visible, type Case } from './cases.js';
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

function checkRow(
  c: Case,
  inputs: Inputs,
  part: Part,
  head: number,
  row: number,
  contestants: readonly Contestant[],
): void {
  const { batch, rowQ, rowKv, keys } = part;
  const headKv = Math.floor((head * c.headsKv) / c.headsQ);
  const [first, end] = visible(c.mask, row, part.queries, keys);
  const expected = attendHead({
    queries: 1,
    keys,
    dimQk: c.dim,
    dimV: c.dim,
    query: rows(inputs.query, batch, head, rowQ + row, 1),
    key: rows(inputs.key, batch, headKv, rowKv, keys),
    value: rows(inputs.value, batch, headKv, rowKv, keys),
    scale: 1 / Math.sqrt(c.dim),
    softcap: 0,
    allowed: (_row, column) => column >= first && column < end,
  });
  for (const contestant of contestants) {
    const actual = contestant.row(batch, head, rowQ + row);
    if (actual === null) continue;
    for (let d = 0; d < c.dim; d++) {
      const bound = 2 * outputBound(rowContext(expected, 0, c.dim, keys), expected.spread[d]!);
      const error = Math.abs(actual[d]! - expected.output[d]!);
      if (!(error <= bound)) {
        const where = `batch ${batch}, head ${head}, row ${rowQ + row}, component ${d}`;
        throw new Error(`${c.suite}, ${c.label}: ${contestant.name} is off by ${error} (allowed ${bound}) at ${where}`);
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

/** Every row of a peer against ours, within the same bound made coarser: A <= scale |q||k|, sum p|v| <= max|v|. */
function checkAll(c: Case, inputs: Inputs, ours: Contestant, peer: Contestant): number {
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
            const where = `batch ${batch}, head ${head}, row ${rowQ + row}, component ${d}`;
            throw new Error(
              `${c.suite}, ${c.label}: ${ours.name} and ${peer.name} differ by ${difference} at ${where}`,
            );
          }
        }
        compared++;
      }
    }
  }
  return compared;
}

/** Runs every contestant once and throws where one is wrong. The first one is ours and does all rows. */
export async function checkResults(c: Case, inputs: Inputs, contestants: readonly Contestant[]): Promise<void> {
  for (const contestant of contestants) await contestant.run();
  const parts = sequences(c);
  for (let sample = 0; sample < SAMPLES; sample++) {
    const part = parts[(sample * 37) % parts.length]!;
    const head = sample % c.headsQ;
    const wanted = Math.floor(((sample + 0.5) / SAMPLES) * part.queries);
    checkRow(c, inputs, part, head, Math.min(wanted, part.queries - 1), contestants);
  }
  const [ours, ...peers] = contestants;
  for (const peer of peers) {
    if (checkAll(c, inputs, ours!, peer) === 0) throw new Error(`${c.suite}, ${c.label}: ${peer.name} did no row`);
  }
}
