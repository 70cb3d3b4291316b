// Whether a call in flight can rely on memory that JavaScript owns. Detaching a buffer (transferring it, growing the
// WebAssembly memory it shows) frees or moves memory under the threads that use it.

import { isSharedArrayBuffer } from 'node:util/types';

/** Loaded with the first asynchronous call: it takes a sixth of the time in which the package loads. */
let workerThreads: typeof import('node:worker_threads') | undefined;

function markAsUntransferable(buffer: ArrayBufferLike): void {
  workerThreads ??= require('node:worker_threads') as typeof import('node:worker_threads');
  workerThreads.markAsUntransferable(buffer);
}

/** Buffers that are known to stay: marked here, or shared. */
const kept = new WeakSet<ArrayBufferLike>();

/** Undefined until the first asynchronous call. */
let marksHold: boolean | undefined;

/** Whether a buffer stays where it is. */
export function isKept(buffer: ArrayBufferLike): boolean {
  return kept.has(buffer);
}

/**
 * How the memory of an asynchronous call's argument is kept in place: used as it is (shared buffers, which cannot be
 * detached), used once it has been marked untransferable, or copied. Resizable buffers and WebAssembly memory are always
 * copied: resizing may take pages away, and marking the latter makes a later `grow` end the process on some versions.
 */
export function needsCopy(buffer: ArrayBufferLike): boolean {
  if (isSharedArrayBuffer(buffer)) return false;
  if ((buffer as ArrayBuffer & { resizable?: boolean }).resizable) return true;
  return !((marksHold ??= tryMarks()) && isTransferable(buffer));
}

/**
 * Keeps a buffer that needs no copy where it is. For good: Node has no way back. From now on transferring it fails, or
 * copies it (Node 20).
 */
export function keep(buffer: ArrayBufferLike): void {
  if (kept.has(buffer)) return;
  if (!isSharedArrayBuffer(buffer)) markAsUntransferable(buffer);
  kept.add(buffer);
}

/** Whether marks stop every transfer that this runtime has, and WebAssembly memory can be told from other memory. */
function tryMarks(): boolean {
  const bytes = 8;
  const scratch = new ArrayBuffer(bytes) as ArrayBuffer & Record<'transfer' | 'transferToFixedLength', () => unknown>;
  try {
    if (!isTransferable(scratch)) return false;
    markAsUntransferable(scratch);
    attempt(() => structuredClone(scratch, { transfer: [scratch] }));
    for (const method of ['transfer', 'transferToFixedLength'] as const) {
      if (method in scratch) attempt(() => scratch[method]());
    }
    if (scratch.byteLength !== bytes) return false;
    const { WebAssembly } = globalThis as { WebAssembly?: { Memory: new (limits: object) => { buffer: ArrayBuffer } } };
    return !WebAssembly || !isTransferable(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer);
  } catch {
    return false;
  }
}

/**
 * Asks without transferring. Two transfers that are bound to fail: where the buffer can be transferred, the first gets as
 * far as reading the value, and the second is refused for naming it twice. Memory that cannot be transferred fails before
 * that on Node 22 and later, and is passed over in silence on Node 20.
 */
function isTransferable(buffer: ArrayBufferLike): boolean {
  let valueRead = false;
  const value = {
    get read(): never {
      valueRead = true;
      throw new Error('read');
    },
  };
  attempt(() => structuredClone(value, { transfer: [buffer as ArrayBuffer] }));
  return (
    valueRead && !attempt(() => structuredClone(null, { transfer: [buffer as ArrayBuffer, buffer as ArrayBuffer] }))
  );
}

function attempt(action: () => unknown): boolean {
  try {
    action();
    return true;
  } catch {
    return false;
  }
}
