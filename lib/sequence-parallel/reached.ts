// Which keys of a part its mask shows, read off the tile map; found once for each part.

import { tileStates } from '../block-map.js';
import type { BoundProgram } from '../bound-program.js';
import { maxParts, reads } from './moved-programs.js';
import type { Range } from './runs.js';

/** More stretches of keys than this are closed up: gaps travel with them. */
const mostRanges = 8;

const shown = new WeakMap<BoundProgram, Map<string, readonly (readonly Range[])[]>>();

/** Sizes of a part: of each sequence, or where they are not ragged of `batch` that are alike. */
interface PartSizes {
  readonly nq: readonly number[];
  readonly nkv: readonly number[];
  readonly ragged: boolean;
  readonly batch: number;
  readonly headsQ: number;
  readonly headsKv: number;
  /** Columns that are looked at together: seen all of them, or none. */
  readonly step: number;
}

/**
 * Columns of a part that some query sees, of each sequence, in order; of sequences that are not ragged those that any of
 * them needs, as they have their rows in common. The program is one that has been moved there.
 */
export function reached(program: BoundProgram, sizes: PartSizes): readonly (readonly Range[])[] {
  const { nq, nkv, ragged, batch, headsQ, headsKv, step } = sizes;
  const key = JSON.stringify(sizes);
  let known = shown.get(program);
  if (known === undefined) shown.set(program, (known = new Map()));
  const found = known.get(key);
  if (found !== undefined) return found;
  const heads = reads(program.graph, 'h', 'hkv') ? headsQ : 1;
  const alike = ragged ? 1 : reads(program.graph, 'b') ? batch : Math.min(batch, 1);
  const result = nq.map((queries, n) => {
    const keys = nkv[n]!;
    if (queries === 0 || keys === 0) return [];
    const seen = new Uint8Array(Math.ceil(keys / step));
    for (let b = n; b < n + alike; b += 1) {
      for (let h = 0; h < heads; h += 1) {
        const states = tileStates(program, { b, h, nq: queries, nkv: keys, headsQ, headsKv, block: [queries, step] });
        for (let at = 0; at < seen.length; at += 1) seen[at]! |= states[at]!;
      }
    }
    return rangesOf(seen).map(({ begin, end }) => ({ begin: begin * step, end: Math.min(end * step, keys) }));
  });
  if (known.size >= maxParts) known.clear();
  known.set(key, result);
  return result;
}

function rangesOf(seen: Uint8Array): readonly Range[] {
  const ranges: Range[] = [];
  for (let at = 0; at < seen.length;) {
    if (seen[at] === 0) {
      at += 1;
      continue;
    }
    const begin = at;
    while (at < seen.length && seen[at] !== 0) at += 1;
    ranges.push({ begin, end: at });
  }
  if (ranges.length <= mostRanges) return ranges;
  const gaps = ranges.slice(1).map(({ begin }, n) => begin - ranges[n]!.end);
  const kept = new Set([...gaps.keys()].sort((a, b) => gaps[b]! - gaps[a]! || a - b).slice(0, mostRanges - 1));
  const closed: Range[] = [ranges[0]!];
  ranges.slice(1).forEach((range, n) => {
    if (kept.has(n)) closed.push(range);
    else closed[closed.length - 1] = { begin: closed.at(-1)!.begin, end: range.end };
  });
  return closed;
}
