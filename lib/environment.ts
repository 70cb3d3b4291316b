// The environment variables of this package: read once when it is loaded, checked at the first call that needs them.
// (FUSED_ATTENTION_NATIVE_PATH belongs to the loader, native.cts.)

import { AttentionError, describe, fromNative, invalidValue, oneOf, outOfRange } from './errors.js';
import { loadNative } from './native.cjs';
import type { NativeCuda, NativeError, NativeInfo } from './native.cjs';

/** `enum class Isa` of native/problem.h. */
const isaIds: Readonly<Record<string, number>> = { portable: 1, sse4: 2, avx2: 3, avx512: 4, neon: 5 };

/** A CUDA device: the first one is 'cuda', also 'cuda:0', the others 'cuda:1' and so on. */
export type CudaName = 'cuda' | `cuda:${number}`;

/** Where a tensor lies, and a call runs. */
export type TensorDevice = 'cpu' | CudaName;

/** Where a call may run; 'auto' chooses among what there is. */
export type DeviceName = 'auto' | 'metal' | TensorDevice;

export const deviceNames: readonly DeviceName[] = ['auto', 'cpu', 'cuda', 'metal'];

export function isCudaName(name: string): name is CudaName {
  return /^cuda(:\d{1,9})?$/.test(name);
}

export interface Environment {
  /** What 'auto' means. */
  readonly device: DeviceName;
  /** The most threads a call may use. */
  readonly threads: number;
  /** Forced instruction set in the encoding of native/problem.h; 0 leaves the choice to the addon. */
  readonly isaId: number;
  /** The instruction set in use. */
  readonly isa: string;
  readonly native: NativeInfo;
}

const given = {
  device: process.env['FUSED_ATTENTION_DEVICE'] || undefined,
  threads: process.env['FUSED_ATTENTION_THREADS'] || undefined,
  isa: process.env['FUSED_ATTENTION_ISA'] || undefined,
  libcuda: process.env['FUSED_ATTENTION_LIBCUDA'] || undefined,
};

let checked: Environment | undefined;

/** Throws AttentionError ERR_INVALID_ARG_VALUE or ERR_OUT_OF_RANGE naming the variable, or ERR_LOAD_FAILED. */
export function environment(): Environment {
  return (checked ??= check());
}

let cuda: NativeCuda | undefined;

/** Asked only by who needs to know, as opening a driver takes time. Throws AttentionError where a device is out of order. */
export function cudaDevices(): NativeCuda {
  environment();
  try {
    return (cuda ??= loadNative().cuda());
  } catch (error) {
    if (error instanceof AttentionError) throw error;
    throw fromNative(error as NativeError);
  }
}

function check(): Environment {
  const addon = loadNative();
  if (given.libcuda !== undefined) addon.chooseCudaLibrary(given.libcuda);
  const native = addon.info();
  const isa = checkIsa(native);
  return {
    device: checkDevice(),
    threads: checkThreads() ?? native.threads,
    isaId: isa === undefined ? 0 : isaIds[isa]!,
    isa: isa ?? native.isa,
    native,
  };
}

function checkDevice(): DeviceName {
  const { device = 'auto' } = given;
  if (!isCudaName(device) && !(deviceNames as readonly string[]).includes(device)) {
    throw invalidValue('FUSED_ATTENTION_DEVICE', oneOf(deviceNames), describe(device));
  }
  return device as DeviceName;
}

/** More than there are processors is allowed: it is slower, and good for tests. */
const mostThreads = 1024;

function checkThreads(): number | undefined {
  if (given.threads === undefined) return undefined;
  const expected = `an integer from 1 to ${mostThreads}`;
  const threads = Number(given.threads);
  if (!/^\d+$/.test(given.threads)) throw invalidValue('FUSED_ATTENTION_THREADS', expected, describe(given.threads));
  if (threads < 1 || threads > mostThreads) throw outOfRange('FUSED_ATTENTION_THREADS', expected, threads);
  return threads;
}

function checkIsa(native: NativeInfo): string | undefined {
  const { isa } = given;
  if (isa === undefined || native.isas.includes(isa)) return isa;
  const known = Object.keys(isaIds);
  const expected = known.includes(isa)
    ? `an instruction set that this processor and build can run (${oneOf(native.isas)})`
    : oneOf(known);
  throw invalidValue('FUSED_ATTENTION_ISA', expected, describe(isa));
}
