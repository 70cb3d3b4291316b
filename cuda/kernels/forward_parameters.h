// What a launch of a forward kernel is given: read by nvcc and by the host's compiler.
#pragma once

#include <cstdint>

namespace fused_attention::cuda {

/// How an instance of the kernel cuts its work up: the queries of a block of threads and of a warp, as many as
/// registers allow, since they share what is loaded of keys and values; and the keys of a tile.
struct ForwardShape {
  int rowBytes;  // of a query, key or value, for as many components as there is room for
  int blockQueries, warpQueries, tileKeys;
  bool queriesHeld;  // by registers, else by shared memory

  constexpr int threads() const { return 32 * blockQueries / warpQueries; }
  /// A tile of keys and one of values.
  constexpr int stageBytes() const { return 2 * tileKeys * rowBytes; }
  /// Two stages, and the queries: before they are held, these lie in the second one.
  constexpr unsigned sharedBytes() const { return 2 * stageBytes() + (queriesHeld ? 0 : blockQueries * rowBytes); }
};

/// Of the instance that has room for `dim` components, 64, 128 or, for halves, 256. The general one has more to keep
/// beside the sums. No block has more shared memory than each device of compute capability 8.0 and newer has for it.
constexpr ForwardShape forwardShape(int elementBytes, int dim, bool general) {
  const int rowBytes = elementBytes * dim;
  if (rowBytes <= 256) return {rowBytes, 128, rowBytes <= 128 && !general ? 32 : 16, 64, true};
  return {rowBytes, 64, 16, elementBytes == 4 ? 16 : 32, false};
}

/// Half-open. Of a row: the keys it sees; of a block of queries: the keys that any of its rows sees.
struct KeyRange {
  int32_t begin, end;
};

/// Rows of [B, H, S, D]: element (b, h, row, d) lies at b * batch + h * head + row * row + d. All are multiples of
/// 16 bytes, and so is the base.
struct RowStrides {
  int64_t batch, head, row;
};

/// Where a sequence lies in the tensors, and what of its keys its rows see.
struct SequenceRows {
  int32_t batch;
  int32_t firstQuery, queries;  // rows of the tensors
  int32_t firstKey, keys;
  int32_t written;     // rows of its output: those beyond `queries` are empty
  int32_t table;       // its place in a table of pages
  int32_t firstRange;  // its first row's in rowKeys; negative: row r sees the keys from r + begin on, before r + end
  int32_t begin, end;
  // In words of MaskBits: from one row of pairs to the next; the first row of the first head, and of a block of
  // queries; and from a head to the next one, 0 where heads see alike.
  int32_t words;
  int64_t firstBits, firstBlockBits, headBits, headBlockBits;
};

/// Which pairs are seen: bit j % 32 of word j / 32 says it of key j. Null where ranges say it.
struct MaskBits {
  const uint32_t* rows;
  const uint32_t* blocks;  // the same of blocks of queries: whether any of them sees a key
};

/// How the keys of a sequence are cut into pages of so many rows. Key n lies in page (n * factor) >> shift: a division
/// (Granlund and Montgomery 1994) that holds for n below 2^31.
struct PageRows {
  int32_t rows;
  uint32_t factor;
  int32_t shift;

  static constexpr PageRows of(int32_t rows) {
    int bits = 0;
    while ((int64_t{1} << bits) < rows) ++bits;
    const int shift = 31 + bits;
    return {rows, static_cast<uint32_t>((uint64_t{1} << shift) / static_cast<uint64_t>(rows) + 1), shift};
  }
#ifdef __CUDACC__
  __device__ __forceinline__
#endif
      constexpr int32_t
      pageOf(int32_t n) const {
    return static_cast<int32_t>(static_cast<uint64_t>(n) * factor >> shift);
  }
};

/// Which pages of a pool sequences have their keys and values in. Page n begins n * RowStrides::batch further on.
struct PageTable {
  const int32_t* table;  // null: keys lie in tensors
  int32_t slots;         // from a sequence's part of it to the next one's
  PageRows rows;
};

/// What scores get added: element (b, h, row, column), 0 apart where all have the same. Null: nothing.
struct BiasGrid {
  const float* data;
  int64_t batch, head, row;
  int32_t column;
};

/// The queries of a block of threads.
struct QueryBlock {
  int32_t sequence, firstRow;
  KeyRange keys;  // that any of them sees
};

struct ForwardParameters {
  const void *query, *key, *value;
  void* output;  // rows are written in whole pieces of 16 bytes
  // [B, Hq, Nq], or [Hq, total] of ragged sequences; null where it is not asked for.
  float *lse, *entropy, *rowMax;
  const float* sinks;  // [Hq], or null
  // Null: sequences are all like `every`, one a batch entry, and each one's blocks are `queryBlocks`.
  const SequenceRows* sequences;
  const QueryBlock* blocks;  // heads are innermost
  const KeyRange* rowKeys;
  PageTable pages;  // of keys and values
  MaskBits bits;
  BiasGrid bias;
  RowStrides queryRows, keyRows, valueRows, outputRows;
  SequenceRows every;
  int32_t batch, headsQ, groupSize, queryBlocks;
  int32_t statisticRows;  // from a head's statistics to the next one's
  int32_t dimQk, dimV;
  float scale;         // of scores in base 2; positive
  float softcapScale;  // 0, or of scores before the hyperbolic tangent, which `scale` multiplies then
  // From base 2 to nats: ln 2, times what `scale` lost by rounding where scores are multiplied by it last.
  double naturalScale;
  uint32_t queryFlip;  // the signs of four bytes of queries where they change, as the scale is negative; else 0
};

/// How few queries are cut up: those of all heads that share keys are rows of blocks, 16 of each, whose warps take
/// tiles of a chunk of keys in turns.
struct DecodeShape {
  int rowBytes, warps;

  static constexpr int rows = 16, tileKeys = 16;
  static constexpr int chunkKeys = 256;   // part of what results are, bit for bit
  static constexpr int mostQueries = 16;  // that are few
  static constexpr int mostDim = 128;     // longer rows take the other kernels: binaries have to stay small

  constexpr int threads() const { return 32 * warps; }
  constexpr int tileBytes() const { return tileKeys * rowBytes; }
  /// Of a warp: two tiles of keys and of values.
  constexpr int stagesBytes() const { return 4 * tileBytes(); }
  /// The stages, then the queries.
  constexpr unsigned sharedBytes() const { return warps * stagesBytes() + rows * rowBytes; }
};

constexpr DecodeShape decodeShape(int elementBytes, int dim) {
  const int rowBytes = elementBytes * dim;
  return {rowBytes, rowBytes <= 256 ? 4 : 2};
}

/// Of the kernel that puts chunks together.
constexpr int kMergeThreads = 128;

/// What a block takes of a sequence: 16 rows, and the keys of a chunk, from the first that any row sees to the last. A
/// line is what is left of one row: of a sequence they follow one another by chunks, then heads of keys, then rows.
struct DecodeItem {
  int64_t firstLine;  // of the chunk
  int32_t sequence, firstRow;
  KeyRange keys;
};

struct DecodeSequence {
  int64_t firstLine;
  int32_t sequence, chunks;
};

/// What a row comes to in a chunk: its sum of weighted values is apart. Read and written at once.
struct alignas(16) ChunkTotal {
  float negated, sum, moment, largest;
};

struct DecodeParameters {
  ForwardParameters call;
  const DecodeItem* items;          // heads of keys are innermost
  const DecodeSequence* sequences;  // of few queries
  float* sums;                      // [lines][dimV in fours]
  ChunkTotal* totals;               // [lines]
  int32_t headsKv;
  int32_t queries;  // of the sequence that has most, or 1
};

}  // namespace fused_attention::cuda
