#include "sequence_keys.h"

#include <algorithm>

#include "../native/program/program.h"
#include "../native/tiles/visibility.h"

namespace fused_attention::cuda {

namespace {

/// The one range of keys that a row sees, if that is what it sees.
std::optional<KeyRange> rangeOf(const std::vector<Run>& runs) {
  KeyRange range{0, 0};
  for (const Run& run : runs) {
    const bool follows = range.end == 0 || run.begin == range.end;
    if (!run.full || run.step != 1 || !follows) return std::nullopt;
    if (range.end == 0) range.begin = int32_t(run.begin);
    range.end = int32_t(run.end);
  }
  return range;
}

/// Whether every key from the first to the last that some row sees is seen by one: all of them are read, and what
/// nobody sees may be anything.
bool leaveNoGap(std::vector<KeyRange> rows) {
  std::sort(rows.begin(), rows.end(), [](const KeyRange& a, const KeyRange& b) { return a.begin < b.begin; });
  int32_t end = -1;
  for (const KeyRange& keys : rows) {
    if (keys.begin == keys.end) continue;
    if (end >= 0 && keys.begin > end) return false;
    end = std::max(end, keys.end);
  }
  return true;
}

/// How far an end of the ranges lies from its row, if that is the same for all, those apart that it puts outside the
/// keys: these have it at the first or the last one.
std::optional<int32_t> distanceOf(const std::vector<KeyRange>& rows, int32_t KeyRange::*end, int64_t keys) {
  const int64_t far = int64_t(rows.size()) + keys;
  int64_t least = -far, most = far;
  for (int64_t row = 0; row < int64_t(rows.size()); ++row) {
    const int64_t key = rows[size_t(row)].*end;
    if (key > 0) least = std::max(least, key - row);
    if (key < keys) most = std::min(most, key - row);
  }
  if (least > most) return std::nullopt;
  return int32_t(least > -far ? least : most);
}

std::optional<MovingKeys> movingOf(const std::vector<KeyRange>& rows, int64_t keys) {
  const auto begin = distanceOf(rows, &KeyRange::begin, keys), end = distanceOf(rows, &KeyRange::end, keys);
  if (!begin || !end) return std::nullopt;
  return MovingKeys{*begin, *end};
}

}  // namespace

KeyRange SequenceKeys::of(int64_t row, int64_t keys) const {
  if (!moving) return rows[size_t(row)];
  const auto inside = [&](int64_t key) { return int32_t(std::clamp<int64_t>(key, 0, keys)); };
  return {inside(row + moving->begin), inside(row + moving->end)};
}

KeyRange SequenceKeys::of(int64_t firstRow, int64_t endRow, int64_t keys) const {
  KeyRange all{0, 0};
  for (int64_t row = firstRow; row < endRow; ++row) {
    const KeyRange range = of(row, keys);
    if (range.begin >= range.end) continue;
    if (all.begin == all.end) all = range;  // the first one
    all = {std::min(all.begin, range.begin), std::max(all.end, range.end)};
  }
  return all;
}

SequenceKeys allKeys(const Sequence& sequence) {
  // No row sees beyond the first or the last key.
  return {MovingKeys{int32_t(-sequence.queries), int32_t(sequence.keys)}, {}};
}

std::optional<SequenceKeys> keysOf(const Problem& problem, const Sequence& sequence, int blockQueries) {
  if (!problem.mask || problem.mask->showsAll()) return allKeys(sequence);
  SequenceKeys keys;
  Sequence place = sequence;
  place.batch = sequence.table;  // ragged ones are of one batch entry
  Visibility visibility(problem, place);
  visibility.prepareBoxes(1);
  std::vector<Run> runs;
  for (int64_t row = 0; row < sequence.queries; ++row) {
    runs.clear();
    visibility.runs({row, row + 1}, {0, sequence.keys}, runs);
    const std::optional<KeyRange> range = rangeOf(runs);
    if (!range) return std::nullopt;
    keys.rows.push_back(*range);
  }
  for (auto begin = keys.rows.begin(); begin != keys.rows.end();) {
    const auto end = begin + std::min<int64_t>(blockQueries, keys.rows.end() - begin);
    if (!leaveNoGap({begin, end})) return std::nullopt;
    begin = end;
  }
  keys.moving = movingOf(keys.rows, sequence.keys);
  if (keys.moving) keys.rows.clear();
  return keys;
}

}  // namespace fused_attention::cuda
