// Rotary embedding for those that turn queries and keys in their call: the inputs of a case are what everybody attends with,
// so they are given the same rows, turned back.
import type { Operand } from './inputs.js';

const BASE = 10000;

/** Cosines and sines of the pairs (f, f + dim / 2) at the positions 0 to rows − 1, [rows, dim / 2]. */
export function turns(rows: number, dim: number): { cosines: Float32Array; sines: Float32Array } {
  const half = dim / 2;
  const angle = (at: number): number => Math.floor(at / half) * BASE ** (-(at % half) / half);
  return {
    cosines: Float32Array.from({ length: rows * half }, (_, at) => Math.cos(angle(at))),
    sines: Float32Array.from({ length: rows * half }, (_, at) => Math.sin(angle(at))),
  };
}

/** What rotary embedding turns into these rows, [B, H, S, D], the first of which stands at `position`. */
export function unturned(from: Operand, position: number): Operand {
  const { rows, dim } = from;
  const half = dim / 2;
  const { cosines, sines } = turns(position + rows, dim);
  const data = new Float32Array(from.data.length);
  for (let start = 0; start < data.length; start += dim) {
    const turn = (position + ((start / dim) % rows)) * half;
    for (let f = 0; f < half; f++) {
      const [cosine, sine] = [cosines[turn + f]!, sines[turn + f]!];
      const [x, y] = [from.data[start + f]!, from.data[start + half + f]!];
      data[start + f] = x * cosine + y * sine;
      data[start + half + f] = y * cosine - x * sine;
    }
  }
  return { ...from, data, stored: data };
}
