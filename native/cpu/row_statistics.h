// Statistics of rows, gathered in a task while the forward makes their weights: sums and maxima over ranges of keys,
// and the largest weights. Weights are relative to references that may still rise; what is kept says relative to which,
// and is divided by the denominator when the row is done.
#pragma once

#include <span>
#include <vector>

#include "arena.h"
#include "chunk_tree.h"
#include "query_block.h"

namespace fused_attention {

/// A task's share of the statistics of blocks: rows of blocks of keys, for each block of rows that it has queries of.
struct BlockShare {
  std::vector<int64_t> rows;  // head * blocks of rows + block, ascending
  std::vector<float> sums, maxima;
};

/// What turns weights relative to a row's reference into those of the row, in the order of the call's statistics.
struct RowShares {
  float* reference = nullptr;
  float* share = nullptr;  // 0: the row sees nothing
};

class RowStatistics {
 public:
  /// What the constructor takes of an arena.
  static size_t bytes(const CpuPlan& plan);
  /// Fills what the rows that no task has are to say.
  static void clear(const Problem& problem, const StatisticPointers& to);
  /// Adds up the shares of blocks, in the order of tasks.
  static void combine(const CpuPlan& plan, const std::vector<BlockShare>& shares, const StatisticPointers& to);

  RowStatistics(const CpuPlan& plan, const QueryBlock& queries, Arena& arena);
  RowStatistics(const RowStatistics&) = delete;
  RowStatistics& operator=(const RowStatistics&) = delete;

  /// A tile of a group's weights; `columns` are its keys, `reference` is what the weights are relative to.
  void add(int64_t group, const float* weights, std::span<const Columns> columns, const float* reference);
  /// `state` is that of all keys. `shares` may be null.
  void write(const BlockState& state, const Pointers& pointers, BlockShare* blocks, const RowShares* shares);

 private:
  struct Part {
    const std::vector<Range>* segments;
    bool largest;
    Fold fold;  // of group 0
  };
  static constexpr int kMostParts = 4;

  Part* part(const std::vector<Range>& segments, bool largest, Arena& arena);
  Fold foldOf(const Part& part, int64_t group) const;
  void addTop(int64_t group, const float* weights, std::span<const Columns> columns, const float* reference);

  const CpuPlan& plan_;
  const Statistics& statistics_;
  const QueryBlock& queries_;
  int lanes_;  // of a panel's group
  Part parts_[kMostParts];
  int partCount_ = 0;
  Part *mass_ = nullptr, *columns_ = nullptr, *sums_ = nullptr, *maxima_ = nullptr;
  std::vector<Range> blocks_;
  // The largest weights of each lane, relative to a reference of the lane's own; Largest::kSlots of each.
  float* topWeights_ = nullptr;
  float* topReference_ = nullptr;
  int32_t* topColumns_ = nullptr;
};

}  // namespace fused_attention
