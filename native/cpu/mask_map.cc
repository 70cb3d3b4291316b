#include "mask_map.h"

#include <algorithm>
#include <bit>
#include <deque>
#include <limits>
#include <unordered_map>

#include "plan.h"
#include "pool.h"
#include "query_block.h"

namespace fused_attention {

namespace {

/// Groups that one thread looks at, at a time, and of these together first.
constexpr int64_t kSliceGroups = 64, kTogether = 8;

/// Tiles of a group of rows, as forward.cc cuts them: kTileKeys keys at a time from the start of the sequence.
template <class Runs>
TileCounts tilesOf(const Runs& runs, int64_t keys) {
  const int64_t all = (keys + kTileKeys - 1) / kTileKeys;
  int64_t seen = 0, full = 0, next = 0;  // next: first tile not counted as seen
  for (size_t i = 0; i < runs.size();) {
    // Full runs that touch are one.
    Range run = runs[i];
    const bool isFull = runs[i].full && runs[i].step == 1;
    size_t last = i;
    while (isFull && last + 1 < runs.size() && runs[last + 1].full && runs[last + 1].step == 1 &&
           runs[last + 1].begin == run.end) {
      run.end = runs[++last].end;
    }
    const int64_t end = (run.end - 1) / kTileKeys + 1;
    seen += std::max<int64_t>(0, end - std::max(next, run.begin / kTileKeys));
    next = std::max(next, end);
    if (isFull) {
      // A tile is full when nothing that the group sees of it is partial, and nothing between is hidden.
      const auto inTile = [&](size_t other, int64_t tile) {
        return other < runs.size() && runs[other].begin < (tile + 1) * kTileKeys && runs[other].end > tile * kTileKeys;
      };
      const int64_t first = run.begin / kTileKeys;
      const int64_t from = i > 0 && inTile(i - 1, first) ? first + 1 : first;
      const int64_t to = inTile(last + 1, end - 1) ? end - 1 : end;
      full += std::max<int64_t>(0, to - from);
    }
    i = last + 1;
  }
  return {full, seen - full, all - seen, 0};
}

SchedulingCosts costsOf(std::span<const KeyRun> runs, int64_t chunk) {
  constexpr double tile = 12, merge = 24;  // keys that would take as long
  SchedulingCosts costs;
  int64_t keys = 0, lastTile = -1, lastChunk = -1, end = 0;  // end: of what was seen of the last tile
  for (const KeyRun& run : runs) {
    keys += run.count();
    if (run.step > 1) costs.together = std::numeric_limits<double>::infinity();  // such runs are gathered
    for (int64_t begin = run.begin; begin < run.end;) {
      const int64_t at = begin / kTileKeys, stop = std::min(run.end, (at + 1) * kTileKeys);
      costs.together += double(stop - (at == lastTile ? end : begin)) + (at == lastTile ? 0 : tile);
      if (begin / chunk != lastChunk) costs.together += merge;
      lastTile = at;
      lastChunk = begin / chunk;
      begin = end = stop;
    }
  }
  costs.gathered = double(keys) + tile * double(ceilDiv(keys, kTileKeys)) + merge * double(ceilDiv(keys, chunk));
  return costs;
}

void add(TileCounts& sum, const TileCounts& counts, int64_t times) {
  sum.full += counts.full * times;
  sum.partial += counts.partial * times;
  sum.skipped += counts.skipped * times;
  sum.promoted += counts.promoted * times;
}

void append(std::vector<KeyRun>& runs, size_t first, const KeyRun& run) {
  if (runs.size() > first && runs.back().end == run.begin && runs.back().full == run.full &&
      (run.full || (run.words == KeyRun::kNotKept && runs.back().words == KeyRun::kNotKept))) {
    runs.back().end = run.end;
  } else {
    runs.push_back(run);
  }
}

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

TileCounts countTiles(std::span<const KeyRun> runs, int64_t keys) { return tilesOf(runs, keys); }

/// What one thread found out about a slice of the groups.
struct MaskMap::Slice {
  std::vector<int64_t> first;  // of each group
  std::vector<KeyRun> runs;
  std::vector<uint64_t> words;
  TileCounts counts;
  SchedulingCosts costs;
  double pairs = 0, keys = 0;
  // Memory to work in.
  std::vector<Run> together, found;
  std::vector<float> laneVectors;
  std::vector<double> scratch;
};

MaskMap::MaskMap(const Problem& problem, const SequencePlan& plan, const Kernels& kernels,
                 std::shared_ptr<const TileProgram> program, std::atomic<int64_t>& budget)
    : groups_(plan.groups) {
  const Sequence& sequence = plan.sequence;
  uniform_ = !problem.mask || problem.mask->showsAll();
  if (uniform_) {
    if (sequence.keys > 0) runs_.push_back({{0, sequence.keys}, true});
    kept_ = {{0, int64_t(runs_.size()), 0}};
    add(counts_, tilesOf(runs_, sequence.keys), groups_ * plan.units);
    pairs_ = double(plan.units) * double(plan.lanes) * double(sequence.keys);
  } else if (plan.order && !program) {
    buildGrid(problem, plan, kernels, budget);
  } else {
    build(problem, plan, kernels, program.get(), budget);
  }
  gathered_ |= ListedKeys::has(problem) && sequence.keys > 0 && sequence.queries > 0;
  if (!problem.masks.empty()) {  // whatever they touch is only known at run time
    counts_.partial += counts_.full;
    counts_.full = 0;
  }
}

void MaskMap::build(const Problem& given, const SequencePlan& plan, const Kernels& kernels, const TileProgram* program,
                    std::atomic<int64_t>& budget) {
  // Mask tensors that the program does not read take away from what the map says, at run time.
  Problem problem = given;
  problem.masks.resize(given.mask ? size_t(given.mask->graph().grids) : 0);
  const Sequence& sequence = plan.sequence;
  const bool readsTensors = given.mask && given.mask->graph().grids > 0;
  perUnit_ = given.mask && (given.mask->depends(given.mask->result()) & onHead) && !readsTensors;
  Visibility visibility(problem, sequence, program ? program->unary() : nullptr);
  visibility.prepareBoxes(plan.groupLanes);
  const VisibleBits bits(problem, sequence, kernels, program, nullptr);

  // What neighbouring groups see together says where each has to be looked at. Boxes of distances are known already.
  const bool apart = plan.packed || plan.order || !program || program->unary()->bounds().onlyDistance();
  const auto seenTogether = [&](int64_t unit, int64_t group, int64_t head, std::vector<Run>& out) {
    out.clear();
    if (apart) return out.push_back({Columns(0, sequence.keys), false});
    const GroupLanes first(given, plan, kernels, unit, group);
    const GroupLanes last(given, plan, kernels, unit, std::min(group + kTogether, groups_) - 1);
    visibility.runs({first.rows.begin, last.rows.end}, {0, sequence.keys}, out, head);
  };

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

  const auto lookAt = [&](int64_t index, int64_t group, Slice& slice) {
    const int64_t unit = looked[size_t(index)];
    const double pairsBefore = slice.pairs;
    const size_t firstRun = slice.runs.size();
    slice.first.push_back(int64_t(firstRun));
    const GroupLanes lanes(given, plan, kernels, unit, group);
    std::vector<Run>& found = slice.found;
    found.clear();
    const int64_t head = perUnit_ && !plan.packed ? unit : Bounds::kAllHeads;
    if (group % kTogether == 0 || slice.first.size() == 1) seenTogether(unit, group, head, slice.together);
    for (const Run& run : slice.together) {
      if (run.full) {
        found.push_back(run);
      } else {
        visibility.runs(lanes.rows, run, found, head);
      }
    }

    slice.laneVectors.resize(bits.laneFloats());
    slice.scratch.resize(bits.scratchBytes(kTileKeys) / sizeof(double) + 1);
    VisibleBits::Group bound{lanes.lanes, lanes.padded, slice.laneVectors.data()};
    bool ready = false;
    const double count = double(lanes.lanes.count);
    for (const Run& run : found) {
      if (run.full || readsTensors) {
        append(slice.runs, firstRun, {{run.begin, run.end}, run.full});
        slice.pairs += double(run.end - run.begin) * count;
        continue;
      }
      for (int64_t begin = run.begin; begin < run.end;) {
        Range piece{begin, std::min(run.end, (begin / kTileKeys + 1) * kTileKeys)};
        begin = piece.end;
        const int64_t bytes = (piece.end - piece.begin) * int64_t(sizeof(uint64_t));
        if (budget.load(std::memory_order_relaxed) < bytes) {
          append(slice.runs, firstRun, {piece, false});
          slice.pairs += double(piece.end - piece.begin) * count;
          continue;
        }
        uint64_t words[kTileKeys];
        if (!ready) bits.bind(bound);
        ready = true;
        bits.program(bound, piece, slice.scratch.data(), words);
        const uint64_t* from = words;
        while (piece.begin < piece.end && *from == 0) ++from, ++piece.begin;
        while (piece.begin < piece.end && from[piece.end - piece.begin - 1] == 0) --piece.end;
        const int64_t keys = piece.end - piece.begin;
        const Seen seen = seenBy(lanes.lanes, from, keys);
        if (keys == 0) continue;
        if (seen == Seen::all) {
          append(slice.runs, firstRun, {piece, true});
          slice.pairs += double(keys) * count;
          continue;
        }
        budget.fetch_sub(keys * int64_t(sizeof(uint64_t)), std::memory_order_relaxed);
        append(slice.runs, firstRun, {piece, false, int64_t(slice.words.size())});
        slice.words.insert(slice.words.end(), from, from + keys);
        for (int64_t k = 0; k < keys; ++k) slice.pairs += std::popcount(from[k]);
      }
    }
    const std::span<const KeyRun> runs = std::span(slice.runs).subspan(firstRun);
    const SchedulingCosts costs = costsOf(runs, plan.chunk);
    slice.costs.together += costs.together;
    slice.costs.gathered += costs.gathered;
    for (const KeyRun& run : runs) slice.keys += double(run.end - run.begin);
    TileCounts counts = tilesOf(runs, sequence.keys);
    counts.promoted = tilesOf(found, sequence.keys).partial - counts.partial;
    add(slice.counts, counts, times[size_t(index)]);
    slice.pairs = pairsBefore + (slice.pairs - pairsBefore) * double(times[size_t(index)]);
  };

  const int64_t total = groups_ * int64_t(looked.size());
  std::vector<Slice> slices(size_t(ceilDiv(total, kSliceGroups)));
  Pool::shared().parallel(int64_t(slices.size()), given.threads, [&](int64_t index, int) {
    const int64_t end = std::min(total, (index + 1) * kSliceGroups);
    for (int64_t at = index * kSliceGroups; at < end; ++at) {
      lookAt(at / groups_, at % groups_, slices[size_t(index)]);
    }
  });

  SchedulingCosts costs;
  double keys = 0;
  for (const Slice& slice : slices) {
    costs.together += slice.costs.together;
    costs.gathered += slice.costs.gathered;
    keys += slice.keys;
    const int64_t runsBefore = int64_t(runs_.size()), wordsBefore = int64_t(words_.size());
    for (size_t n = 0; n < slice.first.size(); ++n) {
      const int64_t end = n + 1 < slice.first.size() ? slice.first[n + 1] : int64_t(slice.runs.size());
      kept_.push_back({slice.first[n] + runsBefore, end + runsBefore, 0});
    }
    for (KeyRun run : slice.runs) {
      if (run.words != KeyRun::kNotKept) run.words += wordsBefore;
      runs_.push_back(run);
    }
    words_.insert(words_.end(), slice.words.begin(), slice.words.end());
    add(counts_, slice.counts, 1);
    pairs_ += slice.pairs;
  }
  if (likeness.size() > looked.size()) {
    std::vector<Kept> all;
    for (const int64_t like : likeness) {
      all.insert(all.end(), kept_.begin() + like * groups_, kept_.begin() + (like + 1) * groups_);
    }
    kept_ = std::move(all);
  }
  weigh(costs, keys, total, sequence, false);
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
                        std::atomic<int64_t>& budget) {
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
    add(counts_, tilesOf(seen, plan.sequence.keys), plan.units);
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
  }
  return moved;
}

std::optional<int64_t> MaskMap::firstKey(int64_t unit, int64_t group) const {
  const Kept& kept = keptOf(unit, group);
  if (kept.first == kept.end) return std::nullopt;
  const int64_t begin = runs_[size_t(kept.first)].begin;
  return begin < origin_ ? begin : begin + kept.shift;
}

size_t MaskMap::bytes() const {
  return kept_.capacity() * sizeof(Kept) + runs_.capacity() * sizeof(KeyRun) + words_.capacity() * sizeof(uint64_t);
}

}  // namespace fused_attention
