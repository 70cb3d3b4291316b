// The @ruvector/attention peer: its `DotProductAttention` does one query row of one head over arrays of key and value rows,
// so a call here is a loop over heads and rows. (Its `FlashAttention` has the same interface and speed; its
// `MultiHeadAttention` splits one row, with the same keys for every head, and its batch functions copy each row's keys.)
import { visible, type Case } from '../case.js';
import type { Absent, Contestant } from '../contestant.js';
import { operand, type Inputs, type Operand } from '../inputs.js';
import { sampleRows } from './sample-rows.js';

/** Its binary's interface; the types in its package describe functions that it does not have. */
interface Ruvector {
  DotProductAttention: new (dim: number) => {
    compute(query: Float32Array, keys: readonly Float32Array[], values: readonly Float32Array[]): Float32Array;
  };
}

const NAME = '@ruvector/attention';
const WORK_A_CALL = 2e7; // operations: about 0.05 s

export async function ruvector(c: Case, inputs: Inputs, threads: number): Promise<Contestant | Absent> {
  if (threads > 1) return { name: NAME, absent: 'one thread only: see the figures of one thread' };
  if (c.program !== undefined) return { name: NAME, absent: 'has no score programs' };
  if (c.dtype !== 'float32') return { name: NAME, absent: 'has no 16-bit types' };
  const { DotProductAttention } = ((await import(NAME)) as { default: Ruvector }).default;
  const attention = new DotProductAttention(c.dim);
  const out = operand(c, c.headsQ, c.queries);
  const sample = sampleRows(c, WORK_A_CALL);

  const view = (from: Operand, batch: number, head: number, row: number): Float32Array => {
    const start = batch * from.strides.batch + head * from.strides.head + row * from.strides.row;
    return from.data.subarray(start, start + from.dim);
  };
  // Its arguments, all made before anything is timed.
  const calls = sample.parts.flatMap(({ part, rows }) =>
    rows.length === 0
      ? []
      : Array.from({ length: c.headsQ }, (_, head) => {
          const headKv = Math.floor((head * c.headsKv) / c.headsQ);
          const all = (from: Operand): Float32Array[] =>
            Array.from({ length: part.keys }, (_row, key) => view(from, part.batch, headKv, part.rowKv + key));
          const [keys, values] = [all(inputs.key), all(inputs.value)];
          return rows.map((row) => {
            const [first, end] = visible(c.mask, row, part.queries, part.keys);
            return {
              query: view(inputs.query, part.batch, head, part.rowQ + row),
              keys: end - first === part.keys ? keys : keys.slice(first, end),
              values: end - first === part.keys ? values : values.slice(first, end),
              output: view(out, part.batch, head, part.rowQ + row),
            };
          });
        }).flat(),
  );
  return {
    name: NAME,
    role: 'peer',
    unlike: 'DotProductAttention, one call a query row and head',
    slow: true,
    share: sample.share,
    run() {
      for (const { query, keys, values, output } of calls) output.set(attention.compute(query, keys, values));
      return undefined;
    },
    row: (batch, head, row) => (sample.has(batch, row) ? view(out, batch, head, row) : null),
  };
}
