// What a call can say of its weights besides the output they make: p(i, j) = exp(score - lse), the sink's share left
// out.
#pragma once

#include <vector>

#include "range.h"

namespace fused_attention {

/// All by row (query) and column (key) of a sequence, whatever the positions. Columns past a sequence's end count as
/// hidden.
struct Statistics {
  std::vector<Range> mass;     // sums over these keys, ascending and apart: [B, Hq, Nq, mass]
  std::vector<Range> columns;  // weights of these keys, one each: [B, Hq, Nq, columns]
  int64_t top = 0;             // so many largest weights of a row, and their columns: [B, Hq, Nq, top]
  int64_t blockRows = 0;       // blocks of rows by keys, 0: none
  int64_t blockKeys = 0;
  bool blockSums = false;  // [B, Hq, blocks of rows, blocks of keys]
  bool blockMaxima = false;
  bool columnSums = false;  // over queries: [B, Hq, Nkv]

  static constexpr int64_t kMostTop = 16;  // Largest::kSlots

  bool blocks() const { return blockSums || blockMaxima; }
  /// What is gathered while a row's keys go by.
  bool byRow() const { return !mass.empty() || !columns.empty() || top > 0 || blocks(); }
  bool any() const { return byRow() || columnSums; }
};

/// Where they go: contiguous, null where they were not asked for.
struct StatisticPointers {
  float* mass = nullptr;
  float* columns = nullptr;
  int32_t* topColumns = nullptr;  // -1 where a row has fewer weights above 0
  float* topWeights = nullptr;    // falling; of equal ones the first column first
  float* blockSums = nullptr;
  float* blockMaxima = nullptr;
  float* columnSums = nullptr;
};

}  // namespace fused_attention
