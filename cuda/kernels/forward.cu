// softmax(scale · q kᵀ) v of a block of queries of a head and the keys that they see, in tiles. Scores, weights and
// outputs of a warp's queries stay in registers; tiles of keys and values are shared by all, the next one on its way
// while one is used. What a row sees is a range of keys, or bits, and nothing is known of where that comes from.
#include "decode.cuh"
#include "forward_parameters.h"
#include "instructions.cuh"
#include "seen.cuh"
#include "tiles.cuh"
#include "warp_queries.cuh"

namespace fused_attention::cuda {

namespace {

template <class Type, int dim, bool general>
__device__ __forceinline__ void forward(const ForwardParameters& p) {
  constexpr ForwardShape shape = forwardShape(Type::bytes, dim, general);
  using Queries = WarpQueries<Type, dim, shape.tileKeys, shape.warpQueries, shape.queriesHeld, general>;
  using Rows = typename Queries::Rows;
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
  const bool masked = general && p.bits.rows != nullptr, paged = general && p.pages.table != nullptr;
  const uint32_t blockAt = masked ? blockWords(sequence, head, at.firstRow / blockQueries) : 0;
  const auto seenBySome = [&](int first) { return bitsOf<tileKeys>(p.bits.blocks + blockAt, first); };
  const auto nextTile = [&](int first) {
    while (masked && first < keys.end && seenBySome(first) == 0) first += tileKeys;
    return first;
  };
  int copied = firstTile;
  const auto fetch = [&](uint32_t stage, int first) {
    if (paged) {
      const TileBits<tileKeys> there = masked ? seenBySome(first) : bitsOf<tileKeys>(keys, first);
      // Looked up for every tile, rather than kept in registers all the while.
      int unit = static_cast<int>(blockIdx.x);
      asm volatile("" : "+r"(unit));
      const SequenceRows rows = sequenceOf(p, queriesOf(p, unit / p.headsQ, blockQueries).sequence);
      const int group = unit % p.headsQ / p.groupSize;
      constexpr int atATime = shape.queriesHeld ? 2 : 1;
      copyKeys.template copyFrom<atATime>(stage, there,
                                          TilePlaces({p, rows, p.key, p.keyRows, group, Type::bytes}, first));
      copyValues.template copyFrom<atATime>(stage + tensorBytes, there,
                                            TilePlaces({p, rows, p.value, p.valueRows, group, Type::bytes}, first));
    } else if (masked) {
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
  const QueriesOfHead queryOf{at.firstRow + warpRow + static_cast<int>(threadIdx.x) % 32 / 4, head};
  typename Queries::Keys seen(p, sequence, queryOf);
  seen.joinSome();
  WarpBits<2 * Queries::parts, tileKeys> bits(sequence, queryOf);
  awaitCopies<1>();
  __syncthreads();
  Queries queries;
  queries.load(queryStage + Rows::bytesOf(warpRow), p.queryFlip);

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
          if (p.bias.data != nullptr) addBias(scores, p, sequence, queryOf, first);
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

#define FUSED_ATTENTION_DECODE(name, Type, dim)                                            \
  extern "C" __global__ void __launch_bounds__(decodeShape(Type::bytes, dim).threads(), 2) \
      name(const __grid_constant__ DecodeParameters parameters) {                          \
    decode<Type, dim>(parameters);                                                         \
  }
FUSED_ATTENTION_DECODE(decode_f16_64, Float16, 64)
FUSED_ATTENTION_DECODE(decode_bf16_64, BFloat16, 64)
FUSED_ATTENTION_DECODE(decode_f16_128, Float16, 128)
FUSED_ATTENTION_DECODE(decode_bf16_128, BFloat16, 128)
FUSED_ATTENTION_DECODE(decode_f32_64, Float32, 64)
FUSED_ATTENTION_DECODE(decode_f32_128, Float32, 128)

#define FUSED_ATTENTION_MERGE(name, Type)                         \
  extern "C" __global__ void __launch_bounds__(kMergeThreads)     \
      name(const __grid_constant__ DecodeParameters parameters) { \
    mergeChunks<Type>(parameters);                                \
  }
FUSED_ATTENTION_MERGE(merge_f16, Float16)
FUSED_ATTENTION_MERGE(merge_bf16, BFloat16)
FUSED_ATTENTION_MERGE(merge_f32, Float32)

}  // namespace fused_attention::cuda
