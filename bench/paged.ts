// Decoding over pages beside the same over rows side by side, and a prefix that sequences share, in a pool and in forks
// of a cache, beside pages of each one's own: interleaved medians in one process, against their bars.
//   npm run paged [rounds]
import { attentionSync, KvCache, Tensor } from '../dist/index.js';
import { median } from './measure.js';

type Dtype = 'float32' | 'float16';

const HEADS = 8;
const rounds = Number(process.argv[2] ?? 15);

function random(shape: readonly number[], dtype: Dtype): Tensor {
  const count = shape.reduce((a, b) => a * b);
  // Halves of moderate size and either sign.
  const half = (): number => 0x3000 + Math.floor(Math.random() * 0x800) + (Math.random() < 0.5 ? 0x8000 : 0);
  if (dtype === 'float32') return Tensor.from(new Float32Array(count).map(Math.random), shape);
  return Tensor.from(new Uint16Array(count).map(half), shape, { dtype });
}

/** Medians of the calls, taken in turn. */
function milliseconds(calls: readonly (() => unknown)[]): number[] {
  const times = calls.map((): number[] => []);
  for (let round = 0; round < rounds + 1; round++) {
    calls.forEach((call, index) => {
      const from = performance.now();
      call();
      if (round > 0) times[index]!.push(performance.now() - from);
    });
  }
  return times.map(median);
}

function shuffled(count: number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, n) => n);
  for (let n = count - 1; n > 0; n--) {
    const other = Math.floor(Math.random() * (n + 1));
    [order[n], order[other]] = [order[other]!, order[n]!];
  }
  return order;
}

const tell = (what: string, value: number, bar: number): void =>
  console.log(`${what}: ${value.toFixed(2)} (bar ${bar})${value >= bar ? '' : ' MISSED'}`);

function decode(batch: number, keys: number, dim: number, dtype: Dtype): void {
  const q = random([batch, HEADS, 1, dim], dtype);
  const side = (): Tensor => random([batch, HEADS, keys, dim], dtype);
  const [k, v] = [side(), side()];
  const lengths = new Array<number>(batch).fill(keys);
  const paged = (pageSize: number): (() => unknown) => {
    const count = (batch * keys) / pageSize;
    const pool = (): Tensor => random([count, HEADS, pageSize, dim], dtype);
    const [pk, pv, table] = [pool(), pool(), shuffled(count)];
    return () => attentionSync(q, pk, pv, { threads: 1, pages: { table, lengths } });
  };
  const [contiguous, sixteen, one] = milliseconds([
    () => attentionSync(q, k, v, { threads: 1 }),
    paged(16),
    paged(1),
  ]) as [number, number, number];
  const what = `decode, ${batch} × ${keys} keys, D ${dim}, ${dtype}`;
  tell(`${what}, pages of 16, of the speed side by side`, contiguous / sixteen, 0.9);
  tell(`${what}, pages of 1, of the speed side by side`, contiguous / one, 0.6);
}

function shared(dtype: Dtype, bar: number): void {
  const [sequences, prefix, suffix, pageSize, dim] = [32, 4096, 128, 16, 64];
  const columns = (prefix + suffix) / pageSize;
  const count = sequences * columns;
  const q = random([sequences, HEADS, 1, dim], dtype);
  const pool = (): Tensor => random([count, HEADS, pageSize, dim], dtype);
  const [k, v] = [pool(), pool()];
  const apart = Int32Array.from({ length: count }, (_, n) => n);
  const together = apart.slice();
  for (let b = 1; b < sequences; b++) together.set(apart.subarray(0, prefix / pageSize), b * columns);
  const lengths = new Array<number>(sequences).fill(prefix + suffix);
  const [separate, once] = milliseconds([
    () => attentionSync(q, k, v, { threads: 2, pages: { table: apart, lengths } }),
    () => attentionSync(q, k, v, { threads: 2, pages: { table: together, lengths, sharedPrefix: prefix } }),
  ]) as [number, number];
  tell(`32 sequences that share 4096 tokens, ${dtype}, 2 threads, over pages of their own`, separate / once, bar);
}

/** Forks of one cache beside caches that each appended all of it. */
function forked(dtype: Dtype, bar: number): void {
  const [sequences, prefix, suffix, dim] = [32, 4096, 128, 64];
  const q = random([sequences, HEADS, 1, dim], dtype);
  const tokens = (count: number): Tensor => random([1, HEADS, count, dim], dtype);
  const cacheOf = (): KvCache => {
    const cache = new KvCache({ heads: HEADS, dim, dtype });
    cache.append(tokens(prefix), tokens(prefix));
    return cache;
  };
  const root = cacheOf();
  const forks = Array.from({ length: sequences }, () => root.fork());
  const apart = Array.from({ length: sequences }, cacheOf);
  for (const cache of [...forks, ...apart]) cache.append(tokens(suffix), tokens(suffix));
  const [separate, once] = milliseconds([
    () => KvCache.attendGroupSync(apart, q, { threads: 2 }),
    () => KvCache.attendGroupSync(forks, q, { threads: 2, sharedPrefix: prefix }),
  ]) as [number, number];
  tell(`32 forks of a cache of 4096 tokens, ${dtype}, 2 threads, over caches of their own`, separate / once, bar);
}

for (const dim of [64, 128]) {
  for (const dtype of ['float32', 'float16'] as const) {
    decode(1, 16384, dim, dtype);
    decode(8, 2048, dim, dtype);
  }
}
shared('float32', 4);
shared('float16', 2.2);
forked('float32', 4);
forked('float16', 2.2);
