// What a CpuPlan will do, counted from the runs that it will use.
#include <algorithm>
#include <string>

#include "plan.h"

namespace fused_attention {

Explanation CpuPlan::explain() const {
  const Problem& p = problem_;
  Explanation result;
  result.device = "cpu";
  result.kernel = std::string("fused-forward-") + isaName(kernels_->isa);
  result.tileQueries = 0;
  for (const SequencePlan& plan : sequences_)
    result.tileQueries = std::max<int64_t>(result.tileQueries, plan.groupLanes);
  result.tileKeys = kTileKeys;
  result.tasks = tasks_;
  result.threads = p.threads;

  TileCounts counts;
  double pairs = 0, queries = 0, keys = 0;
  for (const SequencePlan& plan : sequences_) {
    const Sequence& s = plan.sequence;
    result.chunk = std::max(result.chunk, plan.chunk);
    pairs += plan.programs->map->pairs();
    queries += double(s.queries);
    keys += double(s.keys);
    const TileCounts& tiles = plan.programs->map->counts();
    counts.full += tiles.full;
    counts.partial += tiles.partial;
    counts.skipped += tiles.skipped;
    counts.promoted += tiles.promoted;
  }
  if (commonPass_) {  // one reading of the keys that several sequences see
    result.tasks += commonPass_->tasks();
    for (const SequencePlan& plan : sequences_) keys -= double(plan.sequence.firstKey);
    for (const SequencePlan& group : commonPass_->sequences()) keys += double(group.sequence.keys);
  }
  result.tilesFull = counts.full;
  result.tilesPartial = counts.partial;
  result.tilesSkipped = counts.skipped;
  result.tilesPromoted = counts.promoted;
  result.flops = 2 * pairs * double(p.dimQk + p.dimV);
  result.bytes =
      queries * double(p.headsQ) * double(p.dimQk * sizeOf(p.query.dtype) + p.dimV * sizeOf(p.output.dtype)) +
      keys * double(p.headsKv) * double(p.dimQk * sizeOf(p.key.dtype) + p.dimV * sizeOf(p.value.dtype));
  result.workspaceBytes = double(taskBytes());

  const Isa best = cpuInfo().usable.front();
  if (kernels_->isa != best) {
    result.notTaken.emplace_back(isaName(best), p.isa == Isa::automatic
                                                    ? "never chosen unasked: not yet run on a machine of ours"
                                                    : "another instruction set was asked for");
  }
  result.notTaken.emplace_back("cuda", "this build has no CUDA kernels");
  result.notTaken.emplace_back("metal", "this build has no Metal kernels");
  if (p.mask && p.mask->product().axes > 0) {
    const auto apart = std::find_if(sequences_.begin(), sequences_.end(), [](const auto& plan) { return !plan.order; });
    if (apart != sequences_.end()) {
      result.notTaken.emplace_back("grid", GridKeys::fit(p, apart->sequence)
                                               ? "so few queries are taken as they come"
                                               : "the rows of a sequence are not the cells of the mask's grid");
    }
  }
  if (!commonApart_.empty()) result.notTaken.emplace_back("shared pages", commonApart_);
  if (!p.masks.empty()) {
    result.notTaken.emplace_back("full tiles", "mask tensors are read at run time: what they touch counts as partial");
  }
  return result;
}

}  // namespace fused_attention
