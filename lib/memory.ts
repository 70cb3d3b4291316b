// Allocation of results. What cannot be had is a coded error before anything is computed.

import { totalmem } from 'node:os';

import type { RawView } from './arrays.js';
import { sizeOf } from './dtype.js';
import type { Dtype } from './dtype.js';
import { outOfMemory } from './errors.js';

/** Below this, asking how much memory there is costs more than it can save. */
const alwaysTry = 2 ** 28;

let limit: number | undefined;

/** From here on, zeroing costs the calling thread more than everything else in a call. */
const zeroedBelow = 2 ** 16;

/** What `Buffer` allocates on every runtime. */
const unzeroedUpTo = 2 ** 31;

/** Memory for `count` elements that will all be written: large ones are not zeroed. Throws ERR_OUT_OF_MEMORY. */
export function allocate(dtype: Dtype, count: number, argument: string): RawView {
  checkMemory(dtype, count, argument);
  const bytes = count * sizeOf[dtype];
  try {
    const memory =
      bytes >= zeroedBelow && bytes <= unzeroedUpTo ? Buffer.allocUnsafeSlow(bytes).buffer : new ArrayBuffer(bytes);
    if (dtype === 'float32') return new Float32Array(memory, 0, count);
    return dtype === 'bool' ? new Uint8Array(memory, 0, count) : new Uint16Array(memory, 0, count);
  } catch (cause) {
    throw outOfMemory(argument, bytes, cause);
  }
}

/**
 * Throws ERR_OUT_OF_MEMORY for what can never fit. Needed besides the allocation's own failure: systems hand out more
 * address space than there is memory, and kill the process when it is used.
 */
export function checkMemory(dtype: Dtype, count: number, argument: string): void {
  const bytes = count * sizeOf[dtype];
  if (bytes > alwaysTry && bytes > memoryLimit()) throw outOfMemory(argument, bytes);
}

/** Bytes that there are for this process. */
export function memoryLimit(): number {
  // 0 or absurdly large where the process is not constrained, and 0 where a sandbox does not tell.
  const constrained = process.constrainedMemory?.() || Infinity;
  return (limit ??= Math.min(constrained, totalmem() || Infinity, Number.MAX_SAFE_INTEGER));
}
