#include "visibility.h"

#include <algorithm>
#include <bit>

#include "../program/box_view.h"

namespace fused_attention {

void append(std::vector<Run>& out, size_t first, Range range, bool full) {
  if (range.empty()) return;
  if (out.size() > first && out.back().end == range.begin && out.back().full == full) {
    out.back().end = range.end;
  } else {
    out.push_back({range, full});
  }
}

namespace {

/// Finds the runs of one side of a mask program while the other side stays: a range is halved until it is all hidden,
/// all visible, or a granule that is mixed in all of its quarters. Ends of what is mixed are exact.
template <class Ask, class Alike>
class RunFinder {
 public:
  /// `alike` says of the range asked last whether all of it is alike. Of ranges of kTile, so many are divided at all: a
  /// mask that is mixed in more of them is left to its bits.
  RunFinder(const Ask& ask, const Alike& alike, std::vector<Run>& out, int mostTiles)
      : ask_(ask), alike_(alike), out_(out), first_(out.size()), mostTiles_(mostTiles) {}

  void find(Range range) {
    divide(range);
    finishMixed();
  }

 private:
  static constexpr int64_t kGranule = 8;
  /// Only so many ranges of this length are divided though all of their quarters are mixed: where a mask is mixed all
  /// over, there is little to find in them.
  static constexpr int64_t kTile = 128;
  static constexpr int kMostLooks = 2;

  void divide(Range range) {
    const Verdict verdict = ask_(range);
    if (verdict.never() || verdict.always()) return settled(range, verdict);
    if (range.end - range.begin > kGranule && alike_()) return mixedAlike(range);
    split(range);
  }

  void split(Range range) {
    const int64_t length = range.end - range.begin;
    if (length == 1) return mixed(range);
    const bool tile = length <= kTile && length > kTile / 2;
    if (tile && ++tiles_ > mostTiles_) return mixed(range);
    if (length >= 4 && (length <= kGranule || tile || (length < kTile && looks_ >= kMostLooks)) &&
        mixedThroughout(range)) {
      if (!tile || looks_ >= kMostLooks) return mixed(range);
      ++looks_;
    }
    for (int which = 0; which < 2; ++which) divide(half(range, which));
  }

  /// At a power of two, so that parts of neighbouring boxes are the same.
  static Range half(Range range, int which) {
    const int64_t step = int64_t(std::bit_floor(uint64_t(range.begin ^ (range.end - 1))));
    const int64_t middle = (range.end - 1) & ~(step - 1);
    return which == 0 ? Range{range.begin, middle} : Range{middle, range.end};
  }

  bool mixedThroughout(Range range) {
    for (int64_t quarter = 0; quarter < 4; ++quarter) {
      const int64_t length = range.end - range.begin;
      const Range part{range.begin + quarter * length / 4, range.begin + (quarter + 1) * length / 4};
      const Verdict verdict = ask_(part);
      if (verdict.never() || verdict.always()) return false;
    }
    return true;
  }

  void settled(Range range, const Verdict& verdict) {
    finishMixed();
    if (verdict.always()) append(out_, first_, range, true);
  }

  /// Ranges that are mixed come in order; only the first and the last of those that touch have ends to look for.
  void mixed(Range range) {
    if (mixed_.empty()) {
      range.begin = firstMixed(range);
      if (range.empty()) return;
      mixed_ = range;
    } else {
      mixed_.end = range.end;
    }
    lastPart_ = range;
  }

  /// Where all is alike there are no ends to look for.
  void mixedAlike(Range range) {
    mixed_ = {mixed_.empty() ? range.begin : mixed_.begin, range.end};
    lastPart_ = {range.end - 1, range.end};
  }

  void finishMixed() {
    if (mixed_.empty()) return;
    std::vector<Range> after;
    const Range range{mixed_.begin, lastMixed(lastPart_, after)};
    mixed_ = {};
    append(out_, first_, range, false);
    for (size_t n = after.size(); n-- > 0;) append(out_, first_, after[n], true);
  }

  /// The first place of a mixed range that is mixed itself. What is visible before it is appended.
  int64_t firstMixed(Range range) {
    if (range.end - range.begin == 1) return range.begin;
    for (int which = 0; which < 2; ++which) {
      const Range part = half(range, which);
      const Verdict verdict = ask_(part);
      if (verdict.always()) append(out_, first_, part, true);
      if (verdict.never() || verdict.always()) continue;
      const int64_t at = firstMixed(part);
      if (at < part.end) return at;
    }
    return range.end;
  }

  /// Where the last such place ends. `after`: what is visible behind it, last first.
  int64_t lastMixed(Range range, std::vector<Range>& after) {
    if (range.end - range.begin == 1) return range.end;
    for (int which = 1; which >= 0; --which) {
      const Range part = half(range, which);
      const Verdict verdict = ask_(part);
      if (verdict.always()) after.push_back(part);
      if (verdict.never() || verdict.always()) continue;
      const int64_t at = lastMixed(part, after);
      if (at > part.begin) return at;
    }
    return range.begin;
  }

  const Ask& ask_;
  const Alike& alike_;
  std::vector<Run>& out_;
  const size_t first_;
  const int mostTiles_;
  Range mixed_, lastPart_;
  int looks_ = 0, tiles_ = 0;
};

constexpr int kMostTiles = 64;

/// Where it is not asked.
constexpr auto neverAlike = [] { return false; };

/// Where nothing is certain, every run is partial.
template <class Ask, class Alike>
void findRuns(Range within, const Ask& ask, const Alike& alike, bool certain, std::vector<Run>& out) {
  const size_t first = out.size();
  RunFinder(ask, alike, out, kMostTiles).find(within);
  if (certain) return;
  std::vector<Run> found(out.begin() + int64_t(first), out.end());
  out.resize(first);
  for (const Run& run : found) append(out, first, run, false);
}

}  // namespace

Visibility::Visibility(const Problem& problem, const Sequence& sequence, std::shared_ptr<const UnaryValues> unary)
    : certain_(problem.masks.size() == (problem.mask ? size_t(problem.mask->graph().grids) : 0)),
      unary_(std::move(unary)) {
  if (!problem.mask || unary_) return;
  const Place place{sequence.batch, sequence.queries,    sequence.keys, queryStart(problem, sequence),
                    problem.headsQ, problem.groupSize(), problem.gap};
  unary_ = std::make_shared<const UnaryValues>(problem.mask, place);
}

void Visibility::runs(Range rows, Range within, std::vector<Run>& out, int64_t head) const {
  if (rows.empty() || within.empty()) return;
  if (!unary_) return out.push_back({within, certain_});
  if (sliding_.rows != 0 && rows.end - rows.begin == sliding_.rows) return slide(rows.begin, within, out);
  Rows view(*this, head);
  view.set(rows);
  view.runs(within, out);
}

void Visibility::Rows::runs(Range within, std::vector<Run>& out) {
  if (within.empty()) return;
  findRuns(
      within, [&](Range columns) { return verdict(columns); }, [&] { return keysAlike(); }, visibility_.certain_, out);
}

void Visibility::prepareBoxes(int64_t rows) {
  constexpr int64_t fewBoxes = 4;
  if (!unary_ || !unary_->bounds().onlyDistance() || unary_->bounds().dependsOnHead() || !certain_) return;
  const Place& place = unary_->place();
  if (place.queries < fewBoxes * rows) return;
  // A box below the last row: every box sees a stretch of what it sees, moved up.
  sliding_.start = place.queries;
  BoxView view(unary_->bounds());
  view.setRows({sliding_.start, sliding_.start + rows});
  const auto ask = [&](Range columns) {
    view.setColumns(columns);
    return view.verdict();
  };
  constexpr int mostTiles = 4096;
  RunFinder(ask, neverAlike, sliding_.runs, mostTiles).find({1, place.queries + place.keys});
  sliding_.rows = rows;
}

void Visibility::slide(int64_t row, Range within, std::vector<Run>& out) const {
  constexpr size_t most = 128;  // runs of a box; what comes after them is left to its bits
  const size_t first = out.size();
  const int64_t shift = row - sliding_.start;
  auto run = std::partition_point(sliding_.runs.begin(), sliding_.runs.end(),
                                  [&](const Run& r) { return r.end + shift <= within.begin; });
  for (; run != sliding_.runs.end() && run->begin + shift < within.end; ++run) {
    const Range range{std::max(run->begin + shift, within.begin), std::min(run->end + shift, within.end)};
    if (out.size() - first < most) {
      append(out, first, range, run->full);
    } else {
      out.back() = {{out.back().begin, range.end}, false};
    }
  }
}

void Visibility::runsT(Range keys, Range within, std::vector<Run>& out, int64_t head) const {
  if (keys.empty() || within.empty()) return;
  if (!unary_) return out.push_back({within, certain_});
  BoxView view(unary_->bounds(), head);
  view.setColumns(keys);
  const auto ask = [&](Range rows) {
    view.setRows(rows);
    return view.verdict();
  };
  findRuns(within, ask, neverAlike, certain_, out);
}

}  // namespace fused_attention
