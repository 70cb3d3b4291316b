// Which queries a block of threads has, and which keys these see.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "forward_parameters.h"
#include "instructions.cuh"

namespace fused_attention::cuda {

/// The keys of a sequence's rows from one to another, where what they see moves on with them.
__device__ __forceinline__ KeyRange keysOf(const SequenceRows& s, int firstRow, int lastRow) {
  return {min(max(firstRow + s.begin, 0), s.keys), min(max(lastRow + s.end, 0), s.keys)};
}

__device__ __forceinline__ SequenceRows sequenceOf(const ForwardParameters& p, int sequence) {
  if (p.sequences != nullptr) return p.sequences[sequence];
  SequenceRows rows = p.every;
  rows.batch = rows.table = sequence;
  return rows;
}

/// Of the block of threads `n`, heads apart. Those of a sequence come last first: where rows see what is before them,
/// the longest ones.
__device__ __forceinline__ QueryBlock queriesOf(const ForwardParameters& p, int n, int blockQueries) {
  if (p.blocks != nullptr) return p.blocks[n];
  const int first = (p.queryBlocks - 1 - n / p.batch) * blockQueries;
  return {n % p.batch, first, keysOf(p.every, first, min(first + blockQueries, p.every.queries) - 1)};
}

/// A query: its row in its sequence, and its head.
struct Query {
  int row, head;
};

/// The queries of a lane where a block has rows of one head.
struct QueriesOfHead {
  int firstRow, head;
  __device__ __forceinline__ Query operator()(int n) const { return {firstRow + 8 * n, head}; }
};

/// The keys that the queries of a lane see, of which queryOf(n) is the n-th, and what that means for its warp.
template <int rowsOfLane>
struct WarpKeys {
  KeyRange rows[rowsOfLane];
  int first, end;        // of the keys that any row sees
  int allFirst, allEnd;  // of those that every row sees

  template <class QueryOf>
  __device__ __forceinline__ WarpKeys(const ForwardParameters& p, const SequenceRows& s, const QueryOf& queryOf) {
    first = allEnd = s.keys;
    end = allFirst = 0;
    for (int n = 0; n < rowsOfLane; ++n) {
      const int row = queryOf(n).row;
      if (row >= s.queries) {
        // It is not written, and may see anything; or it is empty.
        rows[n] = {0, row < s.written ? 0 : s.keys};
        if (row < s.written) allEnd = 0;
        continue;
      }
      rows[n] = s.firstRange < 0 ? keysOf(s, row, row) : p.rowKeys[s.firstRange + row];
      first = min(first, rows[n].begin);
      end = max(end, rows[n].end);
      allFirst = max(allFirst, rows[n].begin);
      allEnd = min(allEnd, rows[n].end);
    }
    for (int lanes = 4; lanes < 32; lanes *= 2) {
      allFirst = max(allFirst, __shfl_xor_sync(0xffffffffu, allFirst, lanes));
      allEnd = min(allEnd, __shfl_xor_sync(0xffffffffu, allEnd, lanes));
    }
  }

  /// From the lane's rows to those of the warp, which seesSome goes by.
  __device__ __forceinline__ void joinSome() {
    for (int lanes = 4; lanes < 32; lanes *= 2) {
      first = min(first, __shfl_xor_sync(0xffffffffu, first, lanes));
      end = max(end, __shfl_xor_sync(0xffffffffu, end, lanes));
    }
  }

  __device__ __forceinline__ bool seesSome(int key, int keys) const { return key < end && key + keys > first; }
  __device__ __forceinline__ bool seesAll(int key, int keys) const { return key >= allFirst && key + keys <= allEnd; }
};

/// A bit for each key of a tile.
template <int tileKeys>
using TileBits = std::conditional_t<(tileKeys > 32), uint64_t, uint32_t>;

template <int tileKeys>
__device__ __forceinline__ TileBits<tileKeys> bitsOf(const uint32_t* words, int firstKey) {
  if constexpr (tileKeys >= 32) {
    return *reinterpret_cast<const TileBits<tileKeys>*>(words + firstKey / 32);
  } else {
    return words[firstKey / 32] >> firstKey % 32 & ((1u << tileKeys) - 1);
  }
}

/// The bits of a tile that begins with key number `first` where keys in a range are there.
template <int tileKeys>
__device__ __forceinline__ TileBits<tileKeys> bitsOf(const KeyRange& keys, int first) {
  using Bits = TileBits<tileKeys>;
  constexpr int most = 8 * sizeof(Bits);
  const int begin = max(keys.begin - first, 0), end = min(keys.end - first, tileKeys);
  return begin < end ? ~Bits{0} >> (most - (end - begin)) << begin : Bits{0};
}

/// The words of a block of queries: which keys any of them sees.
__device__ __forceinline__ uint32_t blockWords(const SequenceRows& s, int head, int block) {
  return static_cast<uint32_t>(s.firstBlockBits + head * s.headBlockBits) + block * s.words;
}

/// The same of pairs: what rows see that a lane has.
template <int rowsOfLane, int tileKeys>
struct WarpBits {
  using Bits = TileBits<tileKeys>;
  static constexpr Bits every = ~Bits{0} >> (8 * sizeof(Bits) - tileKeys);
  Bits rows[rowsOfLane];  // of the tile that was looked up last

  template <class QueryOf>
  __device__ __forceinline__ WarpBits(const SequenceRows& s, const QueryOf& queryOf) {
    for (int n = 0; n < rowsOfLane; ++n) {
      const Query query = queryOf(n);
      const uint32_t first = static_cast<uint32_t>(s.firstBits + query.head * s.headBits);
      words_[n] = query.row < s.queries ? first + query.row * s.words : nowhere;
    }
  }

  __device__ __forceinline__ void lookUp(const MaskBits& bits, int firstKey) {
    for (int n = 0; n < rowsOfLane; ++n) {
      rows[n] = words_[n] == nowhere ? 0 : bitsOf<tileKeys>(bits.rows + words_[n], firstKey);
    }
  }
  __device__ __forceinline__ bool seesSome() const {
    Bits some = 0;
    for (const Bits row : rows) some |= row;
    return __any_sync(0xffffffffu, some != 0);
  }
  /// The keys that any row of the warp sees.
  __device__ __forceinline__ Bits some() const {
    Bits some = 0;
    for (const Bits row : rows) some |= row;
    for (int lanes = 4; lanes < 32; lanes *= 2) some |= __shfl_xor_sync(0xffffffffu, some, lanes);
    return some;
  }
  __device__ __forceinline__ bool seesAll() const {
    Bits all = every;
    for (const Bits row : rows) all &= row;
    return __all_sync(0xffffffffu, all == every);
  }

 private:
  static constexpr uint32_t nowhere = ~0u;
  uint32_t words_[rowsOfLane];  // of each row, from the first one of all
};

}  // namespace fused_attention::cuda
