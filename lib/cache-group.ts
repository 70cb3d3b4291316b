// Calls over several caches, each a sequence: what is checked of them before the call is read as one over a cache.

import type { AttentionCall } from './call.js';
import { attendCall, attendNames } from './cache-call.js';
import type { CacheForm } from './cache-form.js';
import { describe, invalidType, invalidValue, outOfRange, unsupported } from './errors.js';
import type { PreparedCall } from './execution.js';
import type { NativeCache } from './native.cjs';
import { readOptions } from './options.js';
import { readPrefixes } from './pages.js';
import { isArray, readLength, readList } from './snapshot.js';

/** A cache as a sequence of a call. */
export interface Member {
  readonly form: CacheForm;
  readonly handle: NativeCache;
  /** Before the call. */
  readonly length: number;
}

const names = [...attendNames, 'sharedPrefix', 'prefixes'];
const mostCaches = 2 ** 22;

/** The caches of a call; `memberOf` says what one is, or that it is none. */
export function readMembers(caches: unknown, memberOf: (value: unknown, argument: string) => Member | null): Member[] {
  if (!isArray('caches', caches)) throw invalidType('caches', 'an array of KvCache', caches);
  const count = readLength('caches', caches);
  if (count < 1 || count > mostCaches) throw outOfRange('caches', `1 to ${mostCaches} caches`, count);
  const places = new Map<unknown, number>();
  let first: CacheForm | undefined;
  return readList('caches', caches, (cache, argument, n) => {
    const member = memberOf(cache, argument);
    if (member === null) throw invalidType(argument, 'a KvCache', cache);
    if (places.has(cache)) throw invalidValue(argument, 'each cache once', `caches[${places.get(cache)}] again`);
    places.set(cache, n);
    checkForm(argument, member.form, (first ??= member.form));
    return member;
  });
}

function checkForm(argument: string, form: CacheForm, first: CacheForm): void {
  if (form.batch !== 1) throw unsupported(argument, 'a cache of one sequence', describe(form.batch));
  if (form.windowed) throw unsupported(argument, 'a cache without a window', 'one with a window');
  // Forks have the form of what they come from.
  if (form === first) return;
  const same = form.layout === first.layout && form.numbers.length === first.numbers.length;
  if (!same || form.numbers.some((x, n) => x !== first.numbers[n])) {
    throw invalidValue(argument, 'a cache with the options of caches[0]', 'one with others');
  }
}

export function groupCall(
  members: readonly Member[],
  q: unknown,
  given: unknown,
): { call: AttentionCall; prepared: PreparedCall } {
  const form = { ...members[0]!.form, batch: members.length };
  const options = readOptions(given, names, form.layout);
  const lengths = Float64Array.from(members, ({ length }) => length);
  const { prefixes, prefixOf } = readPrefixes(options.given, members.length, lengths, 'options');
  const caches = {
    handle: members.map(({ handle }) => handle),
    shared: prefixOf && Int32Array.of(...prefixOf, ...prefixes),
  };
  const longest = lengths.reduce((a, b) => Math.max(a, b));
  return attendCall(form, caches, longest, q, options);
}
