// How fast the counted kernels could be on a GPU: as if all its units worked at once, each at its full rate, and nothing
// was ever waited for. Counted, not timed: an upper bound that says which unit is nearest to being the limit.

import type { Chip } from './chips.js';
import { ISSUED, SHARED_BYTES } from './chips.js';
import type { Counted } from './counts.js';
import { flopsOfMma } from './counts.js';

export type Unit = 'tensor' | 'issue' | 'fp32' | 'exp' | 'shared' | 'global';

export interface Roofline {
  /** Cycles of a multiprocessor that each unit takes, for each mma. */
  cycles: Record<Unit, number>;
  limit: Unit;
  /** Useful operations over what the tensor cores could do in that time. */
  fraction: number;
}

export function rooflineOf(chip: Chip, counted: Counted): Roofline {
  const { warpInstructions, byClass, sharedLoads, sharedStores, globalLoads, globalStores } = counted.counters;
  const mma = byClass['mma']!;
  const peak = counted.dtype === 'float32' ? chip.tensorFlops.tf32 : chip.tensorFlops.half;
  const perLane = (warps: number, lanes: number): number => (32 * warps) / lanes / mma;
  const cycles: Record<Unit, number> = {
    tensor: flopsOfMma(counted) / (peak * chip.reached),
    issue: warpInstructions / ISSUED / mma,
    fp32: perLane(byClass['float32']!, chip.float32),
    exp: perLane(byClass['special']!, chip.special),
    shared: ((sharedLoads.wavefronts + sharedStores.wavefronts) * 128) / SHARED_BYTES / mma,
    global: ((globalLoads.sectors + globalStores.sectors) * 32) / chip.globalBytes / mma,
  };
  const [[limit, most]] = Object.entries(cycles).sort(([, a], [, b]) => b - a) as [[Unit, number]];
  return { cycles, limit, fraction: counted.flops / (mma * most * peak) };
}
