// devices: what calls can run on.

import { cudaDevices, environment, isCudaName } from './environment.js';
import type { CudaName, DeviceName, TensorDevice } from './environment.js';
import { AttentionError, describe, invalidType, invalidValue, oneOf } from './errors.js';

/** A device that calls can run on. */
export interface Device {
  /** Its name in the `device` option and for {@link Tensor.to}: 'cpu', 'cuda', 'cuda:1' and so on. */
  readonly device: TensorDevice;
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
  const gpus = cudaDevices().devices.map(({ name, architecture, threads: atOnce, memory }, ordinal): Device => ({
    device: nameOf(ordinal),
    name,
    isa: architecture,
    isas: [architecture],
    threads: atOnce,
    memory,
  }));
  return [cpu, ...gpus];
}

/** Of several CUDA devices the first has the short name. */
function nameOf(ordinal: number): CudaName {
  return ordinal === 0 ? 'cuda' : `cuda:${ordinal}`;
}

/** The number that the driver has for a CUDA device; -1 for the CPU. */
export function ordinalOf(device: TensorDevice): number {
  if (device === 'cpu') return -1;
  return device === 'cuda' ? 0 : Number(device.slice('cuda:'.length));
}

/** A name of `names`, or of a CUDA device by its number, whether there is such a device or not. */
export function checkDeviceName<Name extends DeviceName>(
  argument: string,
  value: unknown,
  names: readonly Name[],
): Name | CudaName {
  if (typeof value !== 'string') throw invalidType(argument, oneOf(names), value);
  if (isCudaName(value)) return value;
  if (!(names as readonly string[]).includes(value)) throw invalidValue(argument, oneOf(names), describe(value));
  return value as Name;
}

/** A device by the name that it has, if there is such a one. Throws ERR_NO_DEVICE naming `argument`. */
export function presentDevice(argument: string, asked: Exclude<DeviceName, 'auto'>): TensorDevice {
  if (asked === 'cpu') return asked;
  const { devices: found, reason } = cudaDevices();
  const ordinal = asked === 'metal' ? Infinity : ordinalOf(asked);
  if (ordinal < found.length) return nameOf(ordinal);
  const names = ['cpu', ...found.map((_, index) => nameOf(index))];
  const counted = `the last CUDA device is '${names.at(-1)!}'`;
  const why = asked === 'metal' ? 'this build has no Metal kernels' : found.length === 0 ? reason : counted;
  const expected = `a device of this machine and build (${oneOf(names)})`;
  throw new AttentionError('ERR_NO_DEVICE', argument, expected, `${describe(asked)} (${why})`);
}
