// softmax(scale · q kᵀ) v of 128 queries of a head and the keys that they see, in tiles of 64. Scores, weights and
// outputs of a warp's queries stay in registers; tiles of keys and values are shared by all, the next one on its way
// while one is used. What a row sees is a range of keys, and nothing is known of where that comes from.
#include "forward_parameters.h"
#include "instructions.cuh"
#include "softmax.cuh"
#include "tiles.cuh"

namespace fused_attention::cuda {

namespace {

__device__ __forceinline__ KeyRange keysOf(const ForwardParameters& p, int firstRow, int lastRow) {
  return {min(max(firstRow + p.firstKey, 0), p.keys), min(max(lastRow + p.endKey, 0), p.keys)};
}

/// The keys that the rows of a lane see, and what that means for its warp.
template <int rowsOfLane>
struct WarpKeys {
  KeyRange rows[rowsOfLane];
  int first, end;        // of the keys that any row sees
  int allFirst, allEnd;  // of those that every row sees

  __device__ __forceinline__ WarpKeys(const ForwardParameters& p, const KeyRange* rowKeys, int firstRow) {
    first = allEnd = p.keys;
    end = allFirst = 0;
    for (int n = 0; n < rowsOfLane; ++n) {
      const int row = firstRow + 8 * n;
      if (row >= p.queries) {  // is not written: it may see anything
        rows[n] = {0, p.keys};
        continue;
      }
      rows[n] = rowKeys == nullptr ? keysOf(p, row, row) : rowKeys[row];
      first = min(first, rows[n].begin);
      end = max(end, rows[n].end);
      allFirst = max(allFirst, rows[n].begin);
      allEnd = min(allEnd, rows[n].end);
    }
    for (int lanes = 4; lanes < 32; lanes *= 2) {
      first = min(first, __shfl_xor_sync(0xffffffffu, first, lanes));
      end = max(end, __shfl_xor_sync(0xffffffffu, end, lanes));
      allFirst = max(allFirst, __shfl_xor_sync(0xffffffffu, allFirst, lanes));
      allEnd = min(allEnd, __shfl_xor_sync(0xffffffffu, allEnd, lanes));
    }
  }

  __device__ __forceinline__ bool seesSome(int key) const { return key < end && key + kTileKeys > first; }
  __device__ __forceinline__ bool seesAll(int key) const { return key >= allFirst && key + kTileKeys <= allEnd; }
};

/// The queries of a warp, in parts of 16 rows, of which a lane has rows lane / 4 and lane / 4 + 8.
template <class Half, int dim>
class WarpQueries {
 public:
  static constexpr int warpRows = forwardWarpQueries(dim), parts = warpRows / 16;
  using Keys = WarpKeys<2 * parts>;

  /// Reads the warp's rows of the tile of queries at `queries`.
  __device__ __forceinline__ void load(uint32_t queries, uint32_t flip) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    keyAt_ = Tile<dim>::offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
    valueAt_ = Tile<dim>::offset(lane % 16, lane / 16);
    // Else they are worked out anew for every tile.
    asm volatile("" : "+r"(keyAt_), "+r"(valueAt_));
    queries += warp * Tile<dim>::bytesOf(warpRows) + valueAt_;
    unrolled<parts>([&](auto part) {
      unrolled<steps>([&](auto k) {
        loadMatrices<Tile<dim>::bytesOf(16 * part)>(query_[part][k], Tile<dim>::along(queries, 2 * k));
        for (int n = 0; n < 4; ++n) query_[part][k][n] ^= flip;
      });
    });
  }

  /// Takes in the tile of keys and values at `keys` and `values`, the first one being key number `first`.
  __device__ __forceinline__ void attend(uint32_t keys, uint32_t values, int first, const Keys& seen, float scale) {
    float scores[parts][tiles][4];
    multiplyKeys(scores, keys);
    if (!seen.seesAll(first)) hide(scores, first, seen);

    float best[parts][2];
    bool exceeded = false;
    unrolled<parts>([&](auto part) {
      for (int half = 0; half < 2; ++half) {
        float& most = best[part][half];
        most = fmaxf(scores[part][0][2 * half], scores[part][0][2 * half + 1]);
        for (int n = 1; n < tiles; ++n) {
          most = fmaxf(most, fmaxf(scores[part][n][2 * half], scores[part][n][2 * half + 1]));
        }
        exceeded |= softmax_[part][half].exceededBy(most, scale);
      }
    });
    if (__any_sync(0xffffffffu, exceeded)) {
      unrolled<parts>([&](auto part) {
        for (int half = 0; half < 2; ++half) {
          const float factor = softmax_[part][half].raise(best[part][half], scale);
          for (auto& sums : output_[part]) {
            sums[2 * half] *= factor;
            sums[2 * half + 1] *= factor;
          }
        }
      });
    }
    unrolled<parts>([&](auto part) {
      for (auto& tile : scores[part]) {
        for (int i = 0; i < 4; ++i) tile[i] = softmax_[part][i / 2].weigh(tile[i], scale);
      }
    });
    multiplyValues(scores, values);
  }

  /// Writes outputs and statistics of the warp's rows, through its part of the shared memory at `staging`.
  __device__ __forceinline__ void write(const ForwardParameters& p, uint16_t* output, float* lse, int firstRow,
                                        unsigned char* staging) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    staging += warp * Tile<dim>::bytesOf(warpRows);
    const uint32_t at = Tile<dim>::offset(lane / 4, 0) + lane % 4 * 4;
    unrolled<parts>([&](auto part) {
      for (int half = 0; half < 2; ++half) {
        const int local = 16 * part + 8 * half, row = firstRow + lane / 4 + local;
        RowSoftmax& softmax = softmax_[part][half];
        softmax.finish();
        const float inverse = softmax.inverse();
        for (int n = 0; n < dim / 8; ++n) {
          const float(&sums)[4] = output_[part][n];
          *reinterpret_cast<uint32_t*>(staging + Tile<dim>::along(at, n) + Tile<dim>::bytesOf(local)) =
              rounded(Half(), sums[2 * half] * inverse, sums[2 * half + 1] * inverse);
        }
        if (lse != nullptr && lane % 4 == 0 && row < p.queries) lse[row] = softmax.lse();
      }
    });
    __syncwarp();
    constexpr int pieces = Tile<dim>::pieces;
    for (int local = lane / pieces; local < warpRows; local += 32 / pieces) {
      const int piece = lane % pieces, row = firstRow + local;
      if (row >= p.queries || 8 * piece >= p.dimV) continue;
      *reinterpret_cast<uint4*>(output + row * p.outputRows.row + 8 * piece) =
          *reinterpret_cast<const uint4*>(staging + Tile<dim>::offset(local, piece));
    }
  }

 private:
  static constexpr int tiles = kTileKeys / 8;  // accumulators of scores, each of 8 keys
  static constexpr int steps = dim / 16;       // of components that are multiplied at a time

  __device__ __forceinline__ void multiplyKeys(float (&scores)[parts][tiles][4], uint32_t keys) const {
    const float zero[4] = {};
    unrolled<steps>([&](auto k) {
      const uint32_t at = Tile<dim>::along(keys + keyAt_, 2 * k);
      unrolled<tiles / 2>([&](auto pair) {
        uint32_t key[4];
        loadMatrices<Tile<dim>::bytesOf(16 * pair)>(key, at);
        for (int part = 0; part < parts; ++part) {
          for (int n = 0; n < 2; ++n) {
            float(&sums)[4] = scores[part][2 * pair + n];
            const float(&before)[4] = k == 0 ? zero : const_cast<const float(&)[4]>(sums);
            multiply(Half(), sums, query_[part][k], key[2 * n], key[2 * n + 1], before);
          }
        }
      });
    });
  }

  __device__ __forceinline__ void multiplyValues(const float (&weights)[parts][tiles][4], uint32_t values) {
    uint32_t rows[parts][tiles / 2][4];
    unrolled<parts>([&](auto part) {
      for (int pair = 0; pair < tiles / 2; ++pair) {
        for (int n = 0; n < 4; ++n) {
          const float(&w)[4] = weights[part][2 * pair + n / 2];
          rows[part][pair][n] = rounded(Half(), w[n % 2 * 2], w[n % 2 * 2 + 1]);
        }
      }
    });
    unrolled<steps>([&](auto d) {
      const uint32_t at = Tile<dim>::along(values + valueAt_, 2 * d);
      unrolled<tiles / 2>([&](auto pair) {
        uint32_t value[4];
        loadTransposed<Tile<dim>::bytesOf(16 * pair)>(value, at);
        for (int part = 0; part < parts; ++part) {
          for (int n = 0; n < 2; ++n) {
            float(&sums)[4] = output_[part][2 * d + n];
            multiply(Half(), sums, rows[part][pair], value[2 * n], value[2 * n + 1], sums);
          }
        }
      });
    });
  }

  static __device__ __forceinline__ void hide(float (&scores)[parts][tiles][4], int first, const Keys& seen) {
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

  uint32_t query_[parts][steps][4];
  uint32_t keyAt_, valueAt_;  // where in a tile the lane reads first
  float output_[parts][dim / 8][4] = {};
  RowSoftmax softmax_[parts][2];
};

template <class Half, int dim>
__device__ __forceinline__ void forward(const ForwardParameters& p) {
  using Queries = WarpQueries<Half, dim>;
  constexpr int threads = forwardThreads(dim);
  extern __shared__ __align__(256) unsigned char shared[];
  constexpr int tensorBytes = Tile<dim>::bytesOf(kTileKeys), stageBytes = 2 * tensorBytes;
  static_assert(stageBytes == Tile<dim>::bytesOf(kBlockQueries) && 2 * stageBytes == forwardSharedBytes(dim));
  const uint32_t stages = sharedAddress(shared);

  // Blocks of queries come last first: where rows see what is before them, the longest ones.
  const int heads = p.headsQ * p.batch, block = p.queryBlocks - 1 - static_cast<int>(blockIdx.x) / heads;
  const int b = static_cast<int>(blockIdx.x) % heads / p.headsQ, h = static_cast<int>(blockIdx.x) % p.headsQ;
  const int firstRow = block * kBlockQueries,
            firstWarpRow = firstRow + static_cast<int>(threadIdx.x) / 32 * Queries::warpRows;
  const KeyRange keys = p.blockKeys == nullptr ? keysOf(p, firstRow, min(firstRow + kBlockQueries, p.queries) - 1)
                                               : p.blockKeys[b * p.blockKeysBatch + block];
  const int firstTile = keys.begin / kTileKeys * kTileKeys;

  const int hkv = h / p.groupSize;
  TileCopy<dim, kTileKeys, threads> copyKeys(p.key + b * p.keyRows.batch + hkv * p.keyRows.head, p.keyRows.row, p.dimQk,
                                             firstTile);
  TileCopy<dim, kTileKeys, threads> copyValues(p.value + b * p.valueRows.batch + hkv * p.valueRows.head,
                                               p.valueRows.row, p.dimV, firstTile);
  const auto fetch = [&](uint32_t stage, int first) {
    if (keys.begin <= first && first + kTileKeys <= keys.end) {
      copyKeys.copy(stage);
      copyValues.copy(stage + tensorBytes);
    } else {
      copyKeys.copyInside(stage, first, keys.begin, keys.end);
      copyValues.copyInside(stage + tensorBytes, first, keys.begin, keys.end);
    }
    commitCopies();
  };

  // Queries are read through the second stage, before it has a tile.
  TileCopy<dim, kBlockQueries, threads> copyQueries(p.query + b * p.queryRows.batch + h * p.queryRows.head,
                                                    p.queryRows.row, p.dimQk, firstRow);
  copyQueries.copyInside(stages + stageBytes, firstRow, 0, p.queries);
  commitCopies();
  fetch(stages, firstTile);
  const KeyRange* const rowKeys = p.rowKeys == nullptr ? nullptr : p.rowKeys + b * p.rowKeysBatch;
  const typename Queries::Keys seen(p, rowKeys, firstWarpRow + static_cast<int>(threadIdx.x) % 32 / 4);
  awaitCopies<1>();
  __syncthreads();
  Queries queries;
  queries.load(stages + stageBytes, p.queryFlip);

  uint32_t stage = stages, other = stages + stageBytes;
  for (int first = firstTile; first < keys.end; first += kTileKeys) {
    awaitCopies<0>();
    __syncthreads();  // the tile has come, and nobody reads the other stage any more
    if (first + kTileKeys < keys.end) fetch(other, first + kTileKeys);
    if (seen.seesSome(first)) queries.attend(stage, stage + tensorBytes, first, seen, p.scale);
    const uint32_t used = stage;
    stage = other;
    other = used;
  }
  awaitCopies<0>();
  __syncthreads();
  const int64_t row = static_cast<int64_t>(b * p.headsQ + h) * p.queries;
  queries.write(p, p.output + b * p.outputRows.batch + h * p.outputRows.head, p.lse == nullptr ? nullptr : p.lse + row,
                firstWarpRow, shared);
}

}  // namespace

#define FUSED_ATTENTION_FORWARD(name, Half, dim)                    \
  extern "C" __global__ void __launch_bounds__(forwardThreads(dim)) \
      name(const __grid_constant__ ForwardParameters parameters) {  \
    forward<Half, dim>(parameters);                                 \
  }
FUSED_ATTENTION_FORWARD(forward_f16_64, Float16, 64)
FUSED_ATTENTION_FORWARD(forward_bf16_64, BFloat16, 64)
FUSED_ATTENTION_FORWARD(forward_f16_128, Float16, 128)
FUSED_ATTENTION_FORWARD(forward_bf16_128, BFloat16, 128)

}  // namespace fused_attention::cuda
