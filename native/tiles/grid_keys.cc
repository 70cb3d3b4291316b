#include "grid_keys.h"

#include <algorithm>

namespace fused_attention {

namespace {

/// Ranges seen by all lanes count as full runs of their own from this length on: shorter ones cost more than they save.
constexpr int64_t kWorthARun = 32;

uint64_t everyOf(int64_t lanes) { return lanes == 64 ? ~uint64_t{0} : (uint64_t{1} << lanes) - 1; }

}  // namespace

bool GridKeys::fit(const Problem& problem, const Sequence& sequence) {
  if (!problem.mask || problem.mask->product().axes == 0 || !problem.mask->lists().empty()) return false;
  const AxisProduct& product = problem.mask->product();
  const int64_t positions = product.origin + product.cells(), start = queryStart(problem, sequence);
  return problem.gap.positions == 0 && sequence.keys == positions && (start == 0 || start == product.origin) &&
         start + sequence.queries == positions;
}

GridKeys::GridKeys(const Problem& problem, const Sequence& sequence)
    : product_(problem.mask->product()),
      rowsBefore_(product_.origin - queryStart(problem, sequence)),
      keys_(sequence.keys) {
  for (int a = 0; a < product_.axes; ++a) {
    starts_[a] = problem.mask->table(product_.axis[a].start).cells.data();
    ends_[a] = problem.mask->table(product_.axis[a].end).cells.data();
  }
}

GridKeys::Place GridKeys::placeOf(int64_t row) const {
  Place place;
  int64_t cell = row - rowsBefore_;
  for (int a = product_.axes - 1; a >= 0; --a) {
    place.at[a] = cell % product_.axis[a].length;
    cell /= product_.axis[a].length;
  }
  return place;
}

int64_t GridKeys::rowOf(const Place& place) const {
  int64_t cell = 0;
  for (int a = 0; a < product_.axes; ++a) cell = cell * product_.axis[a].length + place.at[a];
  return cell + rowsBefore_;
}

Range GridKeys::seen(int axis, int64_t at) const { return {starts_[axis][at].integer, ends_[axis][at].integer}; }

/// Places of all lanes: most are the next one on the line of the lane before.
void GridKeys::place(const Lanes& lanes, Place* places) const {
  const int last = product_.axes - 1;
  for (int t = 0; t < lanes.count; ++t) {
    if (t > 0) {
      const int64_t at = places[t - 1].at[last] + lanes.row[t] - lanes.row[t - 1];
      if (at >= 0 && at < product_.axis[last].length) {
        places[t] = places[t - 1];
        places[t].at[last] = at;
        continue;
      }
    }
    places[t] = placeOf(lanes.row[t]);
  }
}

void GridKeys::bind(const Lanes& lanes, Group& group) const {
  group.lanes = lanes.count;
  group.all = lanes.row[0] < rowsBefore_;
  group.pairs = double(lanes.count) * double(keys_);
  if (group.all) return;
  Place places[64];
  double seenBy[64];
  place(lanes, places);
  std::fill_n(seenBy, lanes.count, 1.0);
  for (int a = 0; a < product_.axes; ++a) {
    const int64_t period = product_.axis[a].period, residue = places[0].at[a] % period;
    Range reach{product_.axis[a].length, 0};
    for (int t = 0; t < lanes.count; ++t) {
      if (t > 0 && places[t].at[a] == places[t - 1].at[a]) continue;
      const Range range = seen(a, places[t].at[a]);
      if (!range.empty()) reach = {std::min(reach.begin, range.begin), std::max(reach.end, range.end)};
    }
    if (reach.empty()) reach = {0, 0};
    // Only places of the residue class count: the first is one of them.
    reach.begin += (residue - reach.begin % period + period) % period;
    group.reach[a] = reach;
    std::vector<uint64_t>& words = group.words[a];
    // Where a lane's range begins and where it ends its bit changes.
    const auto index = [&](int64_t at) {
      const int64_t from = std::clamp(at, reach.begin, std::max(reach.begin, reach.end)) - reach.begin;
      return size_t(period == 1 ? from : (from + period - 1) / period);
    };
    words.assign(index(reach.end) + 1, 0);
    size_t begin = 0, end = 0;
    for (int t = 0; t < lanes.count; ++t) {
      if (t == 0 || places[t].at[a] != places[t - 1].at[a]) {
        const Range range = seen(a, places[t].at[a]);
        begin = index(range.begin);
        end = std::max(begin, index(range.end));
      }
      words[begin] ^= uint64_t{1} << t;
      words[end] ^= uint64_t{1} << t;
      seenBy[t] *= double(end - begin);
    }
    words.pop_back();
    for (size_t n = 1; n < words.size(); ++n) words[n] ^= words[n - 1];
  }
  group.pairs = double(lanes.count) * double(product_.origin);
  for (int t = 0; t < lanes.count; ++t) group.pairs += seenBy[t];
}

bool GridKeys::alike(const Group& group, const Group& other) {
  return !group.all && !other.all && group.lanes == other.lanes &&
         std::equal(std::begin(group.words), std::end(group.words), std::begin(other.words));
}

int64_t GridKeys::originOf(const Group& group) const {
  int64_t cell = 0;
  for (int a = 0; a < product_.axes && !group.all; ++a) cell = cell * product_.axis[a].length + group.reach[a].begin;
  return cell;
}

void GridKeys::runs(const Group& group, std::vector<Run>& out) const {
  if (group.all) return out.push_back({Columns(0, keys_), true});
  if (product_.origin > 0) out.push_back({Columns(0, product_.origin), true});  // apart: it stays where groups move
  const size_t first = out.size();
  const auto append = [&](const Columns& columns, bool full) {
    if (columns.empty()) return;
    // Full runs that touch are one; partial ones stay on their line.
    if (full && out.size() > first && out.back().full && out.back().step == 1 && columns.step == 1 &&
        out.back().end == columns.begin) {
      out.back().end = columns.end;
    } else {
      out.push_back({columns, full});
    }
  };
  const int last = product_.axes - 1;
  const int64_t period = product_.axis[last].period;
  const uint64_t every = everyOf(group.lanes);
  const std::vector<uint64_t>& words = group.words[last];
  // Places of the last axis that all lanes see, once they see its row.
  Range inner{0, int64_t(words.size())};
  while (!inner.empty() && words[size_t(inner.begin)] != every) ++inner.begin;
  int64_t stop = inner.begin;
  while (stop < inner.end && words[size_t(stop)] == every) ++stop;
  inner.end = stop;

  const auto line = [&](int64_t cell, uint64_t seers) {
    if (seers == 0) return;
    const int64_t begin = product_.origin + cell + group.reach[last].begin, count = int64_t(words.size());
    const bool whole = inner.begin == 0 && inner.end == count;
    const bool split = seers == every && (whole || inner.end - inner.begin >= kWorthARun);
    const auto places = [&](int64_t first, int64_t end, bool full) {
      append(Columns(begin + first * period, begin + (end - 1) * period + 1, period), full);
    };
    if (!split) return places(0, count, false);
    places(0, inner.begin, false);
    places(inner.begin, inner.end, true);
    places(inner.end, count, false);
  };
  const auto walk = [&](const auto& self, int axis, int64_t cell, uint64_t seers) -> void {
    if (axis == last) return line(cell * product_.axis[last].length, seers);
    for (size_t n = 0; n < group.words[axis].size(); ++n) {
      const int64_t at = group.reach[axis].begin + int64_t(n) * product_.axis[axis].period;
      self(self, axis + 1, cell * product_.axis[axis].length + at, seers & group.words[axis][n]);
    }
  };
  walk(walk, 0, 0, every);
}

void GridKeys::bits(const Group& group, const Run& run, uint64_t* words) const {
  const uint64_t every = everyOf(group.lanes);
  if (group.all || run.begin < product_.origin) {
    std::fill_n(words, run.count(), every);
    return;
  }
  // A run lies on one line of the last axis.
  const int last = product_.axes - 1;
  int64_t cell = run.begin - product_.origin;
  const int64_t length = product_.axis[last].length, from = cell % length;
  cell /= length;
  uint64_t seers = every;
  for (int axis = last - 1; axis >= 0; --axis) {
    const AxisProduct::Axis& shape = product_.axis[axis];
    seers &= group.words[axis][size_t((cell % shape.length - group.reach[axis].begin) / shape.period)];
    cell /= shape.length;
  }
  const uint64_t* word = group.words[last].data() + (from - group.reach[last].begin) / product_.axis[last].period;
  for (int64_t n = 0; n < run.count(); ++n) words[n] = seers & word[n];
}

}  // namespace fused_attention
