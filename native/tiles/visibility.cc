#include "visibility.h"

#include <algorithm>
#include <bit>

namespace fused_attention {

namespace {

/// Splits the union of ranges into its full middle and partial ends.
void appendRuns(Range some, Range every, bool certain, std::vector<Run>& out) {
  if (some.empty()) return;
  if (every.empty() || !certain) {
    out.push_back({some, false});
    return;
  }
  if (some.begin < every.begin) out.push_back({{some.begin, every.begin}, false});
  out.push_back({every, true});
  if (every.end < some.end) out.push_back({{every.end, some.end}, false});
}

Range clip(int64_t begin, int64_t end, Range within) {
  return {std::max(begin, within.begin), std::min(end, within.end)};
}

/// Appends a run, joined with the last one where they touch and are of one kind.
void append(std::vector<Run>& out, size_t first, Range range, bool full) {
  if (range.empty()) return;
  if (out.size() > first && out.back().end == range.begin && out.back().full == full) {
    out.back().end = range.end;
  } else {
    out.push_back({range, full});
  }
}

/// Finds the runs of one side of a mask program while the other side stays: a range is halved until it is all hidden,
/// all visible, or a granule that is mixed in all of its quarters. Ends of what is mixed are exact.
template <class Ask>
class RunFinder {
 public:
  RunFinder(const Ask& ask, std::vector<Run>& out) : ask_(ask), out_(out), first_(out.size()) {}

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
  /// So many of this length are divided at all: a mask that is mixed in more of them is left to its bits.
  static constexpr int kMostTiles = 64;

  void divide(Range range) {
    const Verdict verdict = ask_(range);
    if (verdict.never() || verdict.always()) return settled(range, verdict);
    split(range);
  }

  void split(Range range) {
    const int64_t length = range.end - range.begin;
    if (length == 1) return mixed(range);
    const bool tile = length <= kTile && length > kTile / 2;
    if (tile && ++tiles_ > kMostTiles) return mixed(range);
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
  std::vector<Run>& out_;
  const size_t first_;
  Range mixed_, lastPart_;
  int looks_ = 0, tiles_ = 0;
};

template <class Ask>
void findRuns(Range within, const Ask& ask, std::vector<Run>& out) {
  RunFinder<Ask>(ask, out).find(within);
}

/// What of `runs` from `first` on a second condition leaves: its own runs, partial where either is.
void intersect(std::vector<Run>& runs, size_t first, const std::vector<Run>& other) {
  std::vector<Run> both;
  size_t k = 0;
  for (size_t n = first; n < runs.size(); ++n) {
    while (k < other.size() && other[k].end <= runs[n].begin) ++k;
    for (size_t m = k; m < other.size() && other[m].begin < runs[n].end; ++m) {
      const Range range{std::max(runs[n].begin, other[m].begin), std::min(runs[n].end, other[m].end)};
      append(both, 0, range, runs[n].full && other[m].full);
    }
  }
  runs.resize(first);
  runs.insert(runs.end(), both.begin(), both.end());
}

}  // namespace

Visibility::Visibility(const Problem& problem, const Sequence& sequence, const std::vector<const uint8_t*>* masks,
                       std::shared_ptr<const UnaryValues> unary)
    : problem_(problem),
      sequence_(sequence),
      masks_(masks),
      queryStart_(queryStart(problem, sequence)),
      unary_(std::move(unary)) {
  if (!problem.mask || unary_) return;
  const Place place{sequence.batch, sequence.queries, sequence.keys, queryStart_, problem.headsQ, problem.groupSize()};
  unary_ = std::make_shared<const UnaryValues>(problem.mask, place);
}

Range Visibility::seenBy(int64_t row) const {
  const int64_t position = queryStart_ + row;
  return clip(position + problem_.band.low, position + problem_.band.high + 1, {0, sequence_.keys});
}

void Visibility::runs(Range rows, Range within, std::vector<Run>& out, int64_t head) const {
  const size_t before = out.size();
  if (rows.empty() || within.empty()) return;
  const int64_t first = queryStart_ + rows.begin, last = queryStart_ + rows.end - 1;
  const Band& band = problem_.band;
  const Range some = clip(first + band.low, last + band.high + 1, within);
  const Range every = clip(last + band.low, first + band.high + 1, within);
  appendRuns(some, every, withoutTensors(), out);
  if (!unary_) return;
  BoxView view(unary_->bounds(), head);
  view.setRows(rows);
  std::vector<Run> seen;
  const auto ask = [&](Range columns) {
    view.setColumns(columns);
    return view.verdict();
  };
  findRuns(within, ask, seen);
  intersect(out, before, seen);
}

void Visibility::runsT(Range keys, Range within, std::vector<Run>& out, int64_t head) const {
  const size_t before = out.size();
  if (keys.empty() || within.empty()) return;
  // low <= j - i <= high is -high <= i - j <= -low; rows are positions less queryStart.
  const int64_t first = keys.begin - queryStart_, last = keys.end - 1 - queryStart_;
  const Band& band = problem_.band;
  const Range some = clip(first - band.high, last - band.low + 1, within);
  const Range every = clip(last - band.high, first - band.low + 1, within);
  appendRuns(some, every, withoutTensors(), out);
  if (!unary_) return;
  BoxView view(unary_->bounds(), head);
  view.setColumns(keys);
  std::vector<Run> seen;
  const auto ask = [&](Range rows) {
    view.setRows(rows);
    return view.verdict();
  };
  findRuns(within, ask, seen);
  intersect(out, before, seen);
}

bool Visibility::withoutTensors() const {
  return problem_.masks.size() == (problem_.mask ? size_t(problem_.mask->graph().grids) : 0);
}

Visibility::Answer Visibility::bits(const Lanes& lanes, Range keys, uint64_t* words) const {
  const int64_t count = keys.end - keys.begin;
  const uint64_t everyLane = lanes.count == 64 ? ~uint64_t{0} : (uint64_t{1} << lanes.count) - 1;
  if (problem_.band.everything()) {
    std::fill_n(words, count, everyLane);
  } else {
    std::fill_n(words, count, uint64_t{0});
    for (int t = 0; t < lanes.count; ++t) {
      const Range seen = seenBy(lanes.row[t]);
      const Range range = clip(seen.begin, seen.end, keys);
      const uint64_t bit = uint64_t{1} << t;
      for (int64_t key = range.begin; key < range.end; ++key) words[key - keys.begin] |= bit;
    }
  }

  for (size_t m = 0; m < problem_.masks.size(); ++m) {
    const GridLayout& layout = problem_.masks[m];
    const uint8_t* start = (*masks_)[m] + layout.offset + sequence_.batch * layout.batch + keys.begin * layout.column;
    if (layout.row == 0 && layout.head == 0) {
      for (int64_t key = 0; key < count; ++key) {
        if (!start[key * layout.column]) words[key] = 0;
      }
      continue;
    }
    for (int t = 0; t < lanes.count; ++t) {
      const uint8_t* line = start + lanes.head[t] * layout.head + lanes.row[t] * layout.row;
      for (int64_t key = 0; key < count; ++key) {
        words[key] &= ~(uint64_t(line[key * layout.column] == 0) << t);
      }
    }
  }

  uint64_t some = 0, every = everyLane;
  for (int64_t key = 0; key < count; ++key) {
    some |= words[key];
    every &= words[key];
  }
  return some == 0 ? Answer::none : every == everyLane ? Answer::all : Answer::some;
}

double Visibility::pairs() const {
  if (problem_.band.everything()) return double(sequence_.queries) * double(sequence_.keys);
  double sum = 0;
  for (int64_t row = 0; row < sequence_.queries; ++row) {
    const Range seen = seenBy(row);
    if (!seen.empty()) sum += double(seen.end - seen.begin);
  }
  return sum;
}

}  // namespace fused_attention
