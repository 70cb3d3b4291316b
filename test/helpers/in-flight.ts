// Calls that stand still at a known stage, and children that end with such calls. Nothing here sleeps: every wait is for a
// condition, with a deadline.

import { spawn } from 'node:child_process';
import { join } from 'node:path';

import { loadNative } from '../../lib/native.cjs';
import type { NativeCall } from '../../lib/native.cjs';
import { Tensor } from '../../lib/index.js';

export const native = loadNative();
export type Stage = 'queued' | 'running' | 'finishing';
export const stages: readonly Stage[] = ['queued', 'running', 'finishing'];

/** How many calls run at a time; further ones wait in the queue. */
export const places = native.info().threads;

const deadline = 30_000;

/** Turns the event loop until the condition holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = Date.now() + deadline;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Runs `body` while calls stop at `stage`; whatever still stands afterwards goes on. */
export async function whileParking<T>(stage: Stage, body: () => Promise<T>): Promise<T> {
  native.park(stage);
  try {
    return await body();
  } finally {
    native.park(null);
    await until(() => native.parked() === 0, 'no call stands parked');
  }
}

export async function untilParked(count: number): Promise<void> {
  await until(() => native.parked() === count, `${count} calls stand parked`);
}

/** Random float32 values in memory of its own. */
export function random(shape: readonly number[], seed = 1): Tensor {
  return over(new ArrayBuffer(4 * size(shape)), shape, seed);
}

/** The same in given memory, which has to be large enough. */
export function over(buffer: ArrayBufferLike, shape: readonly number[], seed = 1, byteOffset = 0): Tensor {
  const data = new Float32Array(buffer as ArrayBuffer, byteOffset, size(shape));
  let state = seed * 2654435761;
  for (let i = 0; i < data.length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = state / 2 ** 31 - 1;
  }
  return Tensor.from(data, shape);
}

export function size(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/**
 * A call as the addon takes it: ten ragged rows, one head, dimension 4, with these cumulative lengths on both sides. For what
 * lib/ would have refused before.
 */
export function raggedCall(lengths: number[]): NativeCall {
  const rows = 10;
  const dim = 4;
  const layout = [0, 0, 0, 0, dim]; // float32, offset, strides of batch, head and row
  const head = [1, 0, places, lengths.length - 1, 1, 1, rows, rows, dim, dim, 1, 0, 0, 2, 0];
  const numbers = Float64Array.from([...head, ...layout, ...layout, ...layout, ...layout, 0]);
  const buffers: (ArrayBufferView | null)[] = new Array(13).fill(null);
  for (let slot = 0; slot < 4; slot += 1) buffers[slot] = new Float32Array(rows * dim);
  for (const slot of [11, 12]) buffers[slot] = Float64Array.from(lengths);
  return [numbers, buffers];
}

/** What a child process left behind. */
export interface Ending {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

/** Runs test/lifecycle/<script>.cjs on this Node. One that hangs is killed, and reported by its signal. */
export function child(
  script: string,
  arguments_: readonly string[] = [],
  flags: readonly string[] = [],
  timeout = 2 * deadline,
  variables: Readonly<Record<string, string>> = {},
): Promise<Ending> {
  const path = join(__dirname, '..', 'lifecycle', `${script}.cjs`);
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, [...flags, path, ...arguments_], {
      timeout,
      killSignal: 'SIGKILL',
      env: { ...process.env, ...variables },
    });
    let stdout = '';
    let stderr = '';
    running.stdout.on('data', (text) => (stdout += text));
    running.stderr.on('data', (text) => (stderr += text));
    running.on('error', reject);
    running.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
