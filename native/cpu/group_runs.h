// The runs and bits of some groups of queries, one after the other. Of one thread.
//
// A group is looked for by what the one before it sees: where that changed, and as many keys further on as the group is
// rows further on. What lies between is mostly of one kind, which one verdict says, for several groups at a time where
// it can; what is left is small, and its bits tell all. Where nothing but distances decides them, the bits are those of
// a group before. Other groups are searched by the analysis alone.
#pragma once

#include <atomic>
#include <optional>

#include "key_runs.h"
#include "query_block.h"
#include "visible_bits.h"

namespace fused_attention {

class GroupRuns {
 public:
  /// What all groups of a sequence are found by.
  struct Source {
    const Problem& problem;
    const SequencePlan& plan;
    const Kernels& kernels;
    const Visibility& visibility;
    const VisibleBits& bits;
    std::atomic<int64_t>& budget;
    bool perUnit, readsTensors;
    bool inOrder;  // rows are taken as they come
    const CancelFlag& cancel;
  };

  explicit GroupRuns(const Source& source);

  /// Appends the runs of a group, which stands for so many. Throws Cancelled.
  void look(int64_t unit, int64_t group, int64_t times);

  int64_t groups() const { return int64_t(first_.size()); }
  /// Which of `runs` are those of the n-th group.
  Range group(int64_t n) const {
    return {first_[size_t(n)], n + 1 < groups() ? first_[size_t(n + 1)] : int64_t(runs_.size())};
  }
  const std::vector<KeyRun>& runs() const { return runs_; }
  const std::vector<uint64_t>& words() const { return words_; }
  const MapTotals& totals() const { return totals_; }

 private:
  /// A group's lanes, and its program's vectors once they are needed.
  struct Bound {
    const GroupLanes& lanes;
    VisibleBits::Group group;
    bool ready = false;
  };
  /// What bits of a piece say, which `node` decides by distances alone. Keys are counted from the group's first row.
  struct Alike {
    int node = 0, lanes = 0;
    Range keys;
    bool mixed = false;
    double pairs = 0;
    std::vector<KeyRun> runs;
  };

  bool follows(int64_t group) const;
  void follow(Bound& bound, Range within);
  void take(Bound& bound, const Run& run);
  void takeOpen(Bound& bound, Range piece);
  void evaluate(Bound& bound, Range piece, bool alike, uint64_t* words);
  bool keep(const Lanes& lanes, Range piece, const uint64_t* words);
  void seenTogether(int64_t unit, int64_t group, int64_t head);
  void cutAlike(Range within, Range rows);
  bool fits(int64_t keys) const;
  size_t firstRun() const { return size_t(first_.back()); }

  const Source* source_;
  int64_t keys_;  // of the sequence
  bool apart_;    // groups have nothing to learn from others

  std::vector<int64_t> first_;  // run of each group
  std::vector<KeyRun> runs_;
  std::vector<uint64_t> words_;
  MapTotals totals_;

  Range before_, rowsBefore_;  // runs and rows of the last group
  std::optional<Visibility::Rows> rows_;
  int64_t neighbours_ = -1;  // those that `together_` is of
  std::vector<Run> together_;
  std::vector<Alike> alike_;
  size_t oldest_ = 0;       // of these
  std::vector<Run> found_;  // what is known of the group under way without its bits
  double pairs_ = 0;        // of it
  // Memory to work in.
  std::vector<int64_t> cuts_;
  std::vector<KeyRun> parts_;
  std::vector<float> laneVectors_;
  std::vector<double> scratch_;
};

}  // namespace fused_attention
