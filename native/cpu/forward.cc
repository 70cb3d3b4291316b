#include "forward.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <optional>
#include <type_traits>

#include "arena.h"
#include "chunk_tree.h"
#include "common_pass.h"
#include "results.h"
#include "tile_walk.h"

namespace fused_attention {

namespace {

ChunkTree treeOf(const CpuPlan& plan, const QueryBlock& queries, BlockState* states) {
  const bool few = queries.few();
  return ChunkTree(few ? plan.kernels().fewMerge : plan.kernels().merge, states,
                   few ? queries.counts() : queries.padded(), queries.groups(), plan.problem().dimV);
}

/// What sigmoid adds to scores, in base-2 units.
float shiftOf(const Problem& problem, const Sequence& sequence) {
  const Normalizer& n = problem.normalizer;
  const double shift = n.byKeys ? -std::log(double(keyPositions(problem, sequence))) : n.number;
  return float(shift * std::numbers::log2e);
}

/// One task under way.
class Forward : private TileWalk {
 public:
  /// `following` is the task that this thread does next, or null.
  Forward(const CpuPlan& plan, const BoundTask& bound, const BoundTask* following, const Pointers& pointers,
          const CancelFlag& cancel)
      : Forward(plan, bound, following, pointers, cancel, Arena::local(plan.taskBytes())) {}

  void run(const PartialStore& partials) {
    const SequencePlan& cut = *task_.plan;
    ChunkTree tree = treeOf(plan_, queries_, states_);
    const int64_t firstChunk = task_.part * cut.partChunks;
    for (int64_t c = firstChunk; c < firstChunk + cut.partChunks; ++c) {
      const Range chunk{std::max(c * cut.chunk, cut.sequence.firstKey),
                        std::min((c + 1) * cut.chunk, cut.sequence.keys)};
      if (chunk.empty() || !enter(chunk)) continue;
      attendChunk(tree.next());
      tree.push(c);
    }
    BlockState& state = tree.collapse();
    if (plan_.maxParts() == 1) {
      if (cut.sequence.firstKey > 0) joinCommon(plan_, queries_, partials.common, state);
      writeResults(plan_, queries_, state, pointers_);
      if (statistics_) {
        BlockShare* const blocks = partials.blocks ? partials.blocks + task_.blockIndex : nullptr;
        statistics_->write(state, pointers_, blocks, partials.shares);
      }
    } else {
      std::copy_n(state.output(0), queries_.groups() * plan_.groupFloats(), partials.at(plan_, task_));
    }
  }

 private:
  Forward(const CpuPlan& plan, const BoundTask& bound, const BoundTask* following, const Pointers& pointers,
          const CancelFlag& cancel, Arena& arena)
      : TileWalk(plan, bound, following, pointers, cancel, arena, Reads::keysAndValues, fewOf(plan.problem())),
        shift_(shiftOf(problem_, bound.task.plan->sequence)) {
    const int lanes = kernels_.maxLanes();
    for (int64_t i = 0; i < plan_.treeDepth(); ++i) {
      states_[i] = BlockState(arena.take<float>(size_t(plan_.blockFloats())), problem_.dimV, lanes);
    }
    rescale_ = arena.take<float>(size_t(lanes));
    if (problem_.statistics.any()) statistics_.emplace(plan_, queries_, arena);
  }

  static Few fewOf(const Problem& problem) {
    return problem.normalizer.softmax() && !problem.entropy && !problem.statistics.any() ? Few::rows : Few::panels;
  }

  void attendChunk(const BlockState& state) {
    state_ = &state;
    uint64_t every = (uint64_t{1} << queries_.groups()) - 1;
    attendGroups(every, false);
    // NaN in a value that only some lanes may see reaches the others as 0 * NaN. It shows in the output, so look there
    // and do the chunk again with care, rather than look at every value.
    uint64_t spoiled = 0;
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      if (kernels_.hasNaN(state.output(g), outputFloats(g))) spoiled |= uint64_t{1} << g;
    }
    if (spoiled) attendGroups(spoiled, true);
  }

  /// Of the queries of a group, and of lanes that are only padding where they lie between.
  int64_t outputFloats(int64_t g) const {
    const int64_t width = kernels_.width;
    return queries_.few() ? ceilDiv(problem_.dimV, width) * width * queries_.counts()[g]
                          : problem_.dimV * queries_.padded()[g];
  }

  void attendGroups(uint64_t groups, bool careful) {
    careful_ = careful;
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      if (!(groups >> g & 1)) continue;
      if (queries_.few()) {
        state_->clear(g, outputFloats(g), queries_.padded()[g]);
      } else {
        state_->clearSoftmax(g, queries_.padded()[g]);
      }
    }
    untouched_ = queries_.few() ? 0 : groups;
    walk(groups);
    for (int64_t g = 0; untouched_ >> g != 0; ++g) {
      if (untouched_ >> g & 1) state_->clearOutput(g, outputFloats(g));
    }
  }

  void visit(int64_t g, const ScoreTile& tile, std::span<const Columns> columns, int64_t first, bool rows) override {
    const int padded = queries_.padded()[g];
    if (rows) {
      kernels_.fewSoftmax(tile, queries_.counts()[g], fewLayout(true).query, state_->softmax(g), rescale_);
    } else if (problem_.normalizer.softmax()) {
      kernels_.softmax(tile, padded, state_->softmax(g), rescale_);
    } else {
      kernels_.weights(tile, padded, problem_.normalizer.kind, shift_, state_->softmax(g), rescale_);
    }
    // A second time over the same keys is about their values alone.
    if (statistics_ && !careful_) statistics_->add(g, tile.scores, columns, state_->softmax(g).reference);
    if (queries_.few()) {
      kernels_.fewAccumulate(state_->output(g), queries_.counts()[g], problem_.dimV, rescale_, tile.scores,
                             valueRows_ + first, problem_.value.dtype, tile.keys, fewLayout(rows), careful_,
                             ahead_.next());
    } else {
      const uint64_t own = uint64_t{1} << g;
      kernels_.accumulate(state_->output(g), padded, problem_.dimV, untouched_ & own ? nullptr : rescale_, tile.scores,
                          asFloats(valueRows_ + first), tile.keys, careful_, ahead_.next());
      untouched_ &= ~own;
    }
  }

  float shift_;  // sigmoid's, in base-2 units

  float* rescale_ = nullptr;
  std::optional<RowStatistics> statistics_;
  BlockState states_[ChunkTree::kMaxDepth];
  const BlockState* state_ = nullptr;  // of the chunk under way
  uint64_t untouched_ = 0;             // groups of it whose output no tile has been added to
  bool careful_ = false;
};

/// Room for a task, which is large: what no task has been put in is not cleared.
union Room {
  Room() {}
  BoundTask task;
};
static_assert(std::is_trivially_destructible_v<BoundTask>);

}  // namespace

void forwardTasks(const CpuPlan& plan, Range tasks, const Pointers& pointers, const PartialStore& partials,
                  const CancelFlag& cancel) {
  Room rooms[2];  // of the one under way, and of the one that follows
  const auto bind = [&](int64_t index) {
    return index < tasks.end ? std::construct_at(&rooms[index & 1].task, plan, index) : nullptr;
  };
  const BoundTask* now = bind(tasks.begin);
  for (int64_t index = tasks.begin; now; ++index) {
    const BoundTask* const following = bind(index + 1);
    Forward(plan, *now, following, pointers, cancel).run(partials);
    now = following;
  }
}

void combineParts(const CpuPlan& plan, const Task& block, const Pointers& pointers, const PartialStore& partials) {
  const QueryBlock queries(plan, block);
  const int lanes = plan.kernels().maxLanes();
  const int64_t dimV = plan.problem().dimV;
  // A part is an aligned node of the chunk tree, so parts combine like chunks.
  BlockState states[ChunkTree::kMaxDepth];
  ChunkTree tree = treeOf(plan, queries, states);
  Task part = block;
  for (part.part = 0; part.part < block.plan->parts; ++part.part) {
    tree.next() = BlockState(partials.at(plan, part), dimV, lanes);
    tree.push(part.part);
  }
  BlockState& state = tree.collapse();
  if (block.plan->sequence.firstKey > 0) joinCommon(plan, queries, partials.common, state);
  writeResults(plan, queries, state, pointers);
}

}  // namespace fused_attention
