// Few queries over many keys, in two kernels: of each chunk of keys the queries of all heads that share it, whose sums
// are left in memory; then of each query the chunks, in an order that their number gives. (Flash-Decoding, Dao et al.
// 2023; heads as rows of a tile as in Multi-Query decoding, Shazeer 2019.)
#pragma once

#include <cfloat>

#include "forward_parameters.h"
#include "instructions.cuh"
#include "seen.cuh"
#include "softmax.cuh"
#include "tiles.cuh"
#include "warp_queries.cuh"

namespace fused_attention::cuda {

/// The queries of a lane where heads that share keys are rows, one after the other for each query.
struct PackedQueries {
  int firstRow, firstHead, heads;
  __device__ __forceinline__ Query operator()(int n) const {
    const int row = firstRow + 8 * n;
    return {row / heads, firstHead + row % heads};
  }
};

__device__ __forceinline__ void addScaled(float4& all, const float4& part, float factor) {
  all.x = fmaf(part.x, factor, all.x);
  all.y = fmaf(part.y, factor, all.y);
  all.z = fmaf(part.z, factor, all.z);
  all.w = fmaf(part.w, factor, all.w);
}

/// The reference of `all` is no smaller.
__device__ __forceinline__ void addTotal(ChunkTotal& all, const ChunkTotal& part) {
  const float distance = all.negated - part.negated, factor = exp2Fast(distance);
  RowMoments moments{part.moment, part.largest};
  moments.rescale(part.sum, distance, factor);
  all.sum = fmaf(part.sum, factor, all.sum);
  all.moment += moments.moment;
  all.largest = fmaxf(all.largest, part.largest);
}

/// What the warps of a block have of a row, added up. Sums are rows of `stride` floats, so far apart that neither
/// writing nor reading them meets a bank twice.
template <int dim, int warps>
struct BlockSums {
  static constexpr int rows = DecodeShape::rows, stride = dim + 8;
  float sums[warps][rows][stride];
  ChunkTotal totals[warps][rows];

  __device__ __forceinline__ float negated(int row) const {
    float least = totals[0][row].negated;
    for (int w = 1; w < warps; ++w) least = fminf(least, totals[w][row].negated);
    return least;
  }
  /// Four components from `d` on.
  __device__ __forceinline__ float4 sumOf(int row, int d) const {
    const float reference = negated(row);
    float4 all = {};
    for (int w = 0; w < warps; ++w) {
      const float factor = exp2Fast(reference - totals[w][row].negated);
      addScaled(all, *reinterpret_cast<const float4*>(&sums[w][row][d]), factor);
    }
    return all;
  }
  __device__ __forceinline__ ChunkTotal totalOf(int row) const {
    const float reference = negated(row);
    ChunkTotal all{reference, 0, 0, -INFINITY};
    for (int w = 0; w < warps; ++w) addTotal(all, totals[w][row]);
    return all;
  }
};

/// A block of threads for each item and each head of keys, these innermost.
template <class Type, int dim>
__device__ __forceinline__ void decode(const DecodeParameters& decode) {
  constexpr DecodeShape shape = decodeShape(Type::bytes, dim);
  constexpr int tileKeys = shape.tileKeys, tileBytes = shape.tileBytes(), warps = shape.warps;
  using Queries = WarpQueries<Type, dim, tileKeys, shape.rows, shape.rowBytes <= 256, true>;
  using Sums = BlockSums<dim, warps>;
  static_assert(sizeof(Sums) <= warps * shape.stagesBytes());
  extern __shared__ __align__(1024) unsigned char shared[];
  const ForwardParameters& p = decode.call;

  const int hkv = static_cast<int>(blockIdx.x) % decode.headsKv;
  const DecodeItem item = decode.items[static_cast<int>(blockIdx.x) / decode.headsKv];
  SequenceRows sequence = sequenceOf(p, item.sequence);
  sequence.written = sequence.queries;  // rows that are only padding are the other kernel's
  const int rows = sequence.queries * p.groupSize, firstRow = item.firstRow;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const PackedQueries queryOf{firstRow + lane / 4, hkv * p.groupSize, p.groupSize};

  const uint32_t stages = sharedAddress(shared) + warp * shape.stagesBytes();
  const uint32_t queryStage = sharedAddress(shared) + warps * shape.stagesBytes();
  for (int n = threadIdx.x; n < shape.rows * Queries::Rows::pieces; n += shape.threads()) {
    const int local = n / Queries::Rows::pieces, piece = n % Queries::Rows::pieces, row = firstRow + local;
    const bool there = row < rows;
    const int64_t element = there ? sequence.batch * p.queryRows.batch +
                                        (hkv * p.groupSize + row % p.groupSize) * p.queryRows.head +
                                        (sequence.firstQuery + row / p.groupSize) * p.queryRows.row
                                  : 0;
    copyAsync<0>(queryStage + Queries::Rows::offset(local, piece),
                 static_cast<const unsigned char*>(p.query) + element * Type::bytes + (there ? 16 * piece : 0),
                 there ? min(max(p.dimQk * Type::bytes - 16 * piece, 0), 16) : 0);
  }
  commitCopies();

  const KeyPlaces keys(p, sequence, p.key, p.keyRows, hkv, Type::bytes);
  const KeyPlaces values(p, sequence, p.value, p.valueRows, hkv, Type::bytes);
  using Copy = TileCopy<shape.rowBytes, tileKeys, 32>;
  const Copy copyKeys(nullptr, 0, p.dimQk * Type::bytes, 0), copyValues(nullptr, 0, p.dimV * Type::bytes, 0);
  // Of the keys of the item those that the block's own rows see.
  typename Queries::Keys seen(p, sequence, queryOf);
  seen.joinSome();
  const KeyRange range{max(item.keys.begin, seen.first), min(item.keys.end, seen.end)};
  const bool masked = p.bits.rows != nullptr;
  WarpBits<2, tileKeys> bits(sequence, queryOf);
  const auto thereOf = [&](int first) {
    const TileBits<tileKeys> inside = bitsOf<tileKeys>(range, first);
    if (!masked) return inside;
    bits.lookUp(p.bits, first);
    return inside & bits.some();
  };
  // The warp's next tile from `first` on of which a key is seen, and which ones are.
  TileBits<tileKeys> there = 0;
  const auto nextTile = [&](int first) {
    for (; first < range.end; first += warps * tileKeys) {
      there = thereOf(first);
      if (there != 0) break;
    }
    return first;
  };
  const auto fetch = [&](uint32_t stage, int first) {
    copyKeys.template copyFrom<4>(stage, there, TilePlaces(keys, first));
    copyValues.template copyFrom<4>(stage + tileBytes, there, TilePlaces(values, first));
  };
  const int chunk = item.keys.begin / shape.chunkKeys * shape.chunkKeys;
  int first = nextTile(chunk + warp * tileKeys);
  if (first < range.end) fetch(stages, first);
  commitCopies();

  awaitCopies<1>();
  __syncthreads();
  Queries queries;
  queries.load(queryStage, p.queryFlip);

  uint32_t stage = stages, other = stages + 2 * tileBytes;
  while (first < range.end) {
    const int next = nextTile(first + warps * tileKeys);
    if (next < range.end) fetch(other, next);
    commitCopies();
    awaitCopies<1>();
    __syncwarp();
    if (masked) bits.lookUp(p.bits, first);
    queries.attend(p, stage, stage + tileBytes, [&](auto& scores) {
      if (p.bias.data != nullptr) addBias(scores, p, sequence, queryOf, first);
      if (masked) {
        hide(scores, bits);
      } else {
        hide(scores, first, seen);
      }
    });
    __syncwarp();  // nobody reads this stage any more
    const uint32_t used = stage;
    stage = other;
    other = used;
    first = next;
  }
  __syncthreads();  // every warp is done with its stages

  Sums& all = *reinterpret_cast<Sums*>(shared);
  queries.handOver([&](int row, int n,
                       float2 sums) { *reinterpret_cast<float2*>(&all.sums[warp][row][8 * n + lane % 4 * 2]) = sums; },
                   [&](int row, const RowSoftmax& softmax, const RowMoments& moments) {
                     if (lane % 4 == 0)
                       all.totals[warp][row] = {softmax.negated, softmax.sum, moments.moment, moments.largest};
                   });
  __syncthreads();
  const int fours = (p.dimV + 3) / 4;
  const int64_t line = item.firstLine + hkv * rows + firstRow;
  for (int n = threadIdx.x; n < shape.rows * (dim / 4); n += shape.threads()) {
    const int row = n / (dim / 4), four = n % (dim / 4);
    if (firstRow + row >= rows || four >= fours) continue;
    reinterpret_cast<float4*>(decode.sums)[(line + row) * fours + four] = all.sumOf(row, 4 * four);
  }
  const int row = threadIdx.x;
  if (row < shape.rows && firstRow + row < rows) decode.totals[line + row] = all.totalOf(row);
}

/// Rows of a padded batch beyond a sequence's: this one and every `step`-th after it.
template <class Type>
__device__ __forceinline__ void writePadding(const ForwardParameters& p, const SequenceRows& s, int head, int row,
                                             int step) {
  for (; row < s.written; row += step) {
    const int64_t element =
        s.batch * p.outputRows.batch + head * p.outputRows.head + (s.firstQuery + row) * p.outputRows.row;
    unsigned char* const to = static_cast<unsigned char*>(p.output) + element * Type::bytes;
    for (int piece = threadIdx.x; 16 * piece < p.dimV * Type::bytes; piece += blockDim.x) {
      *reinterpret_cast<uint4*>(to + 16 * piece) = {};
    }
    if (threadIdx.x > 0) continue;
    const int64_t statistic = (static_cast<int64_t>(s.batch) * p.headsQ + head) * p.statisticRows + s.firstQuery + row;
    if (p.lse != nullptr) p.lse[statistic] = -INFINITY;
    if (p.entropy != nullptr) p.entropy[statistic] = 0;
    if (p.rowMax != nullptr) p.rowMax[statistic] = -INFINITY;
  }
}

/// A block of threads for each query: rows are innermost, then heads.
template <class Type>
__device__ __forceinline__ void mergeChunks(const DecodeParameters& decode) {
  constexpr int threads = kMergeThreads;
  __shared__ float4 sums[threads];
  __shared__ ChunkTotal totals[threads];
  const ForwardParameters& p = decode.call;
  const int n = static_cast<int>(blockIdx.x);
  const int row = n % decode.queries, head = n / decode.queries % p.headsQ;
  const DecodeSequence of = decode.sequences[n / decode.queries / p.headsQ];
  const SequenceRows sequence = sequenceOf(p, of.sequence);
  const int queries = sequence.queries;
  writePadding<Type>(p, sequence, head, row < queries ? row + decode.queries : row, decode.queries);
  if (row >= queries) return;
  const int rows = queries * p.groupSize;
  const int64_t step = static_cast<int64_t>(decode.headsKv) * rows;
  const int64_t first = of.firstLine + head / p.groupSize * rows + row * p.groupSize + head % p.groupSize;

  // As many threads as a row has fours take a chunk, all others the next ones.
  const int thread = threadIdx.x, fours = (p.dimV + 3) / 4;
  static_assert(DecodeShape::mostDim <= 4 * 32);
  const int across = fours <= 16 ? 16 : 32, four = thread % across;
  ChunkTotal total{FLT_MAX, 0, 0, -INFINITY};
  for (int c = thread; c < of.chunks; c += threads)
    total.negated = fminf(total.negated, decode.totals[first + c * step].negated);
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    total.negated = fminf(total.negated, __shfl_xor_sync(0xffffffffu, total.negated, lanes));
  }
  if (thread % 32 == 0) totals[thread / 32].negated = total.negated;
  __syncthreads();
  for (int warp = 0; warp < threads / 32; ++warp) total.negated = fminf(total.negated, totals[warp].negated);
  __syncthreads();

  float4 sum = {};
  for (int c = thread / across; c < of.chunks; c += threads / across) {
    const ChunkTotal chunk = decode.totals[first + c * step];
    if (four < fours) {
      addScaled(sum, reinterpret_cast<const float4*>(decode.sums)[(first + c * step) * fours + four],
                exp2Fast(total.negated - chunk.negated));
    }
    addTotal(total, chunk);
  }
  for (int some = threads / 2; some >= across; some /= 2) {
    sums[thread] = sum;
    totals[thread] = total;
    __syncthreads();
    if (thread < some) {
      addScaled(sum, sums[thread + some], 1);
      addTotal(total, totals[thread + some]);
    }
    __syncthreads();
  }
  if (thread >= across) return;

  const RowSoftmax softmax{total.negated, total.sum};
  const RowTotal whole(softmax, p.sinks == nullptr ? -INFINITY : p.sinks[head], p.naturalScale);
  const float factor = whole.kept * whole.inverse;
  const int64_t element =
      sequence.batch * p.outputRows.batch + head * p.outputRows.head + (sequence.firstQuery + row) * p.outputRows.row;
  if (four < fours) {
    const auto low = rounded(Type(), sum.x * factor, sum.y * factor),
               high = rounded(Type(), sum.z * factor, sum.w * factor);
    struct alignas(4 * Type::bytes) Pairs {  // written at once
      decltype(rounded(Type(), 0.f, 0.f)) low, high;
    };
    unsigned char* const to = static_cast<unsigned char*>(p.output) + (element + 4 * four) * Type::bytes;
    *reinterpret_cast<Pairs*>(to) = {low, high};
  }
  if (thread > 0) return;
  const int64_t statistic =
      (static_cast<int64_t>(sequence.batch) * p.headsQ + head) * p.statisticRows + sequence.firstQuery + row;
  const RowMoments moments{total.moment, total.largest};
  if (p.lse != nullptr) p.lse[statistic] = whole.lse;
  if (p.entropy != nullptr) p.entropy[statistic] = moments.entropy(softmax, whole);
  if (p.rowMax != nullptr) p.rowMax[statistic] = moments.maximum(softmax, finishedScale(p));
}

}  // namespace fused_attention::cuda
