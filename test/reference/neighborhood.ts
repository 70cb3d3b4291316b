// Who sees whom on a grid, from the definition: residue classes written out as lists, windows as places in them.

export interface Axis {
  length: number;
  window: number;
  stride: number;
  dilation: number;
  causal: boolean;
}

export interface Neighborhood {
  axes: Axis[];
  border: 'clamp' | 'mask';
  /** Positions before the grid. */
  extra: number;
}

export const cellsOf = ({ axes }: Neighborhood): number => axes.reduce((cells, { length }) => cells * length, 1);

/** Places of an axis that a place on it sees. */
function placesSeen({ length, window, stride, dilation, causal }: Axis, border: string, at: number): Set<number> {
  const members: number[] = [];
  for (let place = at % dilation; place < length; place += dilation) members.push(place);
  const i = members.indexOf(at);
  const last = members.length - 1;
  const group = i - (i % stride);
  const seen = new Set<number>();
  const bound = border === 'clamp' ? last : Infinity;
  if (causal) {
    const leader = Math.min(group + stride - 1, bound);
    for (let n = 0; n < window; n += 1) if (leader - n >= 0 && leader - n <= i) seen.add(members[leader - n]!);
    return seen;
  }
  const leader = Math.min(group + (stride >> 1), bound);
  let first = leader - (window >> 1);
  if (border === 'clamp') {
    if (first + window > members.length) first = members.length - window;
    if (first < 0) first = 0;
  }
  for (let n = first; n < first + window; n += 1) if (members[n] !== undefined) seen.add(members[n]!);
  return seen;
}

/** Where a cell of a row-major grid is on each of its axes. */
export function placesOf(lengths: readonly number[], cell: number): number[] {
  const found: number[] = [];
  for (const length of [...lengths].reverse()) {
    found.unshift(cell % length);
    cell = Math.floor(cell / length);
  }
  return found;
}

/**
 * Entry of a table [head, ...(2·window − 1)] for a query's cell and a key's that it sees: offsets of the key from the
 * query, in steps of the dilation. Throws where the table has none.
 */
export function biasEntry({ axes }: Neighborhood, head: number, query: number, key: number): number {
  const lengths = axes.map(({ length }) => length);
  const [from, to] = [placesOf(lengths, query), placesOf(lengths, key)];
  return axes.reduce((entry, { window, dilation }, axis) => {
    const steps = (to[axis]! - from[axis]!) / dilation;
    if (!Number.isInteger(steps) || Math.abs(steps) >= window) throw new Error(`no entry for ${query}, ${key}`);
    return entry * (2 * window - 1) + steps + window - 1;
  }, head);
}

/** Whether the query at a position sees the key at another. */
export function seesOf(neighborhood: Neighborhood): (i: number, j: number) => boolean {
  const { axes, border, extra } = neighborhood;
  const tables = axes.map((axis) => Array.from({ length: axis.length }, (_, at) => placesSeen(axis, border, at)));
  const lengths = axes.map(({ length }) => length);
  const of = Array.from({ length: cellsOf(neighborhood) }, (_, cell) => placesOf(lengths, cell));
  return (i, j) => {
    if (i < extra || j < extra) return true;
    const [query, key] = [of[i - extra]!, of[j - extra]!];
    return tables.every((table, axis) => table[query[axis]!]!.has(key[axis]!));
  };
}
