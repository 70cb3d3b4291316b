// What every refusal has in common: one class, a stable code, and a message made of its parts.

import type { ExecutionContext } from 'ava';
import { AttentionError } from '../../lib/index.js';
import type { ErrorCode } from '../../lib/index.js';

/** A refusal by code and the name of what is at fault; patterns for the rest where they matter. */
export interface Refusal {
  code: ErrorCode;
  argument: string;
  expected?: RegExp;
  received?: RegExp;
}

export function isRefusal(t: ExecutionContext, error: unknown, { code, argument, expected, received }: Refusal): void {
  if (!(error instanceof AttentionError)) {
    t.fail(`not an AttentionError: ${error instanceof Error ? error.stack : String(error)}`);
    return;
  }
  t.is(error.code, code, error.message);
  t.is(error.argument, argument, error.message);
  t.is(error.name, 'AttentionError');
  t.is(error.message, `${error.argument}: expected ${error.expected} but received ${error.received}`);
  t.not(error.expected, '');
  t.not(error.received, '');
  if (expected) t.regex(error.expected, expected);
  if (received) t.regex(error.received, received);
}

/** An array whose first element throws. */
export function throwing(length = 1): never[] {
  return Object.defineProperty(new Array<never>(length).fill(0 as never), 0, {
    get: () => {
      throw new Error('no');
    },
  });
}

/** A proxy of which nothing can be read any more. */
export function revoked(target: object = []): never {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy as never;
}

export function refuses(t: ExecutionContext, call: () => unknown, refusal: Refusal): void {
  let result: unknown;
  try {
    result = call();
  } catch (error) {
    isRefusal(t, error, refusal);
    return;
  }
  t.fail(`no refusal (${refusal.code} of ${refusal.argument}) but ${String(result)}`);
}

export async function rejects(t: ExecutionContext, call: () => Promise<unknown>, refusal: Refusal): Promise<void> {
  let promise: Promise<unknown>;
  try {
    promise = call();
  } catch (error) {
    t.fail(`threw instead of rejecting: ${String(error)}`);
    return;
  }
  try {
    await promise;
  } catch (error) {
    isRefusal(t, error, refusal);
    return;
  }
  t.fail(`no refusal (${refusal.code} of ${refusal.argument})`);
}
