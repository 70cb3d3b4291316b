// Lists of blocks drawn at random, as masks of cases: the same ones wherever they are asked for.
import { Random } from '../test/reference/random.js';

export interface DrawnBlocks {
  readonly kind: 'blocks';
  /** Queries and keys of a block. */
  readonly size: number;
  /** Blocks of keys for each block of queries and each head. */
  readonly each: number;
  readonly seed: number;
}

const known = new Map<string, readonly (readonly Int32Array[])[]>();

/** [heads][blocks of queries] lists, ascending. */
export function listsOf(
  { size, each, seed }: DrawnBlocks,
  heads: number,
  rows: number,
): readonly (readonly Int32Array[])[] {
  const name = [size, each, seed, heads, rows].join();
  const found = known.get(name);
  if (found !== undefined) return found;
  const random = new Random(seed);
  const count = Math.ceil(rows / size);
  const lists = Array.from({ length: heads }, () =>
    Array.from({ length: count }, () => {
      const list = new Set<number>();
      while (list.size < Math.min(each, count)) list.add(random.integer(0, count - 1));
      return Int32Array.from(list).sort();
    }),
  );
  known.set(name, lists);
  return lists;
}
