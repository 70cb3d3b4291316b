// One reading of an object given by a user: its known properties, or elements, as they are now. What is not known, and
// what throws, is an error that names it.

import { AttentionError, invalidType, invalidValue, oneOf, outOfRange } from './errors.js';

/**
 * The properties of `value`, inherited ones included, each read once; a property set to undefined counts as left out.
 * They are put in `snapshot`: an object that has them all beforehand, as undefined, is read fastest.
 */
export function readSnapshot(
  argument: string,
  value: unknown,
  names: readonly string[],
  snapshot: Record<string, unknown> = Object.create(null) as Record<string, unknown>,
): Record<string, unknown> {
  if (value === undefined) return snapshot;
  if (typeof value !== 'object' || value === null || isArray(argument, value))
    throw invalidType(argument, 'an object', value);
  return reading(argument, () => {
    let empty = true;
    for (const name in value) {
      if (!names.includes(name)) throw unknown(argument, name, names);
      snapshot[name] = readProperty(argument, value, name);
      empty = false;
    }
    // attention(q, k, v, causal()): a mask has no properties, and would pass for no options at all.
    if (empty && isInstance(value)) throw invalidType(argument, 'an object of options', value);
    return snapshot;
  });
}

/** Whether an object was made by a class, rather than written out or made from another such object. */
function isInstance(value: object): boolean {
  let prototype: object | null = Object.getPrototypeOf(value);
  while (prototype !== null) {
    const parent: object | null = Object.getPrototypeOf(prototype);
    if (parent !== null && Object.hasOwn(prototype, 'constructor')) return true;
    prototype = parent;
  }
  return false;
}

/** One property; a getter that throws is the user's error, not this package's. */
export function readProperty(argument: string, value: object, name: string): unknown {
  try {
    return (value as Record<string, unknown>)[name];
  } catch (cause) {
    throw invalidValue(`${argument}.${name}`, 'a readable property', 'one that throws', cause);
  }
}

/** What was given, or `standard` where nothing was. null is something. */
export function orElse(value: unknown, standard: unknown): unknown {
  return value === undefined ? standard : value;
}

/** Runs what looks at a value of the user's: where that throws, the value is at fault. */
export function reading<Result>(argument: string, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (error instanceof AttentionError) throw error;
    throw unreadable(argument, error);
  }
}

function unreadable(argument: string, cause: unknown): AttentionError {
  return invalidValue(argument, 'a value that can be read', 'one that throws', cause);
}

/** `Array.isArray`, which throws of a proxy that was revoked. */
export function isArray(argument: string, value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch (cause) {
    throw unreadable(argument, cause);
  }
}

/** How many elements an array says that it has. It may say any number, whatever it holds. */
export function readLength(argument: string, list: readonly unknown[]): number {
  const length = readProperty(argument, list, 'length');
  if (!Number.isInteger(length) || (length as number) < 0) throw outOfRange(`${argument}.length`, 'a length', length);
  return length as number;
}

/** One element of an array; undefined where it has a hole. */
export function readElement(argument: string, list: ArrayLike<unknown>, index: number): unknown {
  try {
    return list[index];
  } catch (cause) {
    throw invalidValue(`${argument}[${index}]`, 'a readable element', 'one that throws', cause);
  }
}

/** What `read` makes of each element of an array, one after the other: where it takes no hole, the first one ends it. */
export function readList<Result>(
  argument: string,
  list: readonly unknown[],
  read: (element: unknown, name: string, index: number) => Result,
): Result[] {
  const length = readLength(argument, list);
  const results: Result[] = [];
  for (let n = 0; n < length; n += 1) results.push(read(readElement(argument, list, n), `${argument}[${n}]`, n));
  return results;
}

function unknown(argument: string, name: string, names: readonly string[]): AttentionError {
  const nearest = [...names].sort((a, b) => distance(name, a) - distance(name, b))[0]!;
  const near = distance(name, nearest) <= Math.max(2, name.length / 3);
  const expected = near ? `a known option (did you mean '${nearest}'?)` : `one of ${oneOf(names)}`;
  return new AttentionError(
    'ERR_UNKNOWN_OPTION',
    `${argument}.${name.slice(0, 64)}`,
    expected,
    `'${name.slice(0, 64)}'`,
  );
}

/** Edits (insert, delete, replace) from one name to the other, ignoring case. */
function distance(left: string, right: string): number {
  const a = left.slice(0, 64).toLowerCase();
  const b = right.toLowerCase();
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
