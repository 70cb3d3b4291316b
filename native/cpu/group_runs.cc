#include "group_runs.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace fused_attention {

namespace {

/// Groups that are searched together first.
constexpr int64_t kTogether = 8;
/// Runs of a group that the next one is looked for by, at most.
constexpr int64_t kFewRuns = 24;

}  // namespace

GroupRuns::GroupRuns(const Source& source) : source_(&source), keys_(source.plan.sequence.keys) {
  const UnaryValues& values = source.visibility.values();
  // Boxes of distances are known already; without keys there is nothing to know.
  apart_ = source.plan.packed || source.plan.order || values.bounds().onlyDistance() || keys_ == 0;
  laneVectors_.resize(source.bits.laneFloats());
  scratch_.resize(source.bits.scratchBytes(kTileKeys) / sizeof(double) + 1);
}

void GroupRuns::look(int64_t unit, int64_t group, int64_t times) {
  const Source& s = *source_;
  const GroupLanes lanes(s.problem, s.plan, s.kernels, unit, group);
  const int64_t head = s.perUnit && !s.plan.packed ? unit : Bounds::kAllHeads;
  const int64_t rows = lanes.rows.begin - std::exchange(firstRow_, lanes.rows.begin);
  const Range before = first_.empty() ? Range{} : this->group(groups() - 1);
  const bool follows =
      !apart_ && !s.readsTensors && group > 0 && !first_.empty() && before.end - before.begin <= kFewRuns;
  first_.push_back(int64_t(runs_.size()));
  found_.clear();
  pairs_ = 0;
  Bound bound{lanes, {lanes.lanes, lanes.padded, laneVectors_.data()}};
  if (follows) {
    follow(bound, before, rows, head);
  } else {
    search(bound, unit, group, head);
  }

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

/// By the runs of the group before, `rows` rows above.
void GroupRuns::follow(Bound& bound, Range before, int64_t rows, int64_t head) {
  cutAlike(before, rows);
  if (!rows_ || rows_->head() != head) rows_.emplace(source_->visibility, head);
  rows_->set(bound.lanes.rows);
  for (size_t n = 0; n + 1 < cuts_.size(); ++n) {
    const Range piece{cuts_[n], cuts_[n + 1]};
    const Verdict verdict = rows_->verdict(piece);
    if (verdict.never()) continue;
    const size_t first = found_.size();
    if (verdict.always()) {
      found_.push_back({piece, true});
    } else if (piece.end - piece.begin <= kTileKeys && fits(piece.end - piece.begin)) {
      take(bound, {piece, false}, Analysis::open);
      continue;
    } else {
      rows_->runs(piece, found_);
    }
    for (size_t k = first; k < found_.size(); ++k) take(bound, found_[k], Analysis::done);
  }
}

/// Cuts keys where the group before saw something else, and so many keys further on.
void GroupRuns::cutAlike(Range before, int64_t rows) {
  cuts_.assign({0, keys_});
  for (int64_t n = before.begin; n < before.end; ++n) {
    for (const int64_t at : {runs_[size_t(n)].begin, runs_[size_t(n)].end}) {
      cuts_.push_back(at);
      cuts_.push_back(std::min(at + rows, keys_));
    }
  }
  std::sort(cuts_.begin(), cuts_.end());
  cuts_.erase(std::unique(cuts_.begin(), cuts_.end()), cuts_.end());
}

void GroupRuns::search(Bound& bound, int64_t unit, int64_t group, int64_t head) {
  const int64_t neighbours = unit * source_->plan.groups + group / kTogether;
  if (std::exchange(neighbours_, neighbours) != neighbours) seenTogether(unit, group, head);
  for (const Run& run : together_) {
    if (run.full) {
      found_.push_back(run);
    } else {
      source_->visibility.runs(bound.lanes.rows, run, found_, head);
    }
  }
  for (const Run& run : found_) take(bound, run, Analysis::done);
}

/// What a group and its next neighbours see together says where each has to be looked at.
void GroupRuns::seenTogether(int64_t unit, int64_t group, int64_t head) {
  const Source& s = *source_;
  together_.clear();
  if (apart_) return together_.push_back({Columns(0, keys_), false});
  const int64_t end = std::min((group / kTogether + 1) * kTogether, s.plan.groups);
  const GroupLanes first(s.problem, s.plan, s.kernels, unit, group);
  const GroupLanes last(s.problem, s.plan, s.kernels, unit, end - 1);
  s.visibility.runs({first.rows.begin, last.rows.end}, {0, keys_}, together_, head);
}

void GroupRuns::take(Bound& bound, const Run& run, Analysis analysis) {
  if (run.full || source_->readsTensors) {
    append(runs_, firstRun(), {{run.begin, run.end}, run.full});
    pairs_ += double(run.end - run.begin) * double(bound.lanes.lanes.count);
    return;
  }
  for (int64_t begin = run.begin; begin < run.end;) {
    const int64_t end = std::min(run.end, (begin / kTileKeys + 1) * kTileKeys);
    takeMixed(bound, {begin, end}, analysis);
    begin = end;
  }
}

/// Of one tile. What the analysis has not looked at closely joins what is found by the bits.
void GroupRuns::takeMixed(Bound& bound, Range piece, Analysis analysis) {
  const Source& s = *source_;
  const Lanes& lanes = bound.lanes.lanes;
  const int64_t keys = piece.end - piece.begin;
  if (!fits(keys)) {
    append(runs_, firstRun(), {piece, false});
    pairs_ += double(keys) * double(lanes.count);
    if (analysis == Analysis::open) found_.push_back({piece, false});
    return;
  }
  uint64_t words[kTileKeys];
  if (!std::exchange(bound.ready, true)) s.bits.bind(bound.group);
  s.bits.program(bound.group, piece, scratch_.data(), words);
  for (int64_t k = 0; k < keys; ++k) pairs_ += std::popcount(words[k]);
  const uint64_t every = everyLane(lanes);
  appendSeen(runs_, firstRun(), every, words, piece.begin, keys, [&](int64_t from, int64_t end) {
    s.budget.fetch_sub((end - from) * int64_t(sizeof(uint64_t)), std::memory_order_relaxed);
    words_.insert(words_.end(), words + from, words + end);
    return int64_t(words_.size()) - (end - from);
  });
  if (analysis == Analysis::done) return;
  if (seenBy(lanes, words, keys) != Seen::some) return found_.push_back({piece, false});
  parts_.clear();
  appendSeen(parts_, 0, every, words, piece.begin, keys, [](int64_t, int64_t) { return KeyRun::kNotKept; });
  for (const KeyRun& part : parts_) found_.push_back({Columns(part.begin, part.end), part.full});
}

bool GroupRuns::fits(int64_t keys) const {
  return source_->budget.load(std::memory_order_relaxed) >= keys * int64_t(sizeof(uint64_t));
}

}  // namespace fused_attention
