// What ranks of a group over MPI write to each other, in JSON. Tensors follow by themselves.

import { AttentionError } from '../errors.js';
import type { ErrorCode } from '../errors.js';
import type { Dtype } from '../dtype.js';

export type Word =
  | {
      readonly kind: 'message';
      readonly channel: string;
      readonly note: string;
      readonly tensors: readonly (readonly [Dtype, readonly number[]])[];
      /** Of the first tensor; the others have the next ones. */
      readonly tag: number;
    }
  /** The rank has shown no other sign of life for so many milliseconds, and waits for these ranks. */
  | { readonly kind: 'alive'; readonly silent: number; readonly waits: readonly number[] }
  | { readonly kind: 'failed'; readonly expected: string; readonly received: string; readonly cause?: Cause }
  /** The process is about to end, or is still there: said outside of groups. */
  | { readonly kind: 'leaving' | 'here' };

/** An error on its way to another process. */
export interface Cause {
  readonly message: string;
  readonly code?: ErrorCode;
  readonly argument?: string;
  readonly expected?: string;
  readonly received?: string;
}

export function written(error: unknown): Cause {
  if (!(error instanceof Error)) return { message: String(error) };
  if (!(error instanceof AttentionError)) return { message: error.message };
  const { message, code, argument, expected, received } = error;
  return { message, code, argument, expected, received };
}

export function read({ message, code, argument, expected, received }: Cause): Error {
  return code === undefined ? new Error(message) : new AttentionError(code, argument!, expected!, received!);
}
