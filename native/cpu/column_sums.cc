#include "column_sums.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <optional>

#include "tile_walk.h"

namespace fused_attention {

namespace {

/// Chunks of a task: all where keys are listed, as the lists are read once for a block of queries.
int64_t chunksTogether(const SequencePlan& plan) { return plan.programs->listed ? plan.partChunks : 1; }

int64_t slicesOf(const SequencePlan& plan) {
  return ceilDiv(ceilDiv(plan.sequence.keys, plan.chunk), chunksTogether(plan));
}

class SecondLook : private TileWalk {
 public:
  SecondLook(const CpuPlan& plan, const BoundTask& bound, const Pointers& pointers, const RowShares& shares,
             const CancelFlag& cancel)
      : TileWalk(plan, bound, nullptr, pointers, cancel, Arena::local(TileWalk::bytes(plan)), Reads::keys,
                 Few::panels) {
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      const Lanes& lanes = queries_.lanes(g);
      std::fill_n(reference_[g], QueryBlock::kMaxLanes, -FLT_MAX);
      std::fill_n(share_[g], QueryBlock::kMaxLanes, 0.0f);
      for (int t = 0; t < lanes.count; ++t) {
        const float share = shares.share[queries_.statistic(g, t)];
        reference_[g][t] = shares.reference[queries_.statistic(g, t)];
        if (share == share) {
          share_[g][t] = share;
        } else {
          spoiled_[g] |= uint64_t{1} << t;
        }
      }
    }
  }

  void add(Range chunk) {
    if (enter(chunk)) walk((uint64_t{1} << queries_.groups()) - 1);
  }

 private:
  void visit(int64_t g, const ScoreTile& given, std::span<const Columns> columns, int64_t, bool) override {
    const Lanes& lanes = queries_.lanes(g);
    ScoreTile tile = given;
    tile.moment = false;
    // No score is above the reference, so softmax leaves it and gives each weight as the forward had it.
    float sum[QueryBlock::kMaxLanes], maximum[QueryBlock::kMaxLanes], rescale[QueryBlock::kMaxLanes];
    std::fill_n(sum, QueryBlock::kMaxLanes, 0.0f);
    std::fill_n(maximum, QueryBlock::kMaxLanes, 0.0f);
    const int padded = queries_.padded()[g];
    kernels_.softmax(tile, padded, {reference_[g], sum, nullptr, maximum}, rescale);
    for (int from = 0, end = 0; from < lanes.count; from = end) {  // the lanes of each head
      while (end < lanes.count && lanes.head[end] == lanes.head[from]) ++end;
      float own[QueryBlock::kMaxLanes] = {}, sums[kTileKeys];
      std::copy(share_[g] + from, share_[g] + end, own + from);
      kernels_.laneSums(tile.scores, padded, tile.keys, own, sums);
      if (spoiled_[g] != 0) spoil(g, {from, end}, given, sums);
      const Sequence& s = queries_.sequence();
      float* const to =
          pointers_.statistics.columnSums + (s.batch * problem_.headsQ + lanes.head[from]) * problem_.keys + s.rowKv;
      int64_t at = 0;
      for (const Columns& piece : columns) {
        for (int64_t column = piece.begin; column < piece.end; column += piece.step) to[column] += sums[at++];
      }
    }
    ahead_.next();
  }

  /// Makes the sums NaN of the keys that lanes without a number see; what is hidden from them stays as it is.
  void spoil(int64_t g, Range lanes, const ScoreTile& tile, float* sums) const {
    for (int64_t t = lanes.begin; t < lanes.end; ++t) {
      if (!(spoiled_[g] >> t & 1)) continue;
      for (int64_t key = 0; key < tile.keys; ++key) {
        if (!tile.visible || tile.visible[key] >> t & 1) sums[key] = NAN;
      }
    }
  }

  float reference_[QueryBlock::kMaxGroups][QueryBlock::kMaxLanes];
  float share_[QueryBlock::kMaxGroups][QueryBlock::kMaxLanes];  // 0 where it is NaN
  uint64_t spoiled_[QueryBlock::kMaxGroups] = {};               // lanes of which it is
};

}  // namespace

int64_t columnSumTasks(const CpuPlan& plan) {
  int64_t tasks = 0;
  for (const SequencePlan& sequence : plan.sequences()) tasks += sequence.units * slicesOf(sequence);
  return tasks;
}

void addColumnSums(const CpuPlan& plan, int64_t task, const Pointers& pointers, const RowShares& shares,
                   const CancelFlag& cancel) {
  const SequencePlan* sequence = plan.sequences().data();
  for (; task >= sequence->units * slicesOf(*sequence); ++sequence) task -= sequence->units * slicesOf(*sequence);
  const int64_t first = task % slicesOf(*sequence) * chunksTogether(*sequence);
  for (int64_t block = 0; block < sequence->blocks; ++block) {
    const BoundTask bound(plan, Task{sequence, task / slicesOf(*sequence), block, 0, 0});
    SecondLook look(plan, bound, pointers, shares, cancel);
    for (int64_t c = first; c < first + chunksTogether(*sequence); ++c) {
      const Range chunk{c * sequence->chunk, std::min((c + 1) * sequence->chunk, sequence->sequence.keys)};
      if (!chunk.empty()) look.add(chunk);
    }
  }
}

}  // namespace fused_attention
