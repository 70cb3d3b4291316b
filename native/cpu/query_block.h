// The queries of a task: groups of lanes, where each lane's query lies, and where its results go.
#pragma once

#include "plan.h"

namespace fused_attention {

class QueryBlock {
 public:
  static constexpr int kMaxGroups = 8, kMaxLanes = 64;

  QueryBlock(const CpuPlan& plan, const Task& task);

  int64_t groups() const { return groups_; }
  int64_t kvHead() const { return kvHead_; }
  /// Real lanes of a group, and the same padded to whole vectors.
  const Lanes& lanes(int64_t group) const { return lanes_[group]; }
  const int* padded() const { return padded_; }
  /// Rows of the sequence that a group spans.
  Range rows(int64_t group) const { return rows_[group]; }

  /// Address of a lane's row in a tensor that is laid out like the queries.
  const char* row(const Layout& layout, const void* data, int64_t group, int lane) const;
  /// Index of a lane in [B, Hq, Nq], ragged [Hq, total].
  int64_t statistic(int64_t group, int lane) const;

 private:
  const Problem& problem_;
  const Sequence& sequence_;
  int64_t groups_ = 0, kvHead_ = 0;
  Lanes lanes_[kMaxGroups];
  int padded_[kMaxGroups] = {};
  Range rows_[kMaxGroups];
  int64_t row_[kMaxGroups][kMaxLanes];
  int64_t head_[kMaxGroups][kMaxLanes];
};

}  // namespace fused_attention
