// Allocation of results. What cannot be had is a coded error before anything is computed.

import { totalmem } from 'node:os';

import type { RawView } from './arrays.js';
import { sizeOf } from './dtype.js';
import type { Dtype } from './dtype.js';
import { outOfMemory } from './errors.js';

/** Below this, asking how much memory there is costs more than it can save. */
const alwaysTry = 2 ** 28;

let limit: number | undefined;

/** Zero-filled memory for `count` elements. Throws ERR_OUT_OF_MEMORY. */
export function allocate(dtype: Dtype, count: number, argument: string): RawView {
  checkMemory(dtype, count, argument);
  try {
    if (dtype === 'float32') return new Float32Array(count);
    return dtype === 'bool' ? new Uint8Array(count) : new Uint16Array(count);
  } catch (cause) {
    throw outOfMemory(argument, count * sizeOf[dtype], cause);
  }
}

/**
 * Throws ERR_OUT_OF_MEMORY for what can never fit. Needed besides the allocation's own failure: systems hand out more
 * address space than there is memory, and kill the process when it is used.
 */
export function checkMemory(dtype: Dtype, count: number, argument: string): void {
  const bytes = count * sizeOf[dtype];
  if (bytes > alwaysTry && bytes > (limit ??= memoryLimit())) throw outOfMemory(argument, bytes);
}

function memoryLimit(): number {
  // 0 or absurdly large where the process is not constrained.
  const constrained = process.constrainedMemory?.() || Infinity;
  return Math.min(constrained, totalmem());
}
