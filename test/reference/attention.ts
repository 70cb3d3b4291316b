// Attention of one query head over one sequence, in float64, term by term as the specification writes it:
//
//   s(i,j) = score(softcap(scale * q_i.k_j), i, j) + bias(i,j)          over allowed(i,j); s = -inf counts as not allowed
//   lse_i  = ln(sum_j exp s(i,j) [+ exp(sink)])     p(i,j) = exp(s - lse)     o_i = sum_j p(i,j) v_j
//
// No tiles, no running maximum, nothing shared with the kernels. A row without an allowed key has o = 0 and lse = -inf
// (or the sink), and its terms are never touched.

export interface Head {
  queries: number;
  keys: number;
  dimQk: number;
  dimV: number;
  /** [queries, dimQk], [keys, dimQk], [keys, dimV]. */
  query: Float64Array;
  key: Float64Array;
  value: Float64Array;
  scale: number;
  /** 0: none. */
  softcap: number;
  /** Row and column of this sequence. */
  allowed(row: number, column: number): boolean;
  /** What a score program makes of a score, and the largest magnitude on the way. */
  score?: (score: number, row: number, column: number) => { value: number; magnitude: number };
  bias?: (row: number, column: number) => number;
  sink?: number;
}

export interface HeadResult {
  /** [queries, dimV]. */
  output: Float64Array;
  lse: Float64Array;
  /** -sum_j p ln p over keys, in nats; p has the sink in its denominator. 0 for an empty row. */
  entropy: Float64Array;
  /** max_j s over allowed keys, -inf for an empty row. */
  rowMax: Float64Array;
  /** Keys seen. */
  count: Int32Array;
  /** A_i = max_j (scale * sum_d |q_d k_d| + |bias|) over allowed keys, 0 for an empty row. */
  magnitude: Float64Array;
  /** sum_j p |v_j|, [queries, dimV]. */
  spread: Float64Array;
}

/** `roundWeight` is for lp.ts: applied to every p(i,j) before it meets the value. */
export function attendHead(head: Head, roundWeight: (p: number) => number = (p) => p): HeadResult {
  const { queries, keys, dimQk, dimV, query, key, value, scale, softcap, sink } = head;
  const result: HeadResult = {
    output: new Float64Array(queries * dimV),
    lse: new Float64Array(queries).fill(sink ?? -Infinity),
    entropy: new Float64Array(queries),
    rowMax: new Float64Array(queries).fill(-Infinity),
    count: new Int32Array(queries),
    magnitude: new Float64Array(queries),
    spread: new Float64Array(queries * dimV),
  };
  const seen = new Int32Array(keys);
  const scores = new Float64Array(keys);

  for (let row = 0; row < queries; row++) {
    let count = 0;
    let top = -Infinity;
    let spoiled = false;
    let magnitude = 0;
    for (let column = 0; column < keys; column++) {
      if (!head.allowed(row, column)) continue;
      let product = 0;
      let absolute = 0;
      for (let d = 0, a = row * dimQk, b = column * dimQk; d < dimQk; d++, a++, b++) {
        const term = query[a]! * key[b]!;
        product += term;
        absolute += Math.abs(term);
      }
      const bias = head.bias?.(row, column) ?? 0;
      let score = scale * product;
      if (softcap !== 0) score = softcap * Math.tanh(score / softcap);
      const changed = head.score?.(score, row, column);
      score = (changed?.value ?? score) + bias;
      if (score === -Infinity) continue;
      if (Number.isNaN(score)) spoiled = true;
      if (score > top) top = score;
      magnitude = Math.max(magnitude, Math.abs(scale) * absolute + (changed?.magnitude ?? 0) + Math.abs(bias));
      seen[count] = column;
      scores[count++] = score;
    }
    result.count[row] = count;
    result.magnitude[row] = magnitude;
    if (count === 0) continue;

    const reference = Math.max(top, sink ?? -Infinity);
    let sum = sink === undefined ? 0 : Math.exp(sink - reference);
    for (let n = 0; n < count; n++) sum += Math.exp(scores[n]! - reference);
    const lse = spoiled ? NaN : reference + Math.log(sum);
    let entropy = 0;
    const out = row * dimV;
    for (let n = 0; n < count; n++) {
      const exact = Math.exp(scores[n]! - lse);
      if (exact > 0) entropy -= exact * (scores[n]! - lse);
      const p = roundWeight(exact);
      for (let d = 0, v = seen[n]! * dimV; d < dimV; d++, v++) {
        result.output[out + d]! += p * value[v]!;
        result.spread[out + d]! += exact * Math.abs(value[v]!);
      }
    }
    result.lse[row] = lse;
    result.entropy[row] = spoiled ? NaN : entropy;
    result.rowMax[row] = spoiled ? NaN : top;
  }
  return result;
}
