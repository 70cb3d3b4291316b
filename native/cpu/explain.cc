// What a CpuPlan will do, counted from the runs that it will use.
#include <algorithm>
#include <string>

#include "plan.h"

namespace fused_attention {

namespace {

struct TileCounts {
  int64_t full = 0, partial = 0, skipped = 0;
};

/// Tiles of a group of rows, as forward.cc cuts them: kTileKeys keys at a time from the start of the sequence.
void countTiles(const Visibility& visibility, const Sequence& sequence, Range rows, TileCounts& counts) {
  std::vector<Run> runs;
  visibility.runs(rows, {0, sequence.keys}, runs);
  const int64_t all = (sequence.keys + kTileKeys - 1) / kTileKeys;
  int64_t seen = 0, full = 0, next = 0;  // next: first tile not counted as seen
  for (const Run& run : runs) {
    const int64_t last = (run.end - 1) / kTileKeys + 1;
    const int64_t begin = std::max(next, run.begin / kTileKeys);
    seen += std::max<int64_t>(0, last - begin);
    next = std::max(next, last);
    if (!run.full) continue;
    // A tile is full when nothing that the group sees of it is partial.
    const bool startsClean = run.begin % kTileKeys == 0 || &run == runs.data();
    const bool endsClean = run.end % kTileKeys == 0 || &run == &runs.back();
    const int64_t from = startsClean ? run.begin / kTileKeys : run.begin / kTileKeys + 1;
    const int64_t to = endsClean ? last : run.end / kTileKeys;
    full += std::max<int64_t>(0, to - from);
  }
  counts.full += full;
  counts.partial += seen - full;
  counts.skipped += all - seen;
}

}  // namespace

Explanation CpuPlan::explain() const {
  const Problem& p = problem_;
  Explanation result;
  result.device = "cpu";
  result.kernel = std::string("fused-forward-") + isaName(kernels_->isa);
  result.tileQueries = kernels_->maxLanes();
  result.tileKeys = kTileKeys;
  result.tasks = tasks_;
  result.threads = p.threads;

  TileCounts counts;
  double pairs = 0, queries = 0, keys = 0;
  for (const SequencePlan& plan : sequences_) {
    const Sequence& s = plan.sequence;
    const Visibility visibility(p, s, nullptr);
    result.chunk = std::max(result.chunk, plan.chunk);
    pairs += visibility.pairs() * double(p.headsQ);
    queries += double(s.queries);
    keys += double(s.keys);
    TileCounts unit;
    const int64_t lanes = kernels_->maxLanes();
    for (int64_t lane = 0; lane < plan.lanes; lane += lanes) {
      const int64_t last = std::min(lane + lanes, plan.lanes) - 1;
      const bool wraps = plan.packed && lane / s.queries != last / s.queries;
      countTiles(visibility, s, wraps ? Range{0, s.queries} : Range{lane % s.queries, last % s.queries + 1}, unit);
    }
    counts.full += unit.full * plan.units;
    counts.partial += unit.partial * plan.units;
    counts.skipped += unit.skipped * plan.units;
  }
  result.tilesFull = counts.full;
  result.tilesPartial = counts.partial;
  result.tilesSkipped = counts.skipped;
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
  if (!p.masks.empty()) {
    result.notTaken.emplace_back("full tiles", "mask tensors are read at run time: what they touch counts as partial");
  }
  return result;
}

}  // namespace fused_attention
