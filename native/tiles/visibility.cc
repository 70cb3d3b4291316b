#include "visibility.h"

#include <algorithm>

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

}  // namespace

Visibility::Visibility(const Problem& problem, const Sequence& sequence, const std::vector<const uint8_t*>* masks)
    : problem_(problem), sequence_(sequence), masks_(masks), queryStart_(queryStart(problem, sequence)) {}

Range Visibility::seenBy(int64_t row) const {
  const int64_t position = queryStart_ + row;
  return clip(position + problem_.band.low, position + problem_.band.high + 1, {0, sequence_.keys});
}

void Visibility::runs(Range rows, Range within, std::vector<Run>& out) const {
  if (rows.empty() || within.empty()) return;
  const int64_t first = queryStart_ + rows.begin, last = queryStart_ + rows.end - 1;
  const Band& band = problem_.band;
  const Range some = clip(first + band.low, last + band.high + 1, within);
  const Range every = clip(last + band.low, first + band.high + 1, within);
  appendRuns(some, every, problem_.masks.empty(), out);
}

void Visibility::runsT(Range keys, Range within, std::vector<Run>& out) const {
  if (keys.empty() || within.empty()) return;
  // low <= j - i <= high is -high <= i - j <= -low; rows are positions less queryStart.
  const int64_t first = keys.begin - queryStart_, last = keys.end - 1 - queryStart_;
  const Band& band = problem_.band;
  const Range some = clip(first - band.high, last - band.low + 1, within);
  const Range every = clip(last - band.high, first - band.low + 1, within);
  appendRuns(some, every, problem_.masks.empty(), out);
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
