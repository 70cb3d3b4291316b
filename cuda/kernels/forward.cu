// softmax(scale · q kᵀ) v of a block of queries of a head and the keys that they see, in tiles. Scores, weights and
// outputs of a warp's queries stay in registers; tiles of keys and values are shared by all, the next one on its way
// while one is used. What a row sees is a range of keys, or bits, and nothing is known of where that comes from.
#include <type_traits>

#include "forward_parameters.h"
#include "instructions.cuh"
#include "products.cuh"
#include "seen.cuh"
#include "softmax.cuh"
#include "tiles.cuh"

namespace fused_attention::cuda {

namespace {

/// The queries of a warp, in parts of 16 rows, of which a lane has rows lane / 4 and lane / 4 + 8.
/// `general`: scores may have a softcap, and results an entropy and a maximum.
template <class Type, int dim, bool general>
class WarpQueries {
 public:
  static constexpr ForwardShape shape = forwardShape(Type::bytes, dim, general);
  static constexpr int warpRows = shape.warpQueries, parts = warpRows / 16;
  using Keys = WarpKeys<2 * parts>;
  using Products = cuda::Products<Type, dim, shape.tileKeys, parts, shape.queriesHeld>;
  using Rows = typename Products::Rows;
  using Scores = float[parts][Products::scoreTiles][4];

  __device__ __forceinline__ void load(uint32_t queries, uint32_t flip) { products_.load(queries, flip); }

  /// Takes in the tile of keys and values at `keys` and `values`. `finish(scores)` adds a bias, which takes scores to
  /// base 2, and makes those -inf that are not seen.
  template <class Finish>
  __device__ __forceinline__ void attend(const ForwardParameters& p, uint32_t keys, uint32_t values, Finish finish) {
    const float scale = scaleOf(p);
    float scores[parts][tiles][4];
    products_.scores(scores, keys);
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

  /// Writes outputs and statistics of the warp's rows, through its part of the shared memory at `staging`.
  __device__ __forceinline__ void write(const ForwardParameters& p, const SequenceRows& sequence, int head,
                                        int firstRow, unsigned char* staging) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    staging += warp * Rows::bytesOf(warpRows);
    constexpr int pairBytes = 2 * Type::bytes, piecesOfTile = 8 * Type::bytes / 16;
    const uint32_t at = Rows::offset(lane / 4, lane % 4 * pairBytes / 16) + lane % 4 * pairBytes % 16;
    const float sink = p.sinks == nullptr ? -INFINITY : p.sinks[head];
    const int64_t statistics =
        static_cast<int64_t>(sequence.batch * p.headsQ + head) * p.statisticRows + sequence.firstQuery;
    unrolled<parts>([&](auto part) {
      for (int half = 0; half < 2; ++half) {
        const int local = 16 * part + 8 * half, row = firstRow + lane / 4 + local;
        RowSoftmax& softmax = softmax_[part][half];
        const RowTotal total(softmax, sink);
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
          const float entropy = moments_[part][half].entropy(softmax, total);
          const float maximum = moments_[part][half].maximum(softmax, scaleOf(p));
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

  /// From scores as they are finished to base 2.
  static __device__ __forceinline__ float scaleOf(const ForwardParameters& p) {
    return general && p.bias.data != nullptr ? 1.f : p.scale;
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

/// Of the tile that begins with key number `first`; the lane's first row is `row`.
template <int parts, int tiles>
__device__ __forceinline__ void addBias(float (&scores)[parts][tiles][4], const ForwardParameters& p,
                                        const SequenceRows& s, int head, int row, int first) {
  const int column = first + threadIdx.x % 4 * 2;
  const float* const line = p.bias.data + s.batch * p.bias.batch + head * p.bias.head;
  unrolled<2 * parts>([&](auto half) {
    const bool there = row + 8 * half < s.queries;
    const float* const from = line + (row + 8 * half) * p.bias.row;
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

template <class Type, int dim, bool general>
__device__ __forceinline__ void forward(const ForwardParameters& p) {
  using Queries = WarpQueries<Type, dim, general>;
  using Rows = typename Queries::Rows;
  constexpr ForwardShape shape = Queries::shape;
  constexpr int tileKeys = shape.tileKeys, blockQueries = shape.blockQueries, threads = shape.threads();
  constexpr int rowBytes = shape.rowBytes, stageBytes = shape.stageBytes(), tensorBytes = stageBytes / 2;
  static_assert(!shape.queriesHeld || stageBytes >= Rows::bytesOf(blockQueries));
  extern __shared__ __align__(1024) unsigned char shared[];
  const uint32_t stages = sharedAddress(shared);

  const int block = static_cast<int>(blockIdx.x) / p.headsQ, head = static_cast<int>(blockIdx.x) % p.headsQ;
  const int warpRow = static_cast<int>(threadIdx.x) / 32 * Queries::warpRows;
  const QueryBlock at = queriesOf(p, block, blockQueries);
  const SequenceRows sequence = sequenceOf(p, at.sequence);
  const KeyRange keys = at.keys;
  const int firstTile = keys.begin / tileKeys * tileKeys;

  const auto rowsOf = [&](const void* base, const RowStrides& rows, int h, int firstRow) {
    const int64_t element = sequence.batch * rows.batch + h * rows.head + firstRow * rows.row;
    return static_cast<const unsigned char*>(base) + element * Type::bytes;
  };
  const int hkv = head / p.groupSize;
  TileCopy<rowBytes, tileKeys, threads> copyKeys(rowsOf(p.key, p.keyRows, hkv, sequence.firstKey),
                                                 p.keyRows.row * Type::bytes, p.dimQk * Type::bytes, firstTile);
  TileCopy<rowBytes, tileKeys, threads> copyValues(rowsOf(p.value, p.valueRows, hkv, sequence.firstKey),
                                                   p.valueRows.row * Type::bytes, p.dimV * Type::bytes, firstTile);
  // Where pairs have bits, tiles are left out that nobody sees.
  const bool masked = general && p.bits.rows != nullptr;
  const uint32_t blockAt = masked ? blockWords(sequence, head, at.firstRow / blockQueries) : 0;
  const auto seenBySome = [&](int first) { return bitsOf<tileKeys>(p.bits.blocks + blockAt, first); };
  const auto nextTile = [&](int first) {
    while (masked && first < keys.end && seenBySome(first) == 0) first += tileKeys;
    return first;
  };
  int copied = firstTile;
  const auto fetch = [&](uint32_t stage, int first) {
    if (masked) {
      const TileBits<tileKeys> there = seenBySome(first);
      copyKeys.skip(first - copied);
      copyValues.skip(first - copied);
      copyKeys.copySome(stage, there);
      copyValues.copySome(stage + tensorBytes, there);
      copied = first + tileKeys;
    } else if (keys.begin <= first && first + tileKeys <= keys.end) {
      copyKeys.copy(stage);
      copyValues.copy(stage + tensorBytes);
    } else {
      copyKeys.copyInside(stage, first, keys.begin, keys.end);
      copyValues.copyInside(stage + tensorBytes, first, keys.begin, keys.end);
    }
    commitCopies();
  };

  const uint32_t queryStage = stages + (shape.queriesHeld ? stageBytes : 2 * stageBytes);
  TileCopy<rowBytes, blockQueries, threads> copyQueries(rowsOf(p.query, p.queryRows, head, sequence.firstQuery),
                                                        p.queryRows.row * Type::bytes, p.dimQk * Type::bytes,
                                                        at.firstRow);
  copyQueries.copyInside(queryStage, at.firstRow, 0, sequence.queries);
  commitCopies();
  int first = nextTile(firstTile);
  if (first < keys.end) {
    fetch(stages, first);
  } else {
    commitCopies();  // none, so that queries are waited for below as ever
  }
  const int firstRow = at.firstRow + warpRow + static_cast<int>(threadIdx.x) % 32 / 4;
  const typename Queries::Keys seen(p, sequence, firstRow);
  WarpBits<2 * Queries::parts, tileKeys> bits(sequence, head, firstRow);
  awaitCopies<1>();
  __syncthreads();
  Queries queries;
  queries.load(queryStage, p.queryFlip);

  uint32_t stage = stages, other = stages + stageBytes;
  while (first < keys.end) {
    awaitCopies<0>();
    __syncthreads();  // the tile has come, and nobody reads the other stage any more
    const int next = nextTile(first + tileKeys);
    if (next < keys.end) fetch(other, next);
    if (masked) bits.lookUp(p.bits, first);
    if (masked ? bits.seesSome() : seen.seesSome(first, tileKeys)) {
      queries.attend(p, stage, stage + tensorBytes, [&](auto& scores) {
        if constexpr (general) {
          if (p.bias.data != nullptr) addBias(scores, p, sequence, head, firstRow, first);
        }
        if (masked) {
          hide(scores, bits);
        } else {
          hide(scores, first, seen);
        }
      });
    }
    const uint32_t used = stage;
    stage = other;
    other = used;
    first = next;
  }
  awaitCopies<0>();
  __syncthreads();
  // Looked up once more, rather than kept in registers all the while.
  const QueryBlock again = queriesOf(p, block, blockQueries);
  queries.write(p, sequenceOf(p, again.sequence), head, again.firstRow + warpRow, shared);
}

}  // namespace

#define FUSED_ATTENTION_FORWARD(name, Type, dim, general)                                         \
  extern "C" __global__ void __launch_bounds__(forwardShape(Type::bytes, dim, general).threads()) \
      name(const __grid_constant__ ForwardParameters parameters) {                                \
    forward<Type, dim, general>(parameters);                                                      \
  }
FUSED_ATTENTION_FORWARD(forward_f16_64, Float16, 64, false)
FUSED_ATTENTION_FORWARD(forward_bf16_64, BFloat16, 64, false)
FUSED_ATTENTION_FORWARD(forward_f16_128, Float16, 128, false)
FUSED_ATTENTION_FORWARD(forward_bf16_128, BFloat16, 128, false)
FUSED_ATTENTION_FORWARD(forward_f16_64_general, Float16, 64, true)
FUSED_ATTENTION_FORWARD(forward_bf16_64_general, BFloat16, 64, true)
FUSED_ATTENTION_FORWARD(forward_f16_128_general, Float16, 128, true)
FUSED_ATTENTION_FORWARD(forward_bf16_128_general, BFloat16, 128, true)
FUSED_ATTENTION_FORWARD(forward_f16_256_general, Float16, 256, true)
FUSED_ATTENTION_FORWARD(forward_bf16_256_general, BFloat16, 256, true)
FUSED_ATTENTION_FORWARD(forward_f32_64_general, Float32, 64, true)
FUSED_ATTENTION_FORWARD(forward_f32_128_general, Float32, 128, true)

}  // namespace fused_attention::cuda
