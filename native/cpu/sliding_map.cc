// Masks that go by distances alone: what a group sees is worked out once for all of them, bits too.
#include <algorithm>
#include <bit>

#include "../error.h"
#include "mask_map.h"
#include "plan.h"
#include "query_block.h"

namespace fused_attention {

/// First groups, whose queries see the same at the same distances: what one of them sees is looked at once, and moved.
/// Returns how many; the others are left, or all where the runs are many or the bits too large.
int64_t MaskMap::slide(const SequencePlan& plan, const Kernels& kernels, const Problem& problem,
                       const Visibility::Sliding& sliding, const VisibleBits& bits, std::atomic<int64_t>& budget,
                       const CancelFlag& cancel, MapTotals& totals) {
  constexpr size_t mostRuns = 1024;
  const auto lanesOf = [&](int64_t group) {
    const Range range = lanesOfGroup(plan, kernels, group);
    return range.end - range.begin;
  };
  int64_t count = groups_;
  while (count > 0 && lanesOf(count - 1) != sliding.rows) --count;
  if (count == 0 || sliding.runs.size() > mostRuns) return 0;

  // Distances that there are: those of the last such group, and of the first one.
  const GroupLanes lanes[] = {{problem, plan, kernels, 0, count - 1}, {problem, plan, kernels, 0, 0}};
  const int64_t start = sliding.start, keys = keys_;
  if (lanes[0].rows.begin > keys) return 0;  // groups between have distances that neither has
  const Range covered{start - lanes[0].rows.begin, start + keys};
  std::vector<Run> seen;
  int64_t wanted = 0;
  for (Run run : sliding.runs) {
    run.begin = std::max(run.begin, covered.begin);
    run.end = std::min(run.end, covered.end);
    if (run.empty()) continue;
    seen.push_back(run);
    if (!run.full) wanted += run.end - run.begin;
  }
  const int64_t bytes = wanted * int64_t(sizeof(uint64_t));
  if (bytes > budget.load(std::memory_order_relaxed)) return 0;
  budget.fetch_sub(bytes, std::memory_order_relaxed);

  std::vector<double> scratch(bits.scratchBytes(kTileKeys) / sizeof(double) + 1);
  std::vector<float> vectors[2];
  VisibleBits::Group bound[] = {{lanes[0].lanes, lanes[0].padded, nullptr}, {lanes[1].lanes, lanes[1].padded, nullptr}};
  for (int which = 0; which < 2; ++which) {
    vectors[which].resize(bits.laneFloats());
    bound[which].laneVectors = vectors[which].data();
    bits.bind(bound[which]);
  }
  const uint64_t every = everyLane(lanes[0].lanes);
  words_.resize(size_t(wanted));
  int64_t at = 0;
  for (const Run& run : seen) {
    if (run.full) {
      append(runs_, 0, {{run.begin, run.end}, true});
      continue;
    }
    const int64_t first = at;
    for (int64_t begin = run.begin; begin < run.end;) {
      if (cancel.raised()) throw Cancelled();
      const int which = begin - covered.begin < keys ? 0 : 1;
      const int64_t shift = lanes[which].rows.begin - start;
      const int64_t end = std::min({run.end, begin + kTileKeys, which == 0 ? covered.begin + keys : run.end});
      bits.program(bound[which], {begin + shift, end + shift}, scratch.data(), words_.data() + at);
      at += end - begin;
      begin = end;
    }
    appendSeen(runs_, 0, every, words_.data() + first, run.begin, run.end - run.begin,
               [&](int64_t from, int64_t) { return first + from; });
  }

  // Pairs and keys of the runs before each.
  std::vector<double> pairs{0}, lengths{0};
  const auto pairsOf = [&](const KeyRun& run, int64_t from, int64_t end) {
    if (run.full) return double(end - from) * double(sliding.rows);
    double sum = 0;
    for (int64_t k = from; k < end; ++k) sum += std::popcount(words_[size_t(run.words + k - run.begin)]);
    return sum;
  };
  for (const KeyRun& run : runs_) {
    pairs.push_back(pairs.back() + pairsOf(run, run.begin, run.end));
    lengths.push_back(lengths.back() + double(run.end - run.begin));
  }
  const auto alike = [](const KeyRun& a, const Run& b) {
    return a.full == b.full && a.begin == b.begin && a.end == b.end;
  };
  const bool settled = !std::equal(runs_.begin(), runs_.end(), seen.begin(), seen.end(), alike);

  const int64_t shared = int64_t(runs_.size());
  int64_t first = shared, end = shared;  // of the runs that a group sees; both fall
  std::vector<KeyRun> moved;
  std::vector<Run> found;
  for (int64_t group = 0; group < count; ++group) {
    if (cancel.raised()) throw Cancelled();
    const int64_t shift = lanesOfGroup(plan, kernels, group).begin - start;
    while (first > 0 && runs_[size_t(first - 1)].end + shift > 0) --first;
    while (end > 0 && runs_[size_t(end - 1)].begin + shift >= keys) --end;
    Kept kept{first, end, shift};
    double groupPairs = pairs[size_t(end)] - pairs[size_t(first)],
           groupKeys = lengths[size_t(end)] - lengths[size_t(first)];
    bool cut = false;
    for (const bool before : {true, false}) {
      if (first == end) break;
      const KeyRun& run = runs_[size_t(before ? first : end - 1)];
      const int64_t from = before ? run.begin : std::max(run.begin, keys - shift);
      const int64_t stop = before ? std::min(run.end, -shift) : run.end;
      if (from >= stop) continue;
      groupPairs -= pairsOf(run, from, stop);
      groupKeys -= double(stop - from);
      cut |= !run.full;
    }
    if (cut) {
      const int64_t own = int64_t(runs_.size());
      for (int64_t n = first; n < end; ++n) {
        const KeyRun run = runs_[size_t(n)];
        const int64_t from = std::max(run.begin, -shift), stop = std::min(run.end, keys - shift);
        if (run.full) {
          append(runs_, size_t(own), {{from + shift, stop + shift}, true});
          continue;
        }
        const int64_t word = run.words + from - run.begin;
        appendSeen(runs_, size_t(own), every, words_.data() + word, from + shift, stop - from,
                   [&](int64_t k, int64_t) { return word + k; });
      }
      kept = {own, int64_t(runs_.size()), 0};
    }
    kept_.push_back(kept);
    const std::span<const KeyRun> runs = this->runs(0, group, moved);
    const SchedulingCosts costs = costsOf(runs, plan.chunk);
    totals.costs.together += costs.together;
    totals.costs.gathered += costs.gathered;
    totals.keys += groupKeys;
    totals.pairs += groupPairs * double(plan.units);
    TileCounts counts = tilesOf(runs, keys);
    if (settled) {
      found.clear();
      for (const Run& run : seen) {
        const Range range{std::max<int64_t>(run.begin + shift, 0), std::min(run.end + shift, keys)};
        if (!range.empty()) found.push_back({range, run.full});
      }
      counts.promoted = tilesOf(found, keys).partial - counts.partial;
    }
    totals.counts.add(counts, plan.units);
  }
  return count;
}

}  // namespace fused_attention
