// What a launch of a forward kernel is given: read by nvcc and by the host's compiler.
#pragma once

#include <cstdint>

namespace fused_attention::cuda {

/// Queries of a block of threads, keys of a tile.
inline constexpr int kBlockQueries = 128, kTileKeys = 64;

/// Of the instance that has room for `dim` components: rows of queries of a warp, as many as registers allow, since
/// they share what is loaded of keys and values; threads of a block; and its shared memory, two stages of a tile of
/// keys and values.
constexpr int forwardWarpQueries(int dim) { return dim <= 64 ? 32 : 16; }
constexpr int forwardThreads(int dim) { return 32 * kBlockQueries / forwardWarpQueries(dim); }
constexpr unsigned forwardSharedBytes(int dim) { return 2 * 2 * kTileKeys * dim * 2; }

/// Half-open. Of a row: the keys it sees; of a block of queries: the keys that any of its rows sees.
struct KeyRange {
  int32_t begin, end;
};

/// Rows of [B, H, S, D]: element (b, h, row, d) lies at b * batch + h * head + row * row + d. All are multiples of
/// 8 elements and the base of 16 bytes.
struct RowStrides {
  int64_t batch, head, row;
};

struct ForwardParameters {
  const uint16_t *query, *key, *value;
  uint16_t* output;  // rows are written in whole pieces of 8 elements
  float* lse;        // [B, Hq, Nq], or null
  // Null: row r sees the keys from r + firstKey on, before r + endKey.
  const KeyRange* rowKeys;    // [rows of a sequence]
  const KeyRange* blockKeys;  // [blocks of a sequence]
  RowStrides queryRows, keyRows, valueRows, outputRows;
  int64_t rowKeysBatch, blockKeysBatch;  // from a sequence's ranges to the next one's; 0: they share them
  int32_t batch, headsQ, groupSize;
  int32_t queries, keys, queryBlocks;
  int32_t dimQk, dimV;
  int32_t firstKey, endKey;
  float scale;         // of scores in base 2; positive
  uint32_t queryFlip;  // 0x80008000: queries change their sign, as the scale is negative; else 0
};

}  // namespace fused_attention::cuda
