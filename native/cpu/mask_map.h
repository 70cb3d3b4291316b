// Which keys each group of queries of a sequence sees, worked out once for a plan: sorted runs, each full or partial,
// and the bits of partial ones where they do not depend on the call. Immutable.
//
// Runs come from tiles/visibility.h. Partial ones are looked at pair by pair: what turns out to be hidden is dropped,
// what turns out to be visible counts as full. One map serves all heads of a mask that does not tell them apart.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "../backend.h"
#include "key_runs.h"
#include "visible_bits.h"

namespace fused_attention {

struct SequencePlan;

class MaskMap {
 public:
  /// `program` may be null, and is where the mask's ranges along axes tell all. Lists that go with the mask take more
  /// away (listed_keys.h). `budget` is how many
  /// bytes of bits may still be kept; what is kept is taken off it. Throws Cancelled.
  MaskMap(const Problem& problem, const SequencePlan& plan, const Kernels& kernels,
          std::shared_ptr<const TileProgram> program, std::atomic<int64_t>& budget, const CancelFlag& cancel);

  /// Runs of the keys of the whole sequence. A unit's groups are counted over all its blocks. `moved` is memory for
  /// those that are kept for another group, somewhere else on a grid.
  std::span<const KeyRun> runs(int64_t unit, int64_t group, std::vector<KeyRun>& moved) const {
    const Kept& kept = keptOf(unit, group);
    const std::span<const KeyRun> runs(runs_.data() + kept.first, runs_.data() + kept.end);
    return kept.shift == 0 ? runs : move(runs, kept.shift, moved);
  }
  /// The first key of these runs.
  std::optional<int64_t> firstKey(int64_t unit, int64_t group) const;
  const uint64_t* words() const { return words_.data(); }
  const uint64_t* words(const KeyRun& run) const { return words_.data() + run.words; }

  /// Whether each unit has runs of its own.
  bool perUnit() const { return perUnit_; }
  /// Whether groups do better with tiles of their own, gathered from their runs.
  bool gathered() const { return gathered_; }
  /// Of all keys, the part that a group sees something of.
  double density() const { return density_; }

  /// Tiles of all units.
  const TileCounts& counts() const { return counts_; }
  /// Visible pairs of all units, as far as they are known without mask tensors and within the budget.
  double pairs() const { return pairs_; }
  size_t bytes() const;

 private:
  /// Where the runs of a group stand, and how far off its keys are.
  struct Kept {
    int64_t first = 0, end = 0, shift = 0;
  };

  const Kept& keptOf(int64_t unit, int64_t group) const {
    return kept_[uniform_ ? 0 : size_t((perUnit_ ? unit * groups_ : 0) + group)];
  }
  /// Moves runs by `shift`; what all see is cut off where there are no keys.
  std::span<const KeyRun> move(std::span<const KeyRun> runs, int64_t shift, std::vector<KeyRun>& moved) const;
  void buildGrid(const Problem& problem, const SequencePlan& plan, const Kernels& kernels, std::atomic<int64_t>& budget,
                 const CancelFlag& cancel);
  void weigh(const SchedulingCosts& costs, double keys, int64_t maps, const Sequence& sequence, bool grid);
  void build(const Problem& problem, const SequencePlan& plan, const Kernels& kernels, const TileProgram* program,
             std::atomic<int64_t>& budget, const CancelFlag& cancel);
  int64_t slide(const SequencePlan& plan, const Kernels& kernels, const Problem& problem,
                const Visibility::Sliding& sliding, const VisibleBits& bits, std::atomic<int64_t>& budget,
                const CancelFlag& cancel, MapTotals& totals);

  int64_t groups_ = 0;    // of a unit
  bool perUnit_ = false;  // the mask tells heads apart
  bool uniform_ = false;  // nothing is hidden: one run for all
  bool gathered_ = false;
  double density_ = 1;
  int64_t origin_ = 0;  // runs that begin before it stay where they are
  int64_t keys_ = 0;    // of the sequence
  std::vector<Kept> kept_;
  std::vector<KeyRun> runs_;
  std::vector<uint64_t> words_;
  TileCounts counts_;
  double pairs_ = 0;
};

}  // namespace fused_attention
