// devices: what calls can run on.

import { environment } from './environment.js';

/** A device that calls can run on. */
export interface Device {
  /** Its name in the `device` option. */
  readonly device: 'cpu';
  /** The processor's name for itself. */
  readonly name: string;
  /** The instruction set in use: the best runnable one, or that of `FUSED_ATTENTION_ISA`. */
  readonly isa: string;
  /** All that this build has and the processor runs, best first. */
  readonly isas: readonly string[];
  /** Threads a call uses at most: those this process may use, within `FUSED_ATTENTION_THREADS`. */
  readonly threads: number;
}

/**
 * The devices there are.
 *
 * @throws AttentionError `ERR_LOAD_FAILED`; `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` naming an environment variable.
 */
export function devices(): Device[] {
  const { native, isa, threads } = environment();
  return [{ device: 'cpu', name: native.cpu, isa, isas: [...native.isas], threads }];
}
