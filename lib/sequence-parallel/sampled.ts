// A function of a whole number known by few of its values.

/** The most values that are asked for. */
const most = 64;

/**
 * Values of `of` at 0 … count - 1, each a list of numbers. Where there are many, those at `first` and at even distances
 * are asked for, then those between two that differ most, until neighbours agree or there are `most`; the others lie on
 * straight lines between them.
 */
export function sampled(
  count: number,
  first: readonly number[],
  of: (n: number) => readonly number[],
): readonly (readonly number[])[] {
  const known = new Map<number, readonly number[]>();
  const ask = (n: number): void => {
    if (n >= 0 && n < count && !known.has(n)) known.set(n, of(n));
  };
  const even = Math.min(count, 16);
  for (let n = 0; n < even; n += 1) ask(Math.round((n * (count - 1)) / Math.max(even - 1, 1)));
  for (const n of first) ask(n);
  while (known.size < Math.min(count, most)) {
    const between = widest(
      [...known.keys()].sort((a, b) => a - b),
      known,
    );
    if (between === undefined) break;
    ask(between);
  }
  return interpolated(
    [...known.keys()].sort((a, b) => a - b),
    known,
  );
}

/** The middle of the two neighbours that differ most, by how much and over how many; undefined where all agree. */
function widest(places: readonly number[], known: ReadonlyMap<number, readonly number[]>): number | undefined {
  const parts = known.get(0)!.length;
  const largest = Array.from({ length: parts }, (_, part) => Math.max(...places.map((n) => known.get(n)![part]!)));
  let best = 0;
  let middle: number | undefined;
  for (let n = 1; n < places.length; n += 1) {
    const [from, to] = [places[n - 1]!, places[n]!];
    if (to - from < 2) continue;
    for (let part = 0; part < parts; part += 1) {
      const [before, after] = [known.get(from)![part]!, known.get(to)![part]!];
      const step = Math.abs(after - before);
      const doubt = (step / largest[part]!) * (to - from - 1);
      // From nothing to something is a step, however small it is.
      const differ = step > 0.02 * largest[part]! || (step > 0 && Math.min(before, after) === 0);
      if (differ && doubt > best) [best, middle] = [doubt, (from + to) >> 1];
    }
  }
  return middle;
}

/** Values from the first of some places to the last, on straight lines between those that are known. */
export function interpolated(
  places: readonly number[],
  known: ReadonlyMap<number, readonly number[]>,
): readonly (readonly number[])[] {
  const result: (readonly number[])[] = [];
  for (let n = 0; n < places.length; n += 1) {
    const from = places[n]!;
    const to = places[n + 1] ?? from + 1;
    const here = known.get(from)!;
    const there = known.get(to) ?? here;
    for (let at = from; at < to; at += 1) {
      const share = (at - from) / (to - from);
      result.push(here.map((value, part) => value + share * (there[part]! - value)));
    }
  }
  return result;
}
