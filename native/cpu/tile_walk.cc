#include "tile_walk.h"

#include <algorithm>
#include <numbers>
#include <utility>

#include "../error.h"
#include "half.h"

namespace fused_attention {

namespace {

/// So many groups going over a tile pay for a copy of it.
constexpr int64_t kManyGroups = 4;

/// The first of `runs` that reach into a tile; what lies before it is dropped from `runs`.
std::span<const KeyRun> inside(std::span<const KeyRun>& runs, Range tile) {
  while (!runs.empty() && runs.front().end <= tile.begin) runs = runs.subspan(1);
  size_t count = 0;
  while (count < runs.size() && runs[count].begin < tile.end) ++count;
  return runs.first(count);
}

/// Where runs lie inside a tile, from the first key seen to the last; full if nothing between is hidden.
Range extent(std::span<const KeyRun> runs, Range tile, bool& full) {
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

/// Visits the pieces of the first tile that `runs` make inside a range.
template <class Visit>
void firstTile(std::span<const KeyRun> runs, Range within, const Visit& visit) {
  int64_t left = kTileKeys;
  for (const KeyRun& run : runs) {
    if (left <= 0 || run.begin >= within.end) return;
    Columns piece(run.begin, run.end, run.step);
    if (within.begin > piece.begin) piece.begin += Columns(piece.begin, within.begin, run.step).count() * run.step;
    piece.end = std::min({run.end, within.end, piece.begin + left * run.step});
    if (piece.empty()) continue;
    left -= piece.count();
    visit(piece);
  }
}

/// Visits of a piece of a tile what is in none of the runs `known`; of these, what lies before it is dropped.
template <class Visit>
void unknown(const Columns& piece, std::span<const KeyRun>& known, const Visit& visit) {
  Columns left = piece;
  for (; !known.empty() && known.front().begin < left.end; known = known.subspan(1)) {
    const KeyRun& run = known.front();
    if (run.end <= left.begin) continue;
    if (run.step != left.step || (left.step > 1 && (run.begin - left.begin) % left.step != 0)) break;
    if (run.begin > left.begin) visit(Columns(left.begin, run.begin, left.step));
    left.begin = run.end - 1 + left.step;
    if (run.end >= left.end) return;
  }
  if (!left.empty()) visit(left);
}

float element(const void* data, Dtype dtype, int64_t index) {
  switch (dtype) {
    case Dtype::float16: return float16ToFloat(static_cast<const uint16_t*>(data)[index]);
    case Dtype::bfloat16: return bfloat16ToFloat(static_cast<const uint16_t*>(data)[index]);
    default: return static_cast<const float*>(data)[index];
  }
}

}  // namespace

size_t TileWalk::bytes(const CpuPlan& plan) {
  const Problem& p = plan.problem();
  const int64_t lanes = plan.kernels().maxLanes();
  const auto floats = [](int64_t n) { return Arena::bytesFor<float>(size_t(n)); };
  size_t bytes = floats(plan.groups() * p.dimQk * lanes);    // query panels
  bytes += floats(kTileKeys * lanes) * (p.hasBias ? 2 : 1);  // scores, bias
  bytes += floats(kTileKeys * scratchStride(p.dimQk)) + floats(kTileKeys * scratchStride(p.dimV));
  bytes += Arena::bytesFor<const void*>(size_t(2 * kTileKeys + plan.rowsAhead()));
  size_t most = 0;
  for (const SequencePlan& sequence : plan.sequences()) {
    most = std::max(most, TaskPrograms::bytes(p, plan.kernels(), plan.groups(), sequence));
  }
  return bytes + most;
}

TileWalk::TileWalk(const CpuPlan& plan, const BoundTask& bound, const BoundTask* following, const Pointers& pointers,
                   const CancelFlag& cancel, Arena& arena, Reads reads, Few few)
    : plan_(plan),
      problem_(plan.problem()),
      kernels_(plan.kernels()),
      task_(bound.task),
      queries_(bound.queries),
      pointers_(pointers),
      following_(following),
      cancel_(cancel),
      keys_(keysOf(bound)),
      values_(valuesOf(bound)),
      programs_(plan, task_, queries_, pointers, arena,
                few == Few::rows && queries_.few() && !problem_.hasBias && keys_.affine() && values_.affine()),
      withValues_(reads == Reads::keysAndValues),
      inRows_(few == Few::rows && queries_.few() && !programs_.hasScore() && !problem_.hasBias),
      apartValues_(withValues_ && !(keys_.sameRows(values_) && keys_.dim >= values_.dim)) {
  takeScratch(arena);
}

Segment TileWalk::keysOf(const BoundTask& bound) const {
  return Segment::of(problem_, problem_.key, pointers_.key, pointers_.keyPages, pointers_.pages.table,
                     bound.task.plan->sequence, bound.queries.kvHead(), problem_.dimQk);
}

Segment TileWalk::valuesOf(const BoundTask& bound) const {
  return Segment::of(problem_, problem_.value, pointers_.value, pointers_.valuePages, pointers_.pages.table,
                     bound.task.plan->sequence, bound.queries.kvHead(), problem_.dimV);
}

void TileWalk::takeScratch(Arena& arena) {
  const int lanes = kernels_.maxLanes();
  panels_ = arena.take<float>(size_t(plan_.groups() * problem_.dimQk * lanes));
  scores_ = arena.take<float>(size_t(kTileKeys * lanes));
  if (problem_.hasBias) bias_ = arena.take<float>(size_t(kTileKeys * lanes));
  keyScratch_ = arena.take<float>(size_t(kTileKeys * scratchStride(problem_.dimQk)));
  valueScratch_ = arena.take<float>(size_t(kTileKeys * scratchStride(problem_.dimV)));
  rows_ = arena.take<const void*>(size_t(2 * kTileKeys + plan_.rowsAhead()));
  keyRows_ = rows_;
  valueRows_ = apartValues_ ? rows_ + kTileKeys : rows_;
}

void TileWalk::packQueries() {
  const void* rows[QueryBlock::kMaxLanes];
  for (int64_t g = 0; g < queries_.groups(); ++g) {
    const int count = queries_.lanes(g).count;
    queries_.rowsOf(problem_.query, pointers_.query, g, rows);
    const double scale = problem_.scale * (programs_.hasScore() ? 1 : std::numbers::log2e);
    if (queries_.few()) {
      kernels_.packFewQueries(panel(g), rows, count, problem_.query.dtype, problem_.dimQk, scale);
    } else {
      kernels_.packQueries(panel(g), queries_.padded()[g], rows, count, problem_.query.dtype, problem_.dimQk, scale);
    }
  }
}

bool TileWalk::enter(Range chunk) {
  chunk_ = chunk;
  bool found = false;
  for (int64_t g = 0; g < queries_.groups(); ++g) {
    if (programs_.inLines()) {
      blocks_[g] = blocksInChunk(g);
      found |= !blocks_[g].empty();
      continue;
    }
    const std::span<const KeyRun> all = programs_.runs(g);
    const auto first =
        std::partition_point(all.begin(), all.end(), [&](const KeyRun& r) { return r.end <= chunk.begin; });
    const auto last = std::partition_point(first, all.end(), [&](const KeyRun& r) { return r.begin < chunk.end; });
    runs_[g] = {first, last};
    found |= !runs_[g].empty();
  }
  if (found && !packed_) packQueries();
  packed_ |= found;
  return found;
}

void TileWalk::walk(uint64_t groups) {
  if (programs_.inLines()) {
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      if (groups >> g & 1) walkLine(g);
    }
    return;
  }
  if (!task_.plan->programs->map->gathered()) return walkTogether(groups);
  if (!gathered_) gathered_.emplace();
  for (int64_t g = 0, end = 0; g < queries_.groups(); g = end) {
    end = g + 1;
    if (!(groups >> g & 1)) continue;
    while (end < queries_.groups() && (groups >> end & 1) && seeSame(g, end)) ++end;
    walkGathered(g, end);
  }
}

/// Whether two groups see the same keys, and all of them.
bool TileWalk::seeSame(int64_t g, int64_t other) const {
  const auto same = [](const KeyRun& a, const KeyRun& b) {
    return a.full && b.full && a.begin == b.begin && a.end == b.end && a.step == b.step;
  };
  return !programs_.mayHide() &&
         std::equal(runs_[g].begin(), runs_[g].end(), runs_[other].begin(), runs_[other].end(), same);
}

/// Groups that see the same, or a single one, go over tiles of their own, made of the keys that they see.
void TileWalk::walkGathered(int64_t g, int64_t end) {
  GatheredTiles tiles(runs_[g], chunk_);
  GatheredTile *tile = &(*gathered_)[0], *following = &(*gathered_)[1];
  std::span<const KeyRun> before = g > 0 ? runs_[g - 1] : std::span<const KeyRun>();
  for (bool more = tiles.next(*tile); more; std::swap(tile, following)) {
    if (cancel_.raised()) throw Cancelled();
    more = tiles.next(*following);
    gatherRows(keys_, *tile, keyScratch_, keyRows_);
    if (apartValues_) gatherRows(values_, *tile, valueScratch_, valueRows_);
    ahead_ = RowsAhead(rows_ + 2 * kTileKeys, plan_.rowsAhead());
    if (more) {
      for (const Columns& piece : following->columns()) addUnknown(piece, before);
    } else {
      addBehind(g, end);
      std::span<const KeyRun> known = runs_[g];
      if (end < queries_.groups()) {
        firstTile(runs_[end], chunk_, [&](const Columns& piece) { addUnknown(piece, known); });
      } else if (following_) {
        addFirstKeys(*following_);
      }
    }
    ahead_.share(2 * (end - g));

    if (tile->full && !programs_.mayHide()) {
      for (int64_t own = g; own < end; ++own) scoreKeys(own, tile->columns(), 0, nullptr, 0);
      continue;
    }
    uint64_t words[kTileKeys];
    if (const uint64_t* kept = programs_.keptWords(g, *tile)) {
      scoreKeys(g, tile->columns(), 0, kept, 0);
      continue;
    }
    int64_t at = 0;
    bool some = false, hidden = false;
    for (int n = 0; n < tile->count; ++n) {
      const Seen seen = programs_.visible(g, *tile->runs[n], tile->pieces[n], words + at);
      some |= seen != Seen::none;
      hidden |= seen != Seen::all;
      at += tile->pieces[n].count();
    }
    if (some) scoreKeys(g, tile->columns(), 0, hidden ? words : nullptr, 0);
  }
}

/// Of a group's line, the blocks that reach into the chunk.
std::span<const int32_t> TileWalk::blocksInChunk(int64_t g) const {
  const std::span<const int32_t> line = programs_.line(g);
  const int64_t size = programs_.blockKeys();
  const int64_t from = chunk_.begin / size, end = ceilDiv(chunk_.end, size);
  if (line.empty() || (line.front() >= from && line.back() < end)) return line;
  const auto first = std::lower_bound(line.begin(), line.end(), from);
  return {first, std::lower_bound(first, line.end(), end)};
}

/// The same tiles as walkGathered makes of a line's runs, straight from its blocks: with few keys for each query, runs
/// and pieces of them would take longer than the keys.
void TileWalk::walkLine(int64_t g) {
  const int64_t size = programs_.blockKeys(), keyBytes = keys_.rowBytes, valueBytes = values_.rowBytes;
  const char *const keys = keys_.base, *const values = values_.base;
  const void **const keyRows = keyRows_, **const valueRows = valueRows_;
  int64_t count = 0;
  for (const int32_t block : blocks_[g]) {
    const int64_t end = std::min((block + 1) * size, chunk_.end);
    for (int64_t key = std::max(block * size, chunk_.begin); key < end; ++key) {
      keyRows[count] = keys + key * keyBytes;
      valueRows[count] = values + key * valueBytes;
      if (++count == kTileKeys) scoreRows(g, std::exchange(count, 0));
    }
  }
  if (count > 0) scoreRows(g, count);
}

/// A tile of keys that all see, of few queries, with nothing to be done but a softcap.
void TileWalk::scoreRows(int64_t g, int64_t keys) {
  if (cancel_.raised()) throw Cancelled();
  kernels_.fewScores(scores_, panel(g), queries_.counts()[g], problem_.dimQk, keyRows_, problem_.key.dtype, keys,
                     fewLayout(true), {});
  ahead_ = RowsAhead();
  ScoreTile tile{};
  tile.scores = scores_;
  tile.keys = keys;
  tile.softcap = float(problem_.softcap * std::numbers::log2e);
  visit(g, tile, {}, 0, true);
}

/// Rows of a gathered tile, as the groups' kernels take them.
void TileWalk::gatherRows(const Segment& segment, const GatheredTile& tile, float* scratch, const void** rows) {
  const int64_t at = storedRows(segment, tile.columns(), rows);
  if (!queries_.few() && segment.dtype != Dtype::float32) floatRows(kernels_, segment, at, scratch, rows);
}

/// All groups go over the same tiles.
void TileWalk::walkTogether(uint64_t groups) {
  PerGroup<std::span<const KeyRun>> rest;  // of the runs, what tiles to come may need
  for (int64_t g = 0; g < queries_.groups(); ++g) rest[g] = runs_[g];
  // A single group reads each row once, as it comes from memory. Of several only the first would wait for it.
  const bool near = queries_.few() && apartValues_ && queries_.groups() == 1;
  for (int64_t begin = chunk_.begin; begin < chunk_.end; begin += kTileKeys) {
    if (cancel_.raised()) throw Cancelled();
    const Range tile{begin, std::min(begin + kTileKeys, chunk_.end)};
    PerGroup<std::span<const KeyRun>> runs;
    PerGroup<Range> seen;
    PerGroup<bool> full;
    Range loaded{tile.end, tile.begin};
    int64_t seeing = 0;
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      seen[g] = Range();
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
      if (near) valueRows_ = rows_ + (loaded.end - loaded.begin);
      if (apartValues_) storedRows(values_, loaded, valueRows_);
    } else {
      const bool many = seeing >= kManyGroups, keysAsValues = withValues_ && !apartValues_;
      tileRows(kernels_, keys_, loaded, many && (keysAsValues || keys_.scattered()), keyScratch_, keyRows_);
      if (apartValues_) tileRows(kernels_, values_, loaded, many, valueScratch_, valueRows_);
    }
    if (near) {
      const int64_t count = 2 * (loaded.end - loaded.begin), others = 2 * queries_.counts()[0];
      ahead_ = RowsAhead(rows_ + count, std::min(plan_.rowsAhead(), nearRows() + others));
      lookAhead(tile);
      ahead_.share(2, rows_, count, nearRows());
    } else {
      ahead_ = RowsAhead(rows_ + 2 * kTileKeys, plan_.rowsAhead());
      lookAhead(tile);
      ahead_.share(2 * seeing);
    }
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      if (!seen[g].empty()) scoreTile(g, runs[g], seen[g], full[g], loaded.begin);
    }
  }
}

/// Rows between one that is read and the one that is asked for meanwhile: enough of them for the time that memory
/// takes, few enough for the first-level cache.
int64_t TileWalk::nearRows() const {
  constexpr int64_t bytes = 16384;
  return std::clamp<int64_t>(bytes / std::max<int64_t>(1, problem_.dimQk * sizeOf(problem_.key.dtype)), 1, kTileKeys);
}

/// Collects what comes after a tile: the next one, or results and the start of the following task.
void TileWalk::lookAhead(Range tile) {
  const SequencePlan& cut = *task_.plan;
  const int64_t end = std::min(cut.sequence.keys, cut.chunk * cut.partChunks * (task_.part + 1));
  const Range seen = seenOf({tile.end, std::min(tile.end + kTileKeys, end)});
  if (!seen.empty()) return addKeys(seen);
  lookBehindTask();
}

void TileWalk::lookBehindTask() {
  addBehind(0, queries_.groups());
  if (following_) addFirstKeys(*following_);
}

/// What comes after the keys of some groups: their results, and the queries in their place in the following task.
void TileWalk::addBehind(int64_t begin, int64_t end) {
  if (withValues_ && plan_.maxParts() == 1) {
    addRows(queries_, begin, end, problem_.output, pointers_.output, problem_.dimV);
  }
  if (!following_) return;
  const QueryBlock& next = following_->queries;
  const int64_t stop = end == queries_.groups() ? next.groups() : std::min(end, next.groups());
  addRows(next, begin, stop, problem_.query, pointers_.query, problem_.dimQk);
}

void TileWalk::addFirstKeys(const BoundTask& bound) {
  const SequencePlan& cut = *bound.task.plan;
  if (cut.programs->listed) return;  // which keys come first is only known when the task begins
  const MaskMap& map = *cut.programs->map;
  const int64_t part = cut.partChunks * cut.chunk, group = bound.queries.firstGroup();
  const Range keys{std::max(bound.task.part * part, cut.sequence.firstKey),
                   std::min((bound.task.part + 1) * part, cut.sequence.keys)};
  const Segment key = keysOf(bound), value = valuesOf(bound);
  const auto add = [&](const Columns& columns) {
    ahead_.add(key, columns);
    if (apartValues_) ahead_.add(value, columns);
  };
  if (map.gathered()) {
    thread_local std::vector<KeyRun> moved;  // of the one task that a thread does next
    const bool same = key.sameRows(keys_);
    std::span<const KeyRun> known = same ? runs_[queries_.groups() - 1] : std::span<const KeyRun>();
    firstTile(map.runs(bound.task.unit, group, moved), keys, [&](const Columns& piece) { unknown(piece, known, add); });
  } else if (const std::optional<int64_t> seen = map.firstKey(bound.task.unit, group)) {
    const int64_t first = std::max(*seen, keys.begin);
    add(Range{first, std::min((first / kTileKeys + 1) * kTileKeys, cut.sequence.keys)});
  }
}

void TileWalk::addKeys(const Columns& keys) {
  ahead_.add(keys_, keys);
  if (apartValues_) ahead_.add(values_, keys);
}

void TileWalk::addUnknown(const Columns& keys, std::span<const KeyRun>& known) {
  unknown(keys, known, [&](const Columns& part) { addKeys(part); });
}

void TileWalk::addRows(const QueryBlock& queries, int64_t begin, int64_t end, const Layout& layout, const void* data,
                       int64_t dim) {
  const void* rows[QueryBlock::kMaxLanes];
  for (int64_t g = begin; g < end; ++g) {
    queries.rowsOf(layout, data, g, rows);
    ahead_.add(rows, queries.lanes(g).count, dim * sizeOf(layout.dtype));
  }
}

/// Of some keys, those from the first to the last that a group sees.
Range TileWalk::seenOf(Range keys) const {
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

void TileWalk::scoreTile(int64_t g, std::span<const KeyRun> runs, Range keys, bool full, int64_t firstLoaded) {
  uint64_t words[kTileKeys];
  const uint64_t* visible = nullptr;
  if (!full || programs_.mayHide()) {
    const Seen seen = programs_.visible(g, runs, keys, words);
    if (seen == Seen::none) return;
    if (seen == Seen::some) visible = words;
  }
  const Columns columns(keys);
  scoreKeys(g, {&columns, 1}, int(keys.begin & 3), visible, keys.begin - firstLoaded);
}

/// A tile of keys in pieces, whose rows stand from `first` on; `visible` is null where all see all.
void TileWalk::scoreKeys(int64_t g, std::span<const Columns> columns, int phase, const uint64_t* visible,
                         int64_t first) {
  const Lanes& lanes = queries_.lanes(g);
  const int padded = queries_.padded()[g];
  int64_t count = 0;
  for (const Columns& piece : columns) count += piece.count();
  ScoreTile tile;
  if (visible) {
    const uint64_t every = everyLane(lanes);
    while (tile.hiddenFrom < count && visible[tile.hiddenFrom] == every) ++tile.hiddenFrom;
    tile.hiddenEnd = count;
    while (tile.hiddenEnd > tile.hiddenFrom && visible[tile.hiddenEnd - 1] == every) --tile.hiddenEnd;
  }
  const bool rows = inRows_ && !visible;
  if (queries_.few()) {
    kernels_.fewScores(scores_, panel(g), lanes.count, problem_.dimQk, keyRows_ + first, problem_.key.dtype, count,
                       fewLayout(rows), ahead_.next());
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
  visit(g, tile, columns, first, rows);
}

/// Gathers the bias of some keys into a panel; lanes that are only padding get 0.
void TileWalk::fillBias(const Lanes& lanes, int padded, Range keys, float* panel) {
  const GridLayout& layout = problem_.bias;
  const int64_t start = layout.offset + task_.plan->sequence.batch * layout.batch + keys.begin * layout.column;
  const int64_t count = keys.end - keys.begin;
  for (int t = 0; t < padded; ++t) {
    const int64_t line = t < lanes.count ? start + lanes.head[t] * layout.head + lanes.row[t] * layout.row : start;
    for (int64_t key = 0; key < count; ++key) {
      panel[key * padded + t] = t < lanes.count ? element(pointers_.bias, layout.dtype, line + key * layout.column) : 0;
    }
  }
}

}  // namespace fused_attention
