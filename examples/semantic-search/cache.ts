// Embeddings on disk. A file is named after everything its numbers follow from and starts with a digest of them.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Raise it when the encoder's results change. */
const ENCODER_VERSION = 1;
const DIGEST_BYTES = 32;

/** Where the example keeps its embeddings; ignored by git. */
export const CACHE_DIRECTORY = join(__dirname, '.cache');

/** Path of the embeddings of these sentences under this version of the model package. */
export function cachePath(directory: string, modelVersion: string, sentences: readonly string[]): string {
  const key = createHash('sha256')
    .update(JSON.stringify([ENCODER_VERSION, modelVersion, sentences]))
    .digest('hex');
  return join(directory, `${key.slice(0, 16)}.f32`);
}

/** The cached numbers, or why there are none: 'absent', or 'damaged' if the file is not what was written. */
export function readCache(path: string, count: number): Float32Array | 'absent' | 'damaged' {
  let file: Buffer;
  try {
    file = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'absent';
    throw error;
  }
  const digest = file.subarray(0, DIGEST_BYTES);
  const payload = file.subarray(DIGEST_BYTES);
  if (payload.length !== 4 * count || !digestOf(payload).equals(digest)) return 'damaged';
  const numbers = new Float32Array(count);
  new Uint8Array(numbers.buffer).set(payload);
  return numbers;
}

/** Writes beside the path, then renames: a reader never sees half a file. */
export function writeCache(directory: string, path: string, numbers: Float32Array): void {
  mkdirSync(directory, { recursive: true });
  const payload = Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength);
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, Buffer.concat([digestOf(payload), payload]));
  renameSync(temporary, path);
}

function digestOf(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
