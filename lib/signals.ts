// Signals that abort calls. They are objects of the user's: what throws in one is an error of its own before a call has
// begun, and once it has, nothing that keeps it from settling.

import { abortError, invalidType, invalidValue } from './errors.js';
import { readProperty } from './snapshot.js';

/** The part of the web's and Node's `AbortSignal` that is used. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

const argument = 'options.signal';

/** Checks that a value can be waited on for an abort. */
export function checkSignal(value: unknown): AbortSignalLike | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null) throw invalidType(argument, 'an AbortSignal', value);
  const read = (name: string): unknown => readProperty(argument, value, name);
  const listens = typeof read('addEventListener') === 'function' && typeof read('removeEventListener') === 'function';
  if (typeof read('aborted') !== 'boolean' || !listens) throw invalidType(argument, 'an AbortSignal', value);
  return value as AbortSignalLike;
}

/** Throws the AbortError of a signal that is aborted already. */
export function throwIfAborted(signal: AbortSignalLike | undefined): void {
  if (signal !== undefined && isAborted(signal)) throw abortedBy(signal);
}

export function isAborted(signal: AbortSignalLike): boolean {
  return Boolean(readProperty(argument, signal, 'aborted'));
}

/** The AbortError of a call. Never throws: where the reason cannot be read, the cause is the error that says so. */
export function abortedBy(signal: AbortSignalLike | undefined): Error {
  try {
    return abortError(signal && readProperty(argument, signal, 'reason'));
  } catch (unreadable) {
    return abortError(unreadable);
  }
}

/** Calls `heard` when the signal aborts, until the function that it returns is called. That never throws. */
export function listen(signal: AbortSignalLike, heard: () => void): () => void {
  try {
    signal.addEventListener('abort', heard);
  } catch (cause) {
    throw invalidValue(argument, 'a signal that can be listened to', 'one that throws', cause);
  }
  return () => {
    try {
      signal.removeEventListener('abort', heard);
    } catch {
      // The call is over, and its result is what it is.
    }
  };
}
