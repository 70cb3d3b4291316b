// What a CpuPlan will do, counted from the runs that it will use.
#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <utility>

#include "plan.h"
#include "query_block.h"

namespace fused_attention {

namespace {

double pairsOf(const Lanes& lanes, const ListedRuns& own) {
  double pairs = 0;
  for (const KeyRun& run : own.runs) {
    if (run.full || run.words == KeyRun::kNotKept) {
      pairs += double(run.count()) * double(lanes.count);
    } else {
      for (int64_t k = 0; k < run.count(); ++k) pairs += std::popcount(own.words[size_t(run.words + k)]);
    }
  }
  return pairs;
}

/// Tiles and visible pairs where keys are listed: only asked for here, as all lists are gone through.
std::pair<TileCounts, double> countListed(const Problem& problem, const SequencePlan& plan, const Kernels& kernels) {
  const MaskMap& map = *plan.programs->map;
  const ListedKeys& listed = *plan.programs->listed;
  const bool alike = !map.perUnit() && !listed.perHead();
  const int64_t units = alike ? std::min<int64_t>(plan.units, 1) : plan.units, times = alike ? plan.units : 1;
  TileCounts sum, counts;
  double pairs = 0, keys = 0;  // keys: of `line`
  std::optional<std::span<const int32_t>> line;
  ListedRuns own;
  std::vector<KeyRun> moved;
  GroupLanes lanes;
  for (int64_t unit = 0; unit < units; ++unit) {
    for (int64_t group = 0; group < plan.groups; ++group) {
      lanes.fill(problem, plan, kernels, unit, group);
      const std::span<const KeyRun> base = map.runs(unit, group, moved);
      const auto before = std::exchange(line, listed.lineAlone(lanes.lanes, base));
      // Groups often have a line together.
      const bool known = line && before && line->data() == before->data() && line->size() == before->size();
      if (known) {
        pairs += keys * double(lanes.lanes.count);
      } else {
        double seen;
        if (!line && listed.hidesNothing(base)) {
          seen = listed.runsAlone(lanes.lanes, own.runs);
        } else {
          listed.runs(lanes.lanes, base, map.words(), own);
          seen = pairsOf(lanes.lanes, own);
        }
        pairs += seen;
        keys = seen / double(lanes.lanes.count);
        counts = tilesOf(own.runs, plan.sequence.keys);
      }
      sum.full += problem.masks.empty() ? counts.full : 0;
      sum.partial += counts.partial + (problem.masks.empty() ? 0 : counts.full);
      sum.skipped += counts.skipped;
    }
  }
  sum.full *= times;
  sum.partial *= times;
  sum.skipped *= times;
  return {sum, pairs * double(times)};
}

}  // namespace

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
    queries += double(s.queries);
    keys += double(s.keys);
    const MaskMap& map = *plan.programs->map;
    const auto [tiles, seen] =
        plan.programs->listed ? countListed(p, plan, *kernels_) : std::pair(map.counts(), map.pairs());
    pairs += seen;
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
  if (p.mask && p.mask->product().axes > 0) {
    const auto apart = std::find_if(sequences_.begin(), sequences_.end(), [](const auto& plan) { return !plan.order; });
    if (apart != sequences_.end()) {
      result.notTaken.emplace_back("grid", GridKeys::fit(p, apart->sequence)
                                               ? "so few queries are taken as they come"
                                               : "the rows of a sequence are not the cells of the mask's grid");
    }
  }
  if (p.statistics.any() && p.threads > 1) {
    result.notTaken.emplace_back("split keys",
                                 "statistics are gathered from whole rows: a task has all keys of its own");
  }
  if (!commonApart_.empty()) result.notTaken.emplace_back("shared pages", commonApart_);
  if (!p.masks.empty()) {
    result.notTaken.emplace_back("full tiles", "mask tensors are read at run time: what they touch counts as partial");
  }
  return result;
}

}  // namespace fused_attention
