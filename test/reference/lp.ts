// `lp`: the low-precision yardstick for 16-bit types. The plain formula with every number that such a type would hold
// rounded to it once - inputs, weights P and the output O - and all sums in float64. What a kernel may lose is
// measured against what this loses.
//
// Where types are mixed, each number has the type it is stored in: inputs their own, P the type of the values it is
// multiplied with, O the output's.

import { attendHead, type Head } from './attention.js';
import { round, type Dtype } from './half.js';

export interface LowPrecision {
  query: Dtype;
  key: Dtype;
  value: Dtype;
  output: Dtype;
}

/** The output [queries, dimV] of the head as lp computes it, with its types. */
export function lp(head: Head, types: LowPrecision): Float64Array {
  const rounded: Head = {
    ...head,
    query: head.query.map((x) => round(types.query, x)),
    key: head.key.map((x) => round(types.key, x)),
    value: head.value.map((x) => round(types.value, x)),
  };
  return attendHead(rounded, (p) => round(types.value, p)).output.map((x) => round(types.output, x));
}
