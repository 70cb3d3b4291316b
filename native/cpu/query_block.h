// The queries of a task: groups of lanes, where each lane's query lies, and where its results go.
#pragma once

#include "lanes.h"
#include "plan.h"

namespace fused_attention {

/// The lanes of a unit that a group takes: those of plan.order, or plan.groupLanes each. Where the last group would be
/// left with a single vector of several, which is slow, the last two share alike.
Range lanesOfGroup(const SequencePlan& plan, const Kernels& kernels, int64_t group);

/// A group of queries of a unit, one a lane. Groups are counted over all blocks of the unit.
struct GroupLanes {
  static constexpr int kMostLanes = 64;

  GroupLanes() = default;
  GroupLanes(const Problem& problem, const SequencePlan& plan, const Kernels& kernels, int64_t unit, int64_t group);
  GroupLanes(const GroupLanes&) = delete;
  GroupLanes& operator=(const GroupLanes&) = delete;

  void fill(const Problem& problem, const SequencePlan& plan, const Kernels& kernels, int64_t unit, int64_t group);

  Lanes lanes;           // the real ones
  int padded = 0;        // to whole vectors
  Range rows;            // of the sequence, that the group spans
  bool stretch = false;  // rows of one head, one after the other
  int64_t row[kMostLanes], head[kMostLanes];
};

class QueryBlock {
 public:
  static constexpr int kMaxGroups = 8, kMaxLanes = GroupLanes::kMostLanes;

  QueryBlock(const CpuPlan& plan, const Task& task);

  int64_t groups() const { return groups_; }
  /// Whether groups are done by the few... operations.
  bool few() const { return few_; }
  int64_t kvHead() const { return kvHead_; }
  const Sequence& sequence() const { return sequence_; }
  /// Real lanes of a group, the same padded to whole vectors, and their number.
  const Lanes& lanes(int64_t group) const { return group_[group].lanes; }
  const int* padded() const { return padded_; }
  const int* counts() const { return counts_; }
  /// Rows of the sequence that a group spans.
  Range rows(int64_t group) const { return group_[group].rows; }
  /// The first group's number among those of the unit.
  int64_t firstGroup() const { return firstGroup_; }

  /// Addresses of the rows of a group's lanes in a tensor that is laid out like the queries.
  void rowsOf(const Layout& layout, const void* data, int64_t group, const void** rows) const;
  /// Index of a lane in [B, Hq, Nq], ragged [Hq, total].
  int64_t statistic(int64_t group, int lane) const {
    const QueryRow at = place(group, lane);
    return (at.batch * problem_.headsQ + group_[group].head[lane]) * problem_.queries + at.row;
  }

 private:
  QueryRow place(int64_t group, int lane) const {
    const int64_t row = group_[group].row[lane];
    return gathered_ ? gathered_[row] : QueryRow{sequence_.batch, sequence_.rowQ + row};
  }

  const Problem& problem_;
  const Sequence& sequence_;
  const QueryRow* gathered_;  // null: the sequence's rows are a stretch
  bool few_;
  int64_t groups_ = 0, kvHead_ = 0, firstGroup_ = 0;
  GroupLanes group_[kMaxGroups];
  int padded_[kMaxGroups] = {}, counts_[kMaxGroups] = {};
};

}  // namespace fused_attention
