// Memory for the lengths of many sequences, kept between calls: filling pages that the system has yet to give costs the
// calling thread more than all else that it does for them.

/** Fewer values than these are had from the allocator for next to nothing; more are not worth keeping. */
const fewest = 2 ** 9;
const most = 2 ** 17;
/** Both sides of a few calls in flight. */
const mostKept = 8;

const kept: Float64Array[] = [];

/** An array of any contents, the taker's own until it is given back. Never to be handed to users of the package. */
export function takeLengths(count: number): Float64Array {
  if (count < fewest || count > most) return new Float64Array(count);
  for (let index = kept.length - 1; index >= 0; index -= 1) {
    const lengths = kept[index]!;
    if (lengths.length !== count && lengths.buffer.byteLength < 8 * count) continue;
    const last = kept.pop()!;
    if (last !== lengths) kept[index] = last;
    return lengths.length === count ? lengths : new Float64Array(lengths.buffer, 0, count);
  }
  return new Float64Array(new ArrayBuffer(8 * 2 ** Math.ceil(Math.log2(count))), 0, count);
}

/** When nothing reads or writes it any more. It may also be left to the garbage collector. */
export function giveLengthsBack(lengths: Float64Array): void {
  if (lengths.length >= fewest && lengths.length <= most && kept.length < mostKept) kept.push(lengths);
}
