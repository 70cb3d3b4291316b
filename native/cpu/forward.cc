#include "forward.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

#include "../error.h"
#include "arena.h"
#include "chunk_tree.h"
#include "common_pass.h"
#include "gathered_tiles.h"
#include "half.h"
#include "key_rows.h"
#include "query_block.h"
#include "results.h"
#include "rows_ahead.h"
#include "task_programs.h"

namespace fused_attention {

namespace {

/// So many groups going over a tile pay for a copy of it.
constexpr int64_t kManyGroups = 4;

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

/// A task, and the queries that it is about.
struct BoundTask {
  BoundTask(const CpuPlan& plan, int64_t index) : task(plan.task(index)), queries(plan, task) {}

  Task task;
  QueryBlock queries;
};

/// One task under way: its queries, the keys they share, and its scratch memory.
class Forward {
 public:
  /// `following` is the task that this thread does next, or null.
  Forward(const CpuPlan& plan, const BoundTask& bound, const BoundTask* following, const Pointers& pointers,
          const CancelFlag& cancel)
      : plan_(plan),
        problem_(plan.problem()),
        kernels_(plan.kernels()),
        task_(bound.task),
        following_(following),
        pointers_(pointers),
        cancel_(cancel),
        queries_(bound.queries),
        arena_(Arena::local(plan.taskBytes())),
        programs_(plan, task_, queries_, pointers, arena_),
        keys_(keysOf(bound)),
        values_(valuesOf(bound)),
        shift_(shiftOf(problem_, bound.task.plan->sequence)),
        sharedRows_(keys_.sameRows(values_) && keys_.dim >= values_.dim) {
    takeScratch();
    packQueries();
  }

  void run(const PartialStore& partials) {
    const SequencePlan& cut = *task_.plan;
    ChunkTree tree = treeOf(plan_, queries_, states_);
    const int64_t firstChunk = task_.part * cut.partChunks;
    for (int64_t c = firstChunk; c < firstChunk + cut.partChunks; ++c) {
      const Range chunk{std::max(c * cut.chunk, cut.sequence.firstKey),
                        std::min((c + 1) * cut.chunk, cut.sequence.keys)};
      if (chunk.empty() || !findRuns(chunk)) continue;
      attendChunk(chunk, tree.next());
      tree.push(c);
    }
    BlockState& state = tree.collapse();
    if (plan_.maxParts() == 1) {
      if (cut.sequence.firstKey > 0) joinCommon(plan_, queries_, partials.common, state);
      writeResults(plan_, queries_, state, pointers_);
    } else {
      std::copy_n(state.output(0), queries_.groups() * plan_.groupFloats(), partials.at(plan_, task_));
    }
  }

 private:
  Segment keysOf(const BoundTask& bound) const {
    return Segment::of(problem_, problem_.key, pointers_.key, pointers_.keyPages, pointers_.pages.table,
                       bound.task.plan->sequence, bound.queries.kvHead(), problem_.dimQk);
  }
  Segment valuesOf(const BoundTask& bound) const {
    return Segment::of(problem_, problem_.value, pointers_.value, pointers_.valuePages, pointers_.pages.table,
                       bound.task.plan->sequence, bound.queries.kvHead(), problem_.dimV);
  }

  void takeScratch() {
    const int lanes = kernels_.maxLanes();
    panels_ = arena_.take<float>(size_t(plan_.groups() * problem_.dimQk * lanes));
    for (int64_t i = 0; i < plan_.treeDepth(); ++i) {
      states_[i] = BlockState(arena_.take<float>(size_t(plan_.blockFloats())), problem_.dimV, lanes);
    }
    scores_ = arena_.take<float>(size_t(kTileKeys * lanes));
    if (problem_.hasBias) bias_ = arena_.take<float>(size_t(kTileKeys * lanes));
    rescale_ = arena_.take<float>(size_t(lanes));
    keyScratch_ = arena_.take<float>(size_t(kTileKeys * scratchStride(problem_.dimQk)));
    valueScratch_ = arena_.take<float>(size_t(kTileKeys * scratchStride(problem_.dimV)));
    rows_ = arena_.take<const void*>(size_t(2 * kTileKeys + plan_.rowsAhead()));
    keyRows_ = rows_;
    valueRows_ = sharedRows_ ? rows_ : rows_ + kTileKeys;
  }

  float* panel(int64_t group) const { return panels_ + group * problem_.dimQk * kernels_.maxLanes(); }

  void packQueries() {
    const void* rows[QueryBlock::kMaxLanes];
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      const int count = queries_.lanes(g).count;
      for (int t = 0; t < count; ++t) rows[t] = queries_.row(problem_.query, pointers_.query, g, t);
      const double scale = problem_.scale * (programs_.hasScore() ? 1 : std::numbers::log2e);
      if (queries_.few()) {
        kernels_.packFewQueries(panel(g), rows, count, problem_.query.dtype, problem_.dimQk, scale);
      } else {
        kernels_.packQueries(panel(g), queries_.padded()[g], rows, count, problem_.query.dtype, problem_.dimQk, scale);
      }
    }
  }

  /// The runs of each group that reach into the chunk; false when there are none.
  bool findRuns(Range chunk) {
    bool found = false;
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      const std::span<const KeyRun> all = programs_.runs(g);
      const auto first =
          std::partition_point(all.begin(), all.end(), [&](const KeyRun& r) { return r.end <= chunk.begin; });
      const auto last = std::partition_point(first, all.end(), [&](const KeyRun& r) { return r.begin < chunk.end; });
      runs_[g] = {first, last};
      found |= !runs_[g].empty();
    }
    return found;
  }

  void attendChunk(Range chunk, const BlockState& state) {
    uint64_t every = (uint64_t{1} << queries_.groups()) - 1;
    attendGroups(chunk, state, every, false);
    // NaN in a value that only some lanes may see reaches the others as 0 * NaN. It shows in the output, so look there
    // and do the chunk again with care, rather than look at every value.
    uint64_t spoiled = 0;
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      const int64_t width = kernels_.width,
                    rows = queries_.few() ? ceilDiv(problem_.dimV, width) * width : problem_.dimV;
      if (kernels_.hasNaN(state.output(g), rows * queries_.padded()[g])) spoiled |= uint64_t{1} << g;
    }
    if (spoiled) attendGroups(chunk, state, spoiled, true);
  }

  void attendGroups(Range chunk, const BlockState& state, uint64_t groups, bool careful) {
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      if (groups >> g & 1) state.clear(g, queries_.few() ? kernels_.maxLanes() : queries_.padded()[g]);
    }
    if (!task_.plan->programs->map->gathered()) return attendTogether(chunk, state, groups, careful);
    for (int64_t g = 0, end = 0; g < queries_.groups(); g = end) {
      end = g + 1;
      if (!(groups >> g & 1)) continue;
      while (end < queries_.groups() && (groups >> end & 1) && seeSame(g, end)) ++end;
      attendGathered(g, end, chunk, state, careful);
    }
  }

  /// Whether two groups see the same keys, and all of them.
  bool seeSame(int64_t g, int64_t other) const {
    const auto same = [](const KeyRun& a, const KeyRun& b) {
      return a.full && b.full && a.begin == b.begin && a.end == b.end && a.step == b.step;
    };
    return !programs_.mayHide() &&
           std::equal(runs_[g].begin(), runs_[g].end(), runs_[other].begin(), runs_[other].end(), same);
  }

  /// Groups that see the same, or a single one, go over tiles of their own, made of the keys that they see.
  void attendGathered(int64_t g, int64_t end, Range chunk, const BlockState& state, bool careful) {
    GatheredTiles tiles(runs_[g], chunk);
    GatheredTile *tile = &gathered_[0], *following = &gathered_[1];
    for (bool more = tiles.next(*tile); more; std::swap(tile, following)) {
      if (cancel_.raised()) throw Cancelled();
      more = tiles.next(*following);
      gatherRows(keys_, *tile, keyScratch_, keyRows_);
      if (!sharedRows_) gatherRows(values_, *tile, valueScratch_, valueRows_);
      ahead_ = RowsAhead(rows_ + 2 * kTileKeys, plan_.rowsAhead());
      if (more || (end < queries_.groups() && GatheredTiles(runs_[end], chunk).next(*following))) {
        for (const Columns& piece : following->columns()) addKeys(piece);
      } else if (end == queries_.groups()) {
        lookBehindTask();
      }
      ahead_.share(2 * (end - g));

      if (tile->full && !programs_.mayHide()) {
        for (int64_t own = g; own < end; ++own) attendKeys(own, tile->columns(), 0, nullptr, 0, state, careful);
        continue;
      }
      uint64_t words[kTileKeys];
      int64_t at = 0;
      bool some = false, hidden = false;
      for (int n = 0; n < tile->count; ++n) {
        const Seen seen = programs_.visible(g, *tile->runs[n], tile->pieces[n], words + at);
        some |= seen != Seen::none;
        hidden |= seen != Seen::all;
        at += tile->pieces[n].count();
      }
      if (some) attendKeys(g, tile->columns(), 0, hidden ? words : nullptr, 0, state, careful);
    }
  }

  /// Rows of a gathered tile, as the groups' kernels take them.
  void gatherRows(const Segment& segment, const GatheredTile& tile, float* scratch, const void** rows) {
    const int64_t at = storedRows(segment, tile.columns(), rows);
    if (!queries_.few() && segment.dtype != Dtype::float32) floatRows(kernels_, segment, at, scratch, rows);
  }

  /// All groups go over the same tiles.
  void attendTogether(Range chunk, const BlockState& state, uint64_t groups, bool careful) {
    std::span<const KeyRun> rest[QueryBlock::kMaxGroups];  // of the runs, what tiles to come may
                                                           // need
    for (int64_t g = 0; g < queries_.groups(); ++g) rest[g] = runs_[g];
    for (int64_t begin = chunk.begin; begin < chunk.end; begin += kTileKeys) {
      if (cancel_.raised()) throw Cancelled();
      const Range tile{begin, std::min(begin + kTileKeys, chunk.end)};
      std::span<const KeyRun> runs[QueryBlock::kMaxGroups];
      Range seen[QueryBlock::kMaxGroups];
      bool full[QueryBlock::kMaxGroups];
      Range loaded{tile.end, tile.begin};
      int64_t seeing = 0;
      for (int64_t g = 0; g < queries_.groups(); ++g) {
        if (!(groups >> g & 1)) continue;
        runs[g] = inside(rest[g], tile);
        seen[g] = extent(runs[g], tile, full[g]);
        if (seen[g].empty()) continue;
        loaded = {std::min(loaded.begin, seen[g].begin), std::max(loaded.end, seen[g].end)};
        ++seeing;
      }
      if (loaded.empty()) continue;
      if (queries_.few()) {
        storedRows(keys_, loaded, keyRows_);
        if (!sharedRows_) storedRows(values_, loaded, valueRows_);
      } else {
        const bool many = seeing >= kManyGroups;
        tileRows(kernels_, keys_, loaded, many && (sharedRows_ || keys_.scattered()), keyScratch_, keyRows_);
        if (!sharedRows_) tileRows(kernels_, values_, loaded, many, valueScratch_, valueRows_);
      }
      ahead_ = RowsAhead(rows_ + 2 * kTileKeys, plan_.rowsAhead());
      lookAhead(tile);
      ahead_.share(2 * seeing);
      for (int64_t g = 0; g < queries_.groups(); ++g) {
        if (!seen[g].empty()) attendTile(g, runs[g], seen[g], full[g], loaded.begin, state, careful);
      }
    }
  }

  /// Collects what comes after a tile: the next one, or results and the start of the following task.
  void lookAhead(Range tile) {
    const SequencePlan& cut = *task_.plan;
    const int64_t end = std::min(cut.sequence.keys, cut.chunk * cut.partChunks * (task_.part + 1));
    const Range seen = seenOf({tile.end, std::min(tile.end + kTileKeys, end)});
    if (!seen.empty()) return addKeys(seen);
    lookBehindTask();
  }

  void lookBehindTask() {
    if (plan_.maxParts() == 1) addRows(queries_, problem_.output, pointers_.output, problem_.dimV);
    if (following_) lookAhead(*following_);
  }

  void lookAhead(const BoundTask& bound) {
    addRows(bound.queries, problem_.query, pointers_.query, problem_.dimQk);
    const SequencePlan& cut = *bound.task.plan;
    if (cut.programs->listed) return;  // which keys come first is only known when the task begins
    const std::span<const KeyRun> runs = cut.programs->map->runs(bound.task.unit, bound.queries.firstGroup());
    if (runs.empty()) return;
    const int64_t first =
        std::max({runs.front().begin, bound.task.part * cut.partChunks * cut.chunk, cut.sequence.firstKey});
    const Range keys{first, std::min((first / kTileKeys + 1) * kTileKeys, cut.sequence.keys)};
    ahead_.add(keysOf(bound), keys);
    if (!sharedRows_) ahead_.add(valuesOf(bound), keys);
  }

  void addKeys(const Columns& keys) {
    ahead_.add(keys_, keys);
    if (!sharedRows_) ahead_.add(values_, keys);
  }

  void addRows(const QueryBlock& queries, const Layout& layout, const void* data, int64_t dim) {
    for (int64_t g = 0; g < queries.groups(); ++g) {
      for (int t = 0; t < queries.lanes(g).count; ++t) {
        ahead_.add(queries.row(layout, data, g, t), dim * sizeOf(layout.dtype));
      }
    }
  }

  /// Of some keys, those from the first to the last that a group sees.
  Range seenOf(Range keys) const {
    Range all{keys.end, keys.begin};
    for (int64_t g = 0; g < queries_.groups() && !keys.empty(); ++g) {
      const std::span<const KeyRun> runs = programs_.runs(g);
      auto run = std::partition_point(runs.begin(), runs.end(), [&](const KeyRun& r) { return r.end <= keys.begin; });
      for (; run != runs.end() && run->begin < keys.end; ++run) {
        all = {std::min(all.begin, std::max(run->begin, keys.begin)), std::max(all.end, std::min(run->end, keys.end))};
      }
    }
    return all.empty() ? Range{} : all;
  }

  /// The first of `runs` that reach into a tile; what lies before it is dropped from `runs`.
  static std::span<const KeyRun> inside(std::span<const KeyRun>& runs, Range tile) {
    while (!runs.empty() && runs.front().end <= tile.begin) runs = runs.subspan(1);
    size_t count = 0;
    while (count < runs.size() && runs[count].begin < tile.end) ++count;
    return runs.first(count);
  }

  /// Where runs lie inside a tile, from the first key seen to the last; full if nothing between is hidden.
  static Range extent(std::span<const KeyRun> runs, Range tile, bool& full) {
    Range all{tile.end, tile.begin};
    int64_t covered = 0;
    for (const KeyRun& run : runs) {
      const Range part{std::max(run.begin, tile.begin), std::min(run.end, tile.end)};
      all = {std::min(all.begin, part.begin), part.end};
      if (run.full) covered += part.end - part.begin;
    }
    full = covered == all.end - all.begin;
    return all.empty() ? Range{} : all;
  }

  void attendTile(int64_t g, std::span<const KeyRun> runs, Range keys, bool full, int64_t firstLoaded,
                  const BlockState& state, bool careful) {
    uint64_t words[kTileKeys];
    const uint64_t* visible = nullptr;
    if (!full || programs_.mayHide()) {
      const Seen seen = programs_.visible(g, runs, keys, words);
      if (seen == Seen::none) return;
      if (seen == Seen::some) visible = words;
    }
    const Columns columns(keys);
    attendKeys(g, {&columns, 1}, int(keys.begin & 3), visible, keys.begin - firstLoaded, state, careful);
  }

  /// A tile of keys in pieces, whose rows stand from `first` on; `visible` is null where all see all.
  void attendKeys(int64_t g, std::span<const Columns> columns, int phase, const uint64_t* visible, int64_t first,
                  const BlockState& state, bool careful) {
    const Lanes& lanes = queries_.lanes(g);
    const int padded = queries_.padded()[g];
    int64_t count = 0;
    for (const Columns& piece : columns) count += piece.count();
    ScoreTile tile;
    if (visible) {
      const uint64_t every = everyLane(lanes);
      while (visible[tile.hiddenFrom] == every) ++tile.hiddenFrom;
      tile.hiddenEnd = count;
      while (visible[tile.hiddenEnd - 1] == every) --tile.hiddenEnd;
    }
    if (queries_.few()) {
      kernels_.fewScores(scores_, panel(g), lanes.count, problem_.dimQk, keyRows_ + first, problem_.key.dtype, count,
                         ahead_.next());
    } else {
      kernels_.scores(scores_, panel(g), padded, problem_.dimQk, asFloats(keyRows_ + first), count, ahead_.next());
    }
    if (programs_.hasScore() || problem_.hasBias) {
      int64_t at = 0;
      const auto fill = [&](Range keys) {
        if (programs_.hasScore()) programs_.score(g, keys, visible ? visible + at : nullptr, scores_ + at * padded);
        if (problem_.hasBias) fillBias(lanes, padded, keys, bias_ + at * padded);
        at += keys.end - keys.begin;
      };
      for (const Columns& piece : columns) {
        if (piece.step == 1) {
          fill(piece);
        } else {
          for (int64_t key = piece.begin; key < piece.end; key += piece.step) fill({key, key + 1});
        }
      }
    }

    tile.scores = scores_;
    tile.keys = count;
    tile.phase = phase;
    tile.visible = visible;
    tile.bias = bias_;
    tile.softcap = programs_.hasScore() ? 0 : float(problem_.softcap * std::numbers::log2e);
    tile.moment = problem_.entropy;
    if (problem_.normalizer.softmax()) {
      kernels_.softmax(tile, padded, state.softmax(g), rescale_);
    } else {
      kernels_.weights(tile, padded, problem_.normalizer.kind, shift_, state.softmax(g), rescale_);
    }
    if (queries_.few()) {
      kernels_.fewAccumulate(state.output(g), lanes.count, problem_.dimV, rescale_, scores_, valueRows_ + first,
                             problem_.value.dtype, count, careful, ahead_.next());
    } else {
      kernels_.accumulate(state.output(g), padded, problem_.dimV, rescale_, scores_, asFloats(valueRows_ + first),
                          count, careful, ahead_.next());
    }
  }

  /// Gathers the bias of some keys into a panel; lanes that are only padding get 0.
  void fillBias(const Lanes& lanes, int padded, Range keys, float* panel) {
    const GridLayout& layout = problem_.bias;
    const int64_t start = layout.offset + task_.plan->sequence.batch * layout.batch + keys.begin * layout.column;
    const int64_t count = keys.end - keys.begin;
    for (int t = 0; t < padded; ++t) {
      const int64_t line = t < lanes.count ? start + lanes.head[t] * layout.head + lanes.row[t] * layout.row : start;
      for (int64_t key = 0; key < count; ++key) {
        panel[key * padded + t] =
            t < lanes.count ? element(pointers_.bias, layout.dtype, line + key * layout.column) : 0;
      }
    }
  }

  static const float* const* asFloats(const void* const* rows) { return reinterpret_cast<const float* const*>(rows); }

  static float element(const void* data, Dtype dtype, int64_t index) {
    switch (dtype) {
      case Dtype::float16: return float16ToFloat(static_cast<const uint16_t*>(data)[index]);
      case Dtype::bfloat16: return bfloat16ToFloat(static_cast<const uint16_t*>(data)[index]);
      default: return static_cast<const float*>(data)[index];
    }
  }

  const CpuPlan& plan_;
  const Problem& problem_;
  const Kernels& kernels_;
  const Task& task_;
  const BoundTask* following_;
  const Pointers& pointers_;
  const CancelFlag& cancel_;
  const QueryBlock& queries_;
  Arena& arena_;
  TaskPrograms programs_;
  Segment keys_, values_;
  float shift_;      // sigmoid's, in base-2 units
  bool sharedRows_;  // values are the first components of keys

  float* panels_ = nullptr;
  float* scores_ = nullptr;
  float* bias_ = nullptr;
  float* rescale_ = nullptr;
  float* keyScratch_ = nullptr;
  float* valueScratch_ = nullptr;
  // Rows of the tile under way, keys, values, and what comes after: as they are stored for few queries, else as
  // float32.
  const void** rows_ = nullptr;
  const void **keyRows_ = nullptr, **valueRows_ = nullptr;
  RowsAhead ahead_;
  GatheredTile gathered_[2];  // under way, and what follows
  BlockState states_[ChunkTree::kMaxDepth];
  std::span<const KeyRun> runs_[QueryBlock::kMaxGroups];  // that reach into the chunk under way
};

}  // namespace

void forwardTasks(const CpuPlan& plan, Range tasks, const Pointers& pointers, const PartialStore& partials,
                  const CancelFlag& cancel) {
  std::optional<BoundTask> bound[2];  // the one under way, and the one that follows
  bound[0].emplace(plan, tasks.begin);
  for (int64_t index = tasks.begin; index < tasks.end; ++index) {
    BoundTask& now = *bound[(index - tasks.begin) % 2];
    std::optional<BoundTask>& following = bound[(index - tasks.begin + 1) % 2];
    following.reset();
    if (index + 1 < tasks.end) following.emplace(plan, index + 1);
    Forward(plan, now, following ? &*following : nullptr, pointers, cancel).run(partials);
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
