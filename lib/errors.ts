// The one error class, its stable codes, and the few ways in which lib/ makes one.

import type { NativeError } from './native.cjs';

const codes = [
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_UNKNOWN_OPTION',
  'ERR_SHAPE_MISMATCH',
  'ERR_OUT_OF_RANGE',
  'ERR_PROGRAM',
  'ERR_UNSUPPORTED',
  'ERR_NO_DEVICE',
  'ERR_OUT_OF_MEMORY',
  'ERR_BUFFER_IN_USE',
  'ERR_ALIASING',
  'ERR_DISPOSED',
  'ERR_GROUP_FAILED',
  'ERR_LOAD_FAILED',
  'ERR_INTERNAL',
] as const;

/** Stable machine-readable reasons, the `code` of every {@link AttentionError}. */
export type ErrorCode = (typeof codes)[number];

/**
 * What every function of this package throws or rejects with, except for aborts: those follow Node (name `AbortError`,
 * code `ABORT_ERR`, `cause` = the signal's reason).
 */
export class AttentionError extends Error {
  declare readonly name: 'AttentionError';
  /** Stable reason; the message may change between versions, the code does not. */
  readonly code: ErrorCode;
  /** The argument, option or environment variable at fault, e.g. `key` or `options.mask[1]`. */
  readonly argument: string;
  /** What would have been accepted. */
  readonly expected: string;
  /** What came instead. */
  readonly received: string;

  static {
    Object.defineProperty(this.prototype, 'name', { value: 'AttentionError', configurable: true, writable: true });
  }

  constructor(code: ErrorCode, argument: string, expected: string, received: string, options?: { cause?: unknown }) {
    super(`${argument}: expected ${expected} but received ${received}`, options);
    this.code = code;
    this.argument = argument;
    this.expected = expected;
    this.received = received;
  }
}

/** A value of the wrong kind. */
export function invalidType(argument: string, expected: string, value: unknown, cause?: unknown): AttentionError {
  return new AttentionError('ERR_INVALID_ARG_TYPE', argument, expected, describe(value), withCause(cause));
}

/** A value of the right kind that is none of those allowed. */
export function invalidValue(argument: string, expected: string, received: string, cause?: unknown): AttentionError {
  return new AttentionError('ERR_INVALID_ARG_VALUE', argument, expected, received, withCause(cause));
}

/** A number outside its range. */
export function outOfRange(argument: string, expected: string, value: unknown): AttentionError {
  return new AttentionError('ERR_OUT_OF_RANGE', argument, expected, describe(value));
}

/** A shape that does not fit the other arguments. */
export function shapeMismatch(argument: string, expected: string, received: string): AttentionError {
  return new AttentionError('ERR_SHAPE_MISMATCH', argument, expected, received);
}

/** A valid request that this version, or this combination of options, does not serve. */
export function unsupported(argument: string, expected: string, received: string): AttentionError {
  return new AttentionError('ERR_UNSUPPORTED', argument, expected, received);
}

/** A result too large for this machine. */
export function outOfMemory(argument: string, bytes: number, cause?: unknown): AttentionError {
  const expected = 'a result that fits in memory';
  return new AttentionError('ERR_OUT_OF_MEMORY', argument, expected, `one of ${bytes} bytes`, withCause(cause));
}

/** Something that cannot happen unless this package is at fault. */
export function internal(cause: unknown): AttentionError {
  const received = cause instanceof Error ? cause.message : describe(cause);
  return new AttentionError('ERR_INTERNAL', 'fused-attention', 'no internal failure', received, { cause });
}

/** What the addon threw or handed over, as an {@link AttentionError}. */
export function fromNative(error: NativeError): AttentionError {
  if (error instanceof AttentionError) return error;
  const { code, argument, expected, received } = error;
  const known = (codes as readonly string[]).includes(code);
  if (!known || typeof expected !== 'string' || typeof received !== 'string') return internal(error);
  return new AttentionError(code as ErrorCode, argument || 'fused-attention', expected, received, { cause: error });
}

/** The error of an aborted call, shaped like those of Node's own functions. */
export function abortError(reason: unknown): Error {
  const error = new Error('The operation was aborted', { cause: reason });
  Object.defineProperty(error, 'name', { value: 'AbortError', configurable: true, writable: true });
  Object.defineProperty(error, 'code', { value: 'ABORT_ERR', configurable: true, writable: true, enumerable: true });
  return error;
}

/** A short account of any value for the end of a message. Never throws. */
export function describe(value: unknown): string {
  try {
    if (value === null || value === undefined) return String(value);
    switch (typeof value) {
      case 'string':
        return quote(value);
      case 'bigint':
        return `${value}n`;
      case 'function':
        return value.name ? `the function ${value.name}` : 'a function';
      case 'object':
        return describeObject(value);
      default:
        return Object.is(value, -0) ? '-0' : String(value);
    }
  } catch {
    return 'an unreadable value';
  }
}

/** `[2, 4, 10, 64]` */
export function formatShape(shape: readonly (number | string)[]): string {
  return `[${shape.join(', ')}]`;
}

/** `'a', 'b' or 'c'` */
export function oneOf(values: readonly string[]): string {
  const quoted = values.map((value) => quote(value));
  return quoted.length < 2 ? quoted.join('') : `${quoted.slice(0, -1).join(', ')} or ${quoted.at(-1)}`;
}

function describeObject(value: object): string {
  if (Array.isArray(value)) return `an array of length ${value.length}`;
  const name = value.constructor?.name;
  if (ArrayBuffer.isView(value) && 'length' in value) return `a ${name} of length ${String(value.length)}`;
  return typeof name !== 'string' || name === '' || name === 'Object' ? 'an object' : `an instance of ${name}`;
}

function quote(text: string): string {
  return `'${text.length > 40 ? `${text.slice(0, 37)}...` : text}'`;
}

function withCause(cause: unknown): { cause?: unknown } | undefined {
  return cause === undefined ? undefined : { cause };
}
