#include "group_runs.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "../error.h"

namespace fused_attention {

namespace {

/// Groups that are searched together first.
constexpr int64_t kTogether = 8;
/// Runs of a group that the next one is looked for by, at most.
constexpr int64_t kFewRuns = 24;

}  // namespace

GroupRuns::GroupRuns(const Source& source) : source_(&source), keys_(source.plan.sequence.keys) {
  // Boxes of distances are known already where rows are taken as they come; without keys there is nothing to know.
  apart_ = !source.inOrder || keys_ == 0 || (source.visibility.sliding() && !source.plan.order);
  laneVectors_.resize(source.bits.laneFloats());
  scratch_.resize(source.bits.scratchBytes(kTileKeys) / sizeof(double) + 1);
}

void GroupRuns::look(int64_t unit, int64_t group, int64_t times) {
  const Source& s = *source_;
  if (s.cancel.raised()) throw Cancelled();
  const GroupLanes lanes(s.problem, s.plan, s.kernels, unit, group);
  const int64_t head = s.perUnit && !s.plan.packed ? unit : Bounds::kAllHeads;
  if (!rows_ || rows_->head() != head) {
    rows_.emplace(s.visibility, head);
    alike_.clear();
  }
  const int64_t neighbours = unit * s.plan.groups + group / kTogether;
  if (std::exchange(neighbours_, neighbours) != neighbours) seenTogether(unit, group, head);

  const bool follows = this->follows(group);
  first_.push_back(int64_t(runs_.size()));
  found_.clear();
  pairs_ = 0;
  Bound bound{lanes, {lanes.lanes, lanes.padded, laneVectors_.data()}};
  if (keys_ > 0) rows_->set(lanes.rows);
  for (const Run& run : together_) {
    if (run.full) {
      found_.push_back(run);
      take(bound, run);
    } else if (follows) {
      follow(bound, run);
    } else {
      const size_t first = found_.size();
      s.visibility.runs(lanes.rows, run, found_, head);
      for (size_t n = first; n < found_.size(); ++n) take(bound, found_[n]);
    }
  }
  before_ = this->group(groups() - 1);
  rowsBefore_ = lanes.rows;

  const std::span<const KeyRun> runs = std::span(runs_).subspan(firstRun());
  const SchedulingCosts costs = costsOf(runs, s.plan.chunk);
  totals_.costs.together += costs.together;
  totals_.costs.gathered += costs.gathered;
  for (const KeyRun& run : runs) totals_.keys += double(run.end - run.begin);
  TileCounts counts = tilesOf(runs, keys_);
  counts.promoted = tilesOf(found_, keys_).partial - counts.partial;
  totals_.counts.add(counts, times);
  totals_.pairs += pairs_ * double(times);
}

/// Whether a group has one before it to be looked for by.
bool GroupRuns::follows(int64_t group) const {
  return !apart_ && !source_->readsTensors && group > 0 && groups() > 0 && before_.end - before_.begin <= kFewRuns;
}

/// By the runs of the group before.
void GroupRuns::follow(Bound& bound, Range within) {
  cutAlike(within, bound.lanes.rows);
  for (size_t n = 0; n + 1 < cuts_.size(); ++n) {
    const Range piece{cuts_[n], cuts_[n + 1]};
    const Verdict verdict = rows_->verdict(piece);
    if (verdict.never()) continue;
    const size_t first = found_.size();
    if (verdict.always()) {
      found_.push_back({piece, true});
    } else if (piece.end - piece.begin <= kTileKeys && fits(piece.end - piece.begin)) {
      takeOpen(bound, piece);
      continue;
    } else {
      rows_->runs(piece, found_);
    }
    for (size_t k = first; k < found_.size(); ++k) take(bound, found_[k]);
  }
}

/// Cuts keys where the group before saw something else, and so many keys further on as `rows` are further on.
void GroupRuns::cutAlike(Range within, Range rows) {
  const int64_t shifts[] = {0, rows.begin - rowsBefore_.begin, rows.end - rowsBefore_.end};
  cuts_.assign({within.begin, within.end});
  for (int64_t n = before_.begin; n < before_.end; ++n) {
    for (const int64_t at : {runs_[size_t(n)].begin, runs_[size_t(n)].end}) {
      for (const int64_t shift : shifts) {
        if (at + shift > within.begin && at + shift < within.end) cuts_.push_back(at + shift);
      }
    }
  }
  std::sort(cuts_.begin(), cuts_.end());
  cuts_.erase(std::unique(cuts_.begin(), cuts_.end()), cuts_.end());
}

/// What a group and its next neighbours see together says where each has to be looked at.
void GroupRuns::seenTogether(int64_t unit, int64_t group, int64_t head) {
  const Source& s = *source_;
  together_.clear();
  if (apart_) return together_.push_back({Columns(0, keys_), false});
  const int64_t end = std::min((group / kTogether + 1) * kTogether, s.plan.groups);
  const GroupLanes first(s.problem, s.plan, s.kernels, unit, group);
  const GroupLanes last(s.problem, s.plan, s.kernels, unit, end - 1);
  const Range rows{first.rows.begin, last.rows.end};
  if (!follows(group)) return s.visibility.runs(rows, {0, keys_}, together_, head);
  cutAlike({0, keys_}, rows);
  rows_->set(rows);
  for (size_t n = 0; n + 1 < cuts_.size(); ++n) {
    const Range piece{cuts_[n], cuts_[n + 1]};
    const Verdict verdict = rows_->verdict(piece);
    if (!verdict.never()) append(together_, 0, piece, verdict.always());
  }
}

void GroupRuns::take(Bound& bound, const Run& run) {
  if (run.full || source_->readsTensors) {
    append(runs_, firstRun(), {{run.begin, run.end}, run.full});
    pairs_ += double(run.end - run.begin) * double(bound.lanes.lanes.count);
    return;
  }
  rows_->verdict(run);
  const bool alike = rows_->keysAlike();
  bool evaluated = false;
  uint64_t words[kTileKeys];
  for (int64_t begin = run.begin; begin < run.end;) {
    const Range piece{begin, std::min(run.end, (begin / kTileKeys + 1) * kTileKeys)};
    begin = piece.end;
    if (fits(piece.end - piece.begin)) {
      if (!alike || !std::exchange(evaluated, true)) evaluate(bound, piece, alike, words);
      keep(bound.lanes.lanes, piece, words);
      for (const KeyRun& part : parts_) append(runs_, firstRun(), part);
    } else {
      append(runs_, firstRun(), {piece, false});
      pairs_ += double(piece.end - piece.begin) * double(bound.lanes.lanes.count);
    }
  }
}

/// A piece that the analysis has not looked at closely: what its bits say joins what is found. Where distances alone
/// decide it, they are looked at once for all groups that have it at one distance.
void GroupRuns::takeOpen(Bound& bound, Range piece) {
  const int64_t row = bound.lanes.rows.begin;
  const int node = rows_->decidedByDistance(), lanes = bound.lanes.lanes.count;
  const auto known = std::find_if(alike_.begin(), alike_.end(), [&](const Alike& a) {
    return a.node == node && a.lanes == lanes && a.keys.begin == piece.begin - row && a.keys.end == piece.end - row;
  });
  bool mixed;
  if (known != alike_.end()) {
    parts_ = known->runs;
    for (KeyRun& part : parts_) part.begin += row, part.end += row;
    pairs_ += known->pairs;
    mixed = known->mixed;
  } else {
    const double before = pairs_;
    uint64_t words[kTileKeys];
    evaluate(bound, piece, rows_->keysAlike(), words);
    mixed = keep(bound.lanes.lanes, piece, words);
    if (node >= 0) {
      constexpr size_t most = 8;
      if (alike_.size() < most) alike_.emplace_back();
      Alike& alike = alike_[oldest_++ % alike_.size()];
      alike = {node, lanes, {piece.begin - row, piece.end - row}, mixed, pairs_ - before, parts_};
      for (KeyRun& part : alike.runs) part.begin -= row, part.end -= row;
    }
  }
  for (const KeyRun& part : parts_) append(runs_, firstRun(), part);
  if (!mixed) return found_.push_back({piece, false});
  for (const KeyRun& part : parts_) found_.push_back({Columns(part.begin, part.end), part.full});
}

/// The bits of a piece that is no longer than a tile; where its keys are alike, those of the first one for a whole
/// tile.
void GroupRuns::evaluate(Bound& bound, Range piece, bool alike, uint64_t* words) {
  if (alike) piece.end = piece.begin + 1;
  if (!std::exchange(bound.ready, true)) source_->bits.bind(bound.group);
  source_->bits.program(bound.group, piece, scratch_.data(), words);
  if (alike) std::fill_n(words + 1, kTileKeys - 1, words[0]);
}

/// Makes runs of the bits of a piece, in `parts_`. Returns whether some pairs are visible and some are not.
bool GroupRuns::keep(const Lanes& lanes, Range piece, const uint64_t* words) {
  const int64_t keys = piece.end - piece.begin;
  for (int64_t k = 0; k < keys; ++k) pairs_ += std::popcount(words[k]);
  parts_.clear();
  appendSeen(parts_, 0, everyLane(lanes), words, piece.begin, keys, [&](int64_t from, int64_t end) {
    source_->budget.fetch_sub((end - from) * int64_t(sizeof(uint64_t)), std::memory_order_relaxed);
    words_.insert(words_.end(), words + from, words + end);
    return int64_t(words_.size()) - (end - from);
  });
  return seenBy(lanes, words, keys) == Seen::some;
}

bool GroupRuns::fits(int64_t keys) const {
  return source_->budget.load(std::memory_order_relaxed) >= keys * int64_t(sizeof(uint64_t));
}

}  // namespace fused_attention
