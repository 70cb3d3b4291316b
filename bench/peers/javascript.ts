// The plain JavaScript peer: one thread, typed arrays, online softmax over blocks of keys, four keys at a time.
// It is what a careful author writes without native code.
import { visible, type Case } from '../case.js';
import type { Absent, Contestant } from '../contestant.js';
import { operand, type Inputs } from '../inputs.js';
import { sampleRows } from './sample-rows.js';

const BLOCK = 64;
const WORK_A_CALL = 1e8; // operations: less than 0.1 s

/** One query row over the keys [first, end) of one head; key c lies at keyStart + c * keyRow. */
function attendRow(
  { query, key, value }: Inputs,
  q: number,
  keyStart: number,
  valueStart: number,
  first: number,
  end: number,
  scale: number,
  scores: Float32Array,
  output: Float32Array,
  o: number,
): void {
  const dim = query.dim;
  const keyRow = key.strides.row;
  const valueRow = value.strides.row;
  const Q = query.data;
  const K = key.data;
  const V = value.data;
  output.fill(0, o, o + dim);
  let reference = -Infinity;
  let sum = 0;
  for (let block = first; block < end; block += BLOCK) {
    const count = Math.min(BLOCK, end - block);
    const whole = count & ~3;
    let top = reference;
    for (let c = 0; c < whole; c += 4) {
      const k0 = keyStart + (block + c) * keyRow;
      const k1 = k0 + keyRow;
      const k2 = k1 + keyRow;
      const k3 = k2 + keyRow;
      let s0 = 0;
      let s1 = 0;
      let s2 = 0;
      let s3 = 0;
      for (let d = 0; d < dim; d++) {
        const x = Q[q + d]!;
        s0 += x * K[k0 + d]!;
        s1 += x * K[k1 + d]!;
        s2 += x * K[k2 + d]!;
        s3 += x * K[k3 + d]!;
      }
      scores[c] = s0 *= scale;
      scores[c + 1] = s1 *= scale;
      scores[c + 2] = s2 *= scale;
      scores[c + 3] = s3 *= scale;
      top = Math.max(top, s0, s1, s2, s3);
    }
    for (let c = whole; c < count; c++) {
      const k = keyStart + (block + c) * keyRow;
      let s = 0;
      for (let d = 0; d < dim; d++) s += Q[q + d]! * K[k + d]!;
      scores[c] = s *= scale;
      top = Math.max(top, s);
    }
    if (top > reference) {
      const rescale = Math.exp(reference - top);
      sum *= rescale;
      for (let d = 0; d < dim; d++) output[o + d]! *= rescale;
      reference = top;
    }
    for (let c = 0; c < count; c++) {
      const p = Math.exp(scores[c]! - reference);
      scores[c] = p;
      sum += p;
    }
    for (let c = 0; c < whole; c += 4) {
      const v0 = valueStart + (block + c) * valueRow;
      const v1 = v0 + valueRow;
      const v2 = v1 + valueRow;
      const v3 = v2 + valueRow;
      const p0 = scores[c]!;
      const p1 = scores[c + 1]!;
      const p2 = scores[c + 2]!;
      const p3 = scores[c + 3]!;
      for (let d = 0; d < dim; d++) {
        output[o + d]! += p0 * V[v0 + d]! + p1 * V[v1 + d]! + p2 * V[v2 + d]! + p3 * V[v3 + d]!;
      }
    }
    for (let c = whole; c < count; c++) {
      const v = valueStart + (block + c) * valueRow;
      for (let d = 0; d < dim; d++) output[o + d]! += scores[c]! * V[v + d]!;
    }
  }
  if (sum > 0) for (let d = 0; d < dim; d++) output[o + d]! /= sum;
}

export function plainJavaScript(c: Case, inputs: Inputs, threads: number): Contestant | Absent {
  const name = 'plain JavaScript';
  if (threads > 1) return { name, absent: 'one thread only: see the figures of one thread' };
  if (c.program !== undefined) return { name, absent: 'programs are compared with the same without' };
  if (c.dtype !== 'float32') return { name, absent: 'has no 16-bit types' };
  const { query, key, value } = inputs;
  const out = operand(c, c.headsQ, c.queries);
  const scale = 1 / Math.sqrt(c.dim);
  const scores = new Float32Array(BLOCK);
  const sample = sampleRows(c, WORK_A_CALL);
  return {
    name,
    role: 'peer',
    slow: true,
    share: sample.share,
    run() {
      for (const { part, rows } of sample.parts) {
        const { batch, rowQ, rowKv, queries, keys } = part;
        for (let head = 0; head < c.headsQ; head++) {
          const headKv = Math.floor((head * c.headsKv) / c.headsQ);
          const keyStart = batch * key.strides.batch + headKv * key.strides.head + rowKv * key.strides.row;
          const valueStart = batch * value.strides.batch + headKv * value.strides.head + rowKv * value.strides.row;
          for (const row of rows) {
            const at = batch * query.strides.batch + head * query.strides.head + (rowQ + row) * query.strides.row;
            const [first, end] = visible(c.mask, row, queries, keys);
            attendRow(inputs, at, keyStart, valueStart, first, end, scale, scores, out.data, at);
          }
        }
      }
      return undefined;
    },
    row(batch, head, row) {
      if (!sample.has(batch, row)) return null;
      const start = batch * out.strides.batch + head * out.strides.head + row * out.strides.row;
      return out.data.subarray(start, start + c.dim);
    },
  };
}
