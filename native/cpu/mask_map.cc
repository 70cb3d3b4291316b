#include "mask_map.h"

#include <algorithm>
#include <bit>
#include <deque>
#include <limits>
#include <unordered_map>

#include "../error.h"
#include "group_runs.h"
#include "plan.h"
#include "pool.h"
#include "query_block.h"

namespace fused_attention {

namespace {

/// Groups that one thread looks at, at a time.
constexpr int64_t kSliceGroups = 128;

/// Of each query head the first one that a program cannot tell from it: all that depends on the head alone has the same
/// values for both.
std::vector<int64_t> firstAlike(const UnaryValues& values, int64_t heads) {
  const Program& program = values.program();
  std::vector<bool> asked(size_t(program.result()) + 1);  // nodes of heads that others go by
  asked[size_t(program.result())] = program.depends(program.result()) == onHead;
  for (int n = 0; n <= program.result(); ++n) {
    const Node& node = program.node(n);
    for (int a = 0; a < node.arity; ++a) {
      if (program.depends(node.args[a]) == onHead && program.depends(n) != onHead) asked[size_t(node.args[a])] = true;
    }
  }
  std::vector<int64_t> first;
  for (int64_t head = 0; head < heads; ++head) {
    const auto same = [&](int64_t other) {
      for (int n = 0; n < int(asked.size()); ++n) {
        if (!asked[size_t(n)]) continue;
        if (values.scalar(n, head).integer != values.scalar(n, other).integer) return false;
        if (values.uncertain(n) && values.scalarPoison(n, head) != values.scalarPoison(n, other)) return false;
      }
      return true;
    };
    int64_t at = 0;
    while (at < head && (first[size_t(at)] != at || !same(at))) ++at;
    first.push_back(at);
  }
  return first;
}

/// What groups of a grid see, each kind once: groups away from the borders differ by their places alone.
class GridShapes {
 public:
  struct Shape {
    GridKeys::Group cells;
    int64_t first = 0, end = 0;  // of the runs kept for it
    double keys = 0;
  };

  /// The shape of a group, and whether it was not known.
  std::pair<Shape*, bool> of(const GridKeys::Group& cells) {
    const auto [begin, end] = byHash_.equal_range(hashOf(cells));
    for (auto at = begin; at != end; ++at) {
      if (GridKeys::alike(shapes_[at->second].cells, cells)) return {&shapes_[at->second], false};
    }
    byHash_.emplace(hashOf(cells), shapes_.size());
    shapes_.push_back({cells});
    return {&shapes_.back(), true};
  }

 private:
  static uint64_t hashOf(const GridKeys::Group& cells) {
    uint64_t hash = uint64_t(cells.lanes);
    for (const std::vector<uint64_t>& words : cells.words) {
      for (const uint64_t word : words) hash = (std::rotl(hash, 23) ^ word) * 0x9e3779b97f4a7c15;
    }
    return hash;
  }

  std::deque<Shape> shapes_;
  std::unordered_multimap<uint64_t, size_t> byHash_;
};

}  // namespace

MaskMap::MaskMap(const Problem& problem, const SequencePlan& plan, const Kernels& kernels,
                 std::shared_ptr<const TileProgram> program, std::atomic<int64_t>& budget, const CancelFlag& cancel)
    : groups_(plan.groups), keys_(plan.sequence.keys) {
  const Sequence& sequence = plan.sequence;
  uniform_ = !problem.mask || problem.mask->showsAll();
  if (uniform_) {
    if (sequence.keys > 0) runs_.push_back({{0, sequence.keys}, true});
    kept_ = {{0, int64_t(runs_.size()), 0}};
    counts_.add(tilesOf(runs_, sequence.keys), groups_ * plan.units);
    pairs_ = double(plan.units) * double(plan.lanes) * double(sequence.keys);
  } else if (plan.order && !program) {
    buildGrid(problem, plan, kernels, budget, cancel);
  } else {
    build(problem, plan, kernels, program.get(), budget, cancel);
  }
  gathered_ |= ListedKeys::has(problem) && sequence.keys > 0 && sequence.queries > 0;
  if (!problem.masks.empty()) {  // whatever they touch is only known at run time
    counts_.partial += counts_.full;
    counts_.full = 0;
  }
}

void MaskMap::build(const Problem& given, const SequencePlan& plan, const Kernels& kernels, const TileProgram* program,
                    std::atomic<int64_t>& budget, const CancelFlag& cancel) {
  // Mask tensors that the program does not read take away from what the map says, at run time.
  Problem problem = given;
  problem.masks.resize(given.mask ? size_t(given.mask->graph().grids) : 0);
  const Sequence& sequence = plan.sequence;
  const bool readsTensors = given.mask && given.mask->graph().grids > 0;
  perUnit_ = given.mask && (given.mask->depends(given.mask->result()) & onHead) && !readsTensors;
  Visibility visibility(problem, sequence, program ? program->unary() : nullptr);
  visibility.prepareBoxes(plan.groupLanes);
  const VisibleBits bits(problem, sequence, kernels, program, nullptr);

  // Units that are looked at, and of each unit which one of these it is like.
  std::vector<int64_t> looked{0}, likeness(size_t(perUnit_ ? plan.units : 1), 0);
  if (perUnit_) {
    const std::vector<int64_t> first = plan.packed ? std::vector<int64_t>() : firstAlike(*program->unary(), plan.units);
    for (int64_t unit = 1; unit < plan.units; ++unit) {
      const bool alone = plan.packed || first[size_t(unit)] == unit;
      likeness[size_t(unit)] = alone ? int64_t(looked.size()) : likeness[size_t(first[size_t(unit)])];
      if (alone) looked.push_back(unit);
    }
  }
  std::vector<int64_t> times(looked.size(), perUnit_ ? 0 : plan.units);  // that each of these counts
  for (size_t unit = 0; perUnit_ && unit < likeness.size(); ++unit) ++times[size_t(likeness[unit])];

  MapTotals sum;
  const Visibility::Sliding* const sliding = visibility.sliding();
  const bool slides = sliding && !plan.packed && !plan.order;
  const int64_t slid = slides ? slide(plan, kernels, given, *sliding, bits, budget, cancel, sum) : 0;
  const int64_t all = groups_ * int64_t(looked.size()), total = all - slid;
  const bool inOrder =
      !plan.packed && (!plan.order || std::is_sorted(plan.order->rows.begin(), plan.order->rows.end()));
  const GroupRuns::Source source{given,  plan,     kernels,      visibility, bits,
                                 budget, perUnit_, readsTensors, inOrder,    cancel};
  std::vector<GroupRuns> slices;
  for (int64_t at = 0; at < total; at += kSliceGroups) slices.emplace_back(source);
  Pool::shared().parallel(int64_t(slices.size()), given.threads, [&](int64_t index, int) {
    const int64_t end = std::min(total, (index + 1) * kSliceGroups);
    for (int64_t at = slid + index * kSliceGroups; at < slid + end; ++at) {
      const size_t which = size_t(at / groups_);
      slices[size_t(index)].look(looked[which], at % groups_, times[which]);
    }
  });

  for (const GroupRuns& slice : slices) {
    sum.add(slice.totals());
    const int64_t runsBefore = int64_t(runs_.size()), wordsBefore = int64_t(words_.size());
    for (int64_t n = 0; n < slice.groups(); ++n) {
      const Range own = slice.group(n);
      kept_.push_back({own.begin + runsBefore, own.end + runsBefore, 0});
    }
    for (KeyRun run : slice.runs()) {
      if (run.words != KeyRun::kNotKept) run.words += wordsBefore;
      runs_.push_back(run);
    }
    words_.insert(words_.end(), slice.words().begin(), slice.words().end());
  }
  counts_ = sum.counts;
  pairs_ = sum.pairs;
  if (likeness.size() > looked.size()) {
    std::vector<Kept> all;
    for (const int64_t like : likeness) {
      all.insert(all.end(), kept_.begin() + like * groups_, kept_.begin() + (like + 1) * groups_);
    }
    kept_ = std::move(all);
  }
  weigh(sum.costs, sum.keys, all, sequence, false);
}

/// `keys` are what `maps` groups see.
void MaskMap::weigh(const SchedulingCosts& costs, double keys, int64_t maps, const Sequence& sequence, bool grid) {
  constexpr double worthwhile = 0.9;  // together, groups share what they load
  // Sequences of a chunk or two have little to save, and keep the order of additions that mask tensors have.
  constexpr int64_t fewest = 1024;
  gathered_ = costs.gathered < worthwhile * costs.together && (sequence.keys >= fewest || grid);
  const double all = double(maps) * double(sequence.keys);
  if (all > 0) density_ = keys / all;
}

void MaskMap::buildGrid(const Problem& problem, const SequencePlan& plan, const Kernels& kernels,
                        std::atomic<int64_t>& budget, const CancelFlag& cancel) {
  const GridKeys grid(problem, plan.sequence);
  GridShapes shapes;
  GridKeys::Group cells;
  std::vector<Run> found;
  std::vector<KeyRun> moved;
  GroupLanes lanes;
  SchedulingCosts costs;
  double keys = 0;
  origin_ = problem.mask->product().origin;
  kept_.reserve(size_t(groups_));
  for (int64_t group = 0; group < groups_; ++group) {
    if (cancel.raised()) throw Cancelled();
    lanes.fill(problem, plan, kernels, 0, group);
    grid.bind(lanes.lanes, cells);
    const auto [shape, isNew] = shapes.of(cells);
    if (isNew) {
      shape->first = int64_t(runs_.size());
      found.clear();
      grid.runs(cells, found);
      for (const Run& run : found) {
        shape->keys += double(run.count());
        KeyRun kept{Columns(run.begin, run.end, run.step), run.full};
        if (!run.full) {
          kept.words = int64_t(words_.size());
          words_.resize(words_.size() + size_t(run.count()));
          grid.bits(cells, run, words_.data() + kept.words);
        }
        runs_.push_back(kept);
      }
      shape->end = int64_t(runs_.size());
    }
    kept_.push_back({shape->first, shape->end, grid.originOf(cells) - grid.originOf(shape->cells)});
    keys += shape->keys;
    pairs_ += cells.pairs * double(plan.units);
    const std::span<const KeyRun> seen = runs(0, group, moved);
    const SchedulingCosts own = costsOf(seen, plan.chunk);
    costs.together += own.together;
    costs.gathered += own.gathered;
    counts_.add(tilesOf(seen, plan.sequence.keys), plan.units);
  }
  budget.fetch_sub(int64_t(words_.size() * sizeof(uint64_t)), std::memory_order_relaxed);
  weigh(costs, keys, groups_, plan.sequence, true);
}

std::span<const KeyRun> MaskMap::move(std::span<const KeyRun> runs, int64_t shift, std::vector<KeyRun>& moved) const {
  moved.assign(runs.begin(), runs.end());
  for (KeyRun& run : moved) {
    if (run.begin < origin_) continue;
    run.begin += shift;
    run.end += shift;
    if (!run.full || run.step > 1) continue;
    run.begin = std::max<int64_t>(run.begin, 0);
    run.end = std::min(run.end, keys_);
  }
  return moved;
}

std::optional<int64_t> MaskMap::firstKey(int64_t unit, int64_t group) const {
  const Kept& kept = keptOf(unit, group);
  if (kept.first == kept.end) return std::nullopt;
  const int64_t begin = runs_[size_t(kept.first)].begin;
  return begin < origin_ ? begin : std::max<int64_t>(begin + kept.shift, 0);
}

size_t MaskMap::bytes() const {
  return kept_.capacity() * sizeof(Kept) + runs_.capacity() * sizeof(KeyRun) + words_.capacity() * sizeof(uint64_t);
}

}  // namespace fused_attention
