// Memory of a device: shared by the tensors over it, given back with the last of them.

import { ordinalOf } from './devices.js';
import type { CudaName } from './environment.js';
import { AttentionError, fromNative } from './errors.js';
import { loadNative } from './native.cjs';
import type { NativeError, NativeMemory } from './native.cjs';

/** Where nobody disposes of tensors, the addon frees the memory once they are garbage. */
export class DeviceMemory {
  readonly device: CudaName;
  readonly handle: NativeMemory;
  #holders = 0;

  /** On a device that is ready. Throws ERR_OUT_OF_MEMORY naming `argument`; ERR_INTERNAL where the device has failed. */
  constructor(device: CudaName, bytes: number, argument: string) {
    this.device = device;
    try {
      this.handle = loadNative().allocate(ordinalOf(device), bytes);
    } catch (error) {
      const { code, expected, received } = fromNative(error as NativeError);
      throw new AttentionError(code, argument, expected, received, { cause: error });
    }
  }

  hold(): void {
    this.#holders += 1;
  }

  release(): void {
    this.#holders -= 1;
    if (this.#holders === 0) this.free();
  }

  /** What nobody has come to hold. */
  free(): void {
    loadNative().freeMemory(this.handle);
  }
}

const opening = new Map<CudaName, Promise<void>>();

/** Makes a device ready for memory, off the event loop. Rejects where it is out of order. */
export function open(device: CudaName): Promise<void> {
  let opened = opening.get(device);
  if (opened) return opened;
  opened = new Promise<void>((resolve, reject) => {
    loadNative().open((error) => (error === null ? resolve() : reject(fromNative(error))), ordinalOf(device));
  });
  opening.set(device, opened);
  // A failure may be over at the next call.
  opened.catch(() => opening.delete(device));
  return opened;
}
