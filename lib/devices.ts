// devices: what calls can run on.

import { cudaDevices, environment } from './environment.js';

/** A device that calls can run on. */
export interface Device {
  /** Its name in the `device` option, which means the first one that has it. */
  readonly device: 'cpu' | 'cuda';
  /** The processor's name for itself. */
  readonly name: string;
  /**
   * The instruction set in use: the best runnable one, or that of `FUSED_ATTENTION_ISA`. Of a CUDA device its compute
   * capability, 'sm_80'.
   */
  readonly isa: string;
  /** All that this build has and the processor runs, best first. */
  readonly isas: readonly string[];
  /**
   * Threads a call uses at most: those this process may use, within `FUSED_ATTENTION_THREADS`. Of a CUDA device those that
   * it runs at a time.
   */
  readonly threads: number;
  /** Bytes of its own memory, of a CUDA device. */
  readonly memory?: number;
}

/**
 * The devices there are: the CPU, and the CUDA devices that a driver finds, which is opened for it.
 *
 * @throws AttentionError `ERR_LOAD_FAILED`; `ERR_INVALID_ARG_VALUE` or `ERR_OUT_OF_RANGE` naming an environment variable;
 *   `ERR_INTERNAL` where a device is out of order.
 */
export function devices(): Device[] {
  const { native, isa, threads } = environment();
  const cpu: Device = { device: 'cpu', name: native.cpu, isa, isas: [...native.isas], threads };
  const gpus = cudaDevices().devices.map(({ name, architecture, threads: atOnce, memory }): Device => ({
    device: 'cuda',
    name,
    isa: architecture,
    isas: [architecture],
    threads: atOnce,
    memory,
  }));
  return [cpu, ...gpus];
}
