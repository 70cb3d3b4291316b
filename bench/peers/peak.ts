// The yardsticks of native/peak.cc, in this process: operations and bytes a second.
import { join } from 'node:path';

interface Yardsticks {
  /** Instruction sets that this processor can run, best first. */
  isas(): string[];
  /** Float32 operations a second of `threads` threads together, over about `milliseconds`. */
  fma(isa: string, threads: number, milliseconds: number): number;
  /** Bytes read a second from `array` by `threads` threads together. */
  read(isa: string, threads: number, array: Float32Array, milliseconds: number): number;
}

// Throws when it has not been built: there is no figure without a yardstick.
export const yardsticks = require(join(__dirname, '..', 'build', 'Release', 'bench_peak.node')) as Yardsticks;
