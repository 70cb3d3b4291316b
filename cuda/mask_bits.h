// Masks pair by pair, for those of which it is not known that each query sees one range of keys: a bit for each query
// and key, from programs, lists of blocks and mask tensors.
#pragma once

#include <vector>

#include "../native/backend.h"

namespace fused_attention::cuda {

/// Whether a mask may differ between heads, or between sequences of equal lengths.
bool maskDependsOnHead(const Problem& problem);
bool maskDependsOnBatch(const Problem& problem);

/// What heads see of one sequence's keys. A row of pairs has whole tiles of keys, as many words as `wordsOf` says.
struct SequenceBits {
  static constexpr int64_t kTileKeys = 64;  // at most of any kernel
  static int64_t wordsOf(int64_t keys) { return (keys + kTileKeys - 1) / kTileKeys * (kTileKeys / 32); }

  int64_t heads = 1;             // 1: all see alike
  std::vector<uint32_t> rows;    // [heads][queries][words]
  std::vector<uint32_t> blocks;  // [heads][blocks][words]: keys that any of `blockQueries` queries sees

  /// `masks` as in Pointers; null: mask tensors hide nothing, and no program reads one. Uses the shared pool. Throws
  /// CodedError where a pair hangs on a read outside a table, or lists of blocks are none for the sequence; Cancelled.
  SequenceBits(const Problem& problem, const Sequence& sequence, const std::vector<const uint8_t*>* masks,
               int blockQueries, const CancelFlag& cancel);
};

}  // namespace fused_attention::cuda
