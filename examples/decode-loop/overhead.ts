// What a decoding step costs besides reading keys and values.

import { KvCache, Tensor } from 'fused-attention';

const [HEADS, DIM] = [8, 64];

/** Microseconds of a step: of most of them, and where nothing else is in the processor's way. */
export interface StepTime {
  median: number;
  least: number;
}

/**
 * The time of a step (append and attend, 8 heads of 64, float32, one thread) that sees `visible` tokens.
 * With one there is nothing to read but the token itself: what remains is the overhead, allocation of the output
 * included unless `reuse`.
 */
export function stepTime(visible: number, reuse: boolean): StepTime {
  const row = (): Tensor => Tensor.from(new Float32Array(HEADS * DIM).fill(0.5), [1, HEADS, 1, DIM]);
  const [q, k, v, out] = [row(), row(), row(), row()];
  const cache = new KvCache({ heads: HEADS, dim: DIM, window: visible - 1, rope: { pairing: 'halves' } });
  const options = reuse ? { k, v, threads: 1, out } : { k, v, threads: 1 };
  const steps = visible > 1000 ? 20 : 2000;
  const times: number[] = [];
  for (let n = cache.length; n < visible; n += 1) cache.append(k, v);
  for (let round = 0; round < 15; round += 1) {
    const began = performance.now();
    for (let step = 0; step < steps; step += 1) cache.attendSync(q, options);
    times.push(((performance.now() - began) * 1000) / steps);
  }
  cache.free();
  times.sort((a, b) => a - b);
  return { median: times[times.length >> 1]!, least: times[0]! };
}
