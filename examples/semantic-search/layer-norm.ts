// Layer normalisation over the last axis.

import type { NormWeights } from './weights.js';

const EPSILON = 1e-6;

/** (x − mean) / √(variance + 1e-6) · scale + bias of every row; a new array, sums in float64. */
export function layerNorm(rows: Float32Array, { scale, bias }: NormWeights): Float32Array {
  const width = scale.length;
  const result = new Float32Array(rows.length);
  for (let start = 0; start < rows.length; start += width) {
    let sum = 0;
    for (let c = 0; c < width; c++) sum += rows[start + c]!;
    const mean = sum / width;
    let squares = 0;
    for (let c = 0; c < width; c++) {
      const difference = rows[start + c]! - mean;
      squares += difference * difference;
    }
    const factor = 1 / Math.sqrt(squares / width + EPSILON);
    for (let c = 0; c < width; c++) result[start + c] = (rows[start + c]! - mean) * factor * scale[c]! + bias[c]!;
  }
  return result;
}
