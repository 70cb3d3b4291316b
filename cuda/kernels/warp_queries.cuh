// What the queries of a warp make of tiles of keys and values: scores, weights and outputs, which stay in registers,
// and what scores get added or lose besides. What a row sees is a range of keys, or bits.
#pragma once

#include <type_traits>

#include "forward_parameters.h"
#include "instructions.cuh"
#include "products.cuh"
#include "seen.cuh"
#include "softmax.cuh"
#include "tiles.cuh"

namespace fused_attention::cuda {

/// From scores as they are finished to base 2.
__device__ __forceinline__ float finishedScale(const ForwardParameters& p) {
  return p.bias.data != nullptr ? 1.f : p.scale;
}

/// The queries of a warp, in parts of 16 rows, of which a lane has rows lane / 4 and lane / 4 + 8.
/// `held`: registers have room for them. `general`: scores may have a softcap, and results an entropy and a maximum.
template <class Type, int dim, int tileKeys, int warpQueries, bool held, bool general>
class WarpQueries {
 public:
  static constexpr int warpRows = warpQueries, parts = warpRows / 16;
  using Keys = WarpKeys<2 * parts>;
  using Products = cuda::Products<Type, dim, tileKeys, parts, held>;
  using Rows = typename Products::Rows;

  /// Reads them from shared memory at `queries`.
  __device__ __forceinline__ void load(uint32_t queries, uint32_t flip) { products_.load(queries, flip); }

  /// Takes in the tile of keys and values at `keys` and `values`. `finish(scores)` adds a bias, which takes scores to
  /// base 2, and makes those -inf that are not seen.
  template <class Finish>
  __device__ __forceinline__ void attend(const ForwardParameters& p, uint32_t keys, uint32_t values, Finish finish) {
    const float scale = scaleOf(p);
    float scores[parts][tiles][4];
    if (Products::isStep(p.dimQk)) {
      products_.scoresOfStep(scores, keys);
    } else {
      products_.scores(scores, keys);
    }
    if constexpr (general) {
      if (p.softcapScale != 0) {
        each(scores, [&](float& score, RowSoftmax&, RowMoments&) { score = tanhf(score * p.softcapScale); });
      }
    }
    finish(scores);

    float best[parts][2];
    bool exceeded = false;
    unrolled<parts>([&](auto part) {
      for (int half = 0; half < 2; ++half) {
        float& most = best[part][half];
        most = fmaxf(scores[part][0][2 * half], scores[part][0][2 * half + 1]);
        for (int n = 1; n < tiles; ++n) {
          most = fmaxf(most, fmaxf(scores[part][n][2 * half], scores[part][n][2 * half + 1]));
        }
        if constexpr (general) moments_[part][half].largest = fmaxf(moments_[part][half].largest, most);
        exceeded |= softmax_[part][half].exceededBy(most, scale);
      }
    });
    if (__any_sync(0xffffffffu, exceeded)) raise(best, scale);
    weigh(scores, scale, p.entropy != nullptr);
    products_.outputs(output_, scores, values);
  }

  /// Outputs that are only sums, of row `local` of the warp's and component 2 * (lane % 4) + 8 n: f(n, first of two).
  /// And what the row comes to.
  template <class Sums, class Totals>
  __device__ __forceinline__ void handOver(Sums sums, Totals totals) const {
    unrolled<parts>([&](auto part) {
      for (int half = 0; half < 2; ++half) {
        const int local = threadIdx.x % 32 / 4 + 16 * part + 8 * half;
        for (int n = 0; n < Products::outputTiles; ++n) {
          const float(&both)[4] = output_[part][n];
          sums(local, n, make_float2(both[2 * half], both[2 * half + 1]));
        }
        totals(local, softmax_[part][half].joined(), moments_[part][half].joined());
      }
    });
  }

  /// Writes outputs and statistics of the warp's rows, through its part of the shared memory at `staging`.
  __device__ __forceinline__ void write(const ForwardParameters& p, const SequenceRows& sequence, int head,
                                        int firstRow, unsigned char* staging) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    staging += warp * Rows::bytesOf(warpRows);
    constexpr int pairBytes = 2 * Type::bytes, piecesOfTile = 8 * Type::bytes / 16;
    const uint32_t at = Rows::offset(lane / 4, lane % 4 * pairBytes / 16) + lane % 4 * pairBytes % 16;
    const float sink = p.sinks == nullptr ? -INFINITY : p.sinks[head];
    const int64_t statistics =
        (static_cast<int64_t>(sequence.batch) * p.headsQ + head) * p.statisticRows + sequence.firstQuery;
    unrolled<parts>([&](auto part) {
      for (int half = 0; half < 2; ++half) {
        const int local = 16 * part + 8 * half, row = firstRow + lane / 4 + local;
        const RowSoftmax softmax = softmax_[part][half].joined();
        const RowTotal total(softmax, sink, p.naturalScale);
        const float factor = total.kept * total.inverse;
        for (int n = 0; n < Products::outputTiles; ++n) {
          const float(&sums)[4] = output_[part][n];
          const auto pair = rounded(Type(), sums[2 * half] * factor, sums[2 * half + 1] * factor);
          static_assert(sizeof(pair) == pairBytes);
          unsigned char* const to = staging + Rows::along(at, n * piecesOfTile) + Rows::bytesOf(local);
          *reinterpret_cast<std::remove_const_t<decltype(pair)>*>(to) = pair;
        }
        // Of rows that pad a sequence, sinks are no part.
        const bool padding = row >= sequence.queries, writes = lane % 4 == 0 && row < sequence.written;
        if (p.lse != nullptr && writes) p.lse[statistics + row] = padding ? -INFINITY : total.lse;
        if constexpr (general) {
          const RowMoments moments = moments_[part][half].joined();
          const float entropy = moments.entropy(softmax, total), maximum = moments.maximum(softmax, scaleOf(p));
          if (p.entropy != nullptr && writes) p.entropy[statistics + row] = entropy;
          if (p.rowMax != nullptr && writes) p.rowMax[statistics + row] = maximum;
        }
      }
    });
    __syncwarp();
    const int64_t rowElements = p.outputRows.row, element = sequence.batch * p.outputRows.batch +
                                                            head * p.outputRows.head +
                                                            (sequence.firstQuery + firstRow) * rowElements;
    unsigned char* const output = static_cast<unsigned char*>(p.output) + element * Type::bytes;
    constexpr int pieces = Rows::pieces;
    for (int n = lane; n < warpRows * pieces; n += 32) {
      const int local = n / pieces, piece = n % pieces;
      if (firstRow + local >= sequence.written || 16 * piece >= p.dimV * Type::bytes) continue;
      *reinterpret_cast<uint4*>(output + local * rowElements * Type::bytes + 16 * piece) =
          *reinterpret_cast<const uint4*>(staging + Rows::offset(local, piece));
    }
  }

 private:
  static constexpr int tiles = Products::scoreTiles;

  static __device__ __forceinline__ float scaleOf(const ForwardParameters& p) {
    return general ? finishedScale(p) : p.scale;
  }

  __device__ __forceinline__ void raise(const float (&best)[parts][2], float scale) {
    unrolled<parts>([&](auto part) {
      for (int half = 0; half < 2; ++half) {
        RowSoftmax& softmax = softmax_[part][half];
        [[maybe_unused]] const RowSoftmax before = softmax;
        const float factor = softmax.raise(best[part][half], scale);
        if constexpr (general) {
          moments_[part][half].rescale(before.sum, softmax.negated - before.negated, factor);
        }
        for (auto& sums : output_[part]) {
          sums[2 * half] *= factor;
          sums[2 * half + 1] *= factor;
        }
      }
    });
  }

  /// f(score, softmax and moments of its row) of each score.
  template <class F>
  __device__ __forceinline__ void each(float (&scores)[parts][tiles][4], F f) {
    unrolled<parts>([&](auto part) {
      unrolled<tiles>([&](auto n) {
        unrolled<4>([&](auto i) { f(scores[part][n][i], softmax_[part][i / 2], moments_[part][i / 2]); });
      });
    });
  }

  /// Scores become weights.
  __device__ __forceinline__ void weigh(float (&scores)[parts][tiles][4], float scale, bool moments) {
    if constexpr (general) {
      if (moments) {
        return each(scores, [&](float& score, RowSoftmax& softmax, RowMoments& sums) {
          const float exponent = softmax.exponent(score, scale);
          score = softmax.weigh(exponent);
          sums.add(score, exponent);
        });
      }
    }
    each(scores, [&](float& score, RowSoftmax& softmax, RowMoments&) {
      score = softmax.weigh(softmax.exponent(score, scale));
    });
  }

  Products products_;
  float output_[parts][Products::outputTiles][4] = {};
  RowSoftmax softmax_[parts][2];
  RowMoments moments_[parts][2];
};

/// Of the tile that begins with key number `first`; the lane's queries are queryOf(n).
template <int parts, int tiles, class QueryOf>
__device__ __forceinline__ void addBias(float (&scores)[parts][tiles][4], const ForwardParameters& p,
                                        const SequenceRows& s, const QueryOf& queryOf, int first) {
  const int column = first + threadIdx.x % 4 * 2;
  unrolled<2 * parts>([&](auto half) {
    const Query query = queryOf(half);
    const bool there = query.row < s.queries;
    const float* const from = p.bias.data + s.batch * p.bias.batch + query.head * p.bias.head + query.row * p.bias.row;
    for (int n = 0; n < tiles; ++n) {
      for (int i = 0; i < 2; ++i) {
        const int key = column + 8 * n + i;
        float& score = scores[half / 2][n][half % 2 * 2 + i];
        const float bias = there && key < s.keys ? from[key * p.bias.column] : 0;
        score = fmaf(score, p.scale, bias * RowTotal::kLog2e);
      }
    }
  });
}

/// Of a tile that begins with key number `first`.
template <int parts, int tiles>
__device__ __forceinline__ void hide(float (&scores)[parts][tiles][4], int first, const WarpKeys<2 * parts>& seen) {
  if (seen.seesAll(first, 8 * tiles)) return;
  // Else this would be no branch, but selections in every tile.
  asm volatile("");
  const int column = first + threadIdx.x % 4 * 2;
  unrolled<parts>([&](auto part) {
    for (int n = 0; n < tiles; ++n) {
      for (int i = 0; i < 4; ++i) {
        const int key = column + 8 * n + i % 2;
        const KeyRange& keys = seen.rows[2 * part + i / 2];
        if (key < keys.begin || key >= keys.end) scores[part][n][i] = -INFINITY;
      }
    }
  });
}

template <int parts, int tiles>
__device__ __forceinline__ void hide(float (&scores)[parts][tiles][4], const WarpBits<2 * parts, 8 * tiles>& seen) {
  if (seen.seesAll()) return;
  asm volatile("");
  unrolled<parts>([&](auto part) {
    for (int half = 0; half < 2; ++half) {
      const TileBits<8 * tiles> row = seen.rows[2 * part + half] >> threadIdx.x % 4 * 2;
      for (int n = 0; n < tiles; ++n) {
        for (int i = 0; i < 2; ++i) {
          if ((row >> (8 * n + i) & 1) == 0) scores[part][n][2 * half + i] = -INFINITY;
        }
      }
    }
  });
}

}  // namespace fused_attention::cuda
