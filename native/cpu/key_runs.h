// Runs of keys as a group of queries sees them, and what is counted of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "../range.h"

namespace fused_attention {

/// Keys of one tile: rows of a score panel that stays in the first-level cache.
inline constexpr int64_t kTileKeys = 128;

struct KeyRun : Columns {
  static constexpr int64_t kNotKept = -1;

  bool full = false;
  int64_t words = kNotKept;  // of a partial run: where its bits stand, or that
                             // they are to be evaluated
};

struct TileCounts {
  int64_t full = 0, partial = 0, skipped = 0;
  int64_t promoted = 0;  // tiles that are full or skipped only because their
                         // pairs were looked at

  /// The same of so many more groups.
  void add(const TileCounts& counts, int64_t times);
};

/// What groups spend on the keys of a sequence, in keys: those that they go over, and what tiles and chunks take
/// besides. Together: all groups of a block go over the same tiles, from the first key to the last that each sees of a
/// tile. Gathered: each goes over tiles of its own, made of its runs alone.
struct SchedulingCosts {
  double together = 0, gathered = 0;
};

SchedulingCosts costsOf(std::span<const KeyRun> runs, int64_t chunk);

/// What is counted of groups.
struct MapTotals {
  TileCounts counts;
  SchedulingCosts costs;
  double pairs = 0, keys = 0;

  void add(const MapTotals& other);
};

/// Appends a run, joined with the last one from number `first` on where they touch and are of one kind.
void append(std::vector<KeyRun>& runs, size_t first, const KeyRun& run);

/// Appends what words say of keys [begin, begin + count): what all lanes see, and what some do; kept(from, end) says
/// where the words of such keys stand. A few keys between these that all see, or none, are left among them.
template <class Kept>
void appendSeen(std::vector<KeyRun>& runs, size_t first, uint64_t every, const uint64_t* words, int64_t begin,
                int64_t count, const Kept& kept) {
  constexpr int64_t few = 8;
  const auto seenByAll = [&](int64_t from, int64_t end) {
    for (int64_t k = from; k < end; ++k) {
      if (words[k] == every) append(runs, first, {{begin + k, begin + k + 1}, true});
    }
  };
  int64_t from = -1, end = 0;  // of keys that some lanes see
  const auto seenBySome = [&] {
    if (from >= 0) append(runs, first, {{begin + from, begin + end}, false, kept(from, end)});
  };
  for (int64_t k = 0; k < count; ++k) {
    if (words[k] == 0 || words[k] == every) continue;
    if (from < 0 || k - end >= few) {
      seenBySome();
      seenByAll(end, k);
      from = k;
    }
    end = k + 1;
  }
  seenBySome();
  seenByAll(end, count);
}

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

}  // namespace fused_attention
