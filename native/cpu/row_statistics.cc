#include "row_statistics.h"

#include <algorithm>
#include <cfloat>
#include <cmath>

#include "results.h"

namespace fused_attention {

namespace {

int64_t keyBlocks(const Problem& p) { return ceilDiv(p.keys, p.statistics.blockKeys); }
int64_t rowBlocks(const Problem& p) { return ceilDiv(p.queries, p.statistics.blockRows); }

/// The tile's keys that lie in segments, as stretches; returns their number. `out` has room for a tile's keys.
int64_t stretchesOf(std::span<const Range> segments, std::span<const Columns> pieces, Stretch* out) {
  int64_t count = 0, first = 0;
  for (const Columns& piece : pieces) {
    auto at = std::partition_point(segments.begin(), segments.end(),
                                   [&](const Range& segment) { return segment.end <= piece.begin; });
    for (; at != segments.end() && at->begin < piece.end; ++at) {
      const int64_t before = at->begin > piece.begin ? Columns(piece.begin, at->begin, piece.step).count() : 0;
      const int64_t until = Columns(piece.begin, std::min(at->end, piece.end), piece.step).count();
      if (until > before) out[count++] = {at - segments.begin(), first + before, until - before};
    }
    first += piece.count();
  }
  return count;
}

/// value * 2^exponent, where both may be far apart.
double scaled(float value, float exponent) { return value == 0 ? 0 : double(value) * std::exp2(double(exponent)); }

}  // namespace

size_t RowStatistics::bytes(const CpuPlan& plan) {
  const Problem& p = plan.problem();
  const Statistics& s = p.statistics;
  const int64_t lanes = plan.groups() * plan.kernels().maxLanes();
  const auto fold = [&](int64_t segments) { return 2 * Arena::bytesFor<float>(size_t(segments * lanes)); };
  size_t bytes = fold(int64_t(s.mass.size())) + fold(int64_t(s.columns.size()));
  if (s.blocks()) bytes += fold(keyBlocks(p)) * (size_t(s.blockSums) + size_t(s.blockMaxima));
  if (s.top > 0) {
    const size_t slots = size_t(lanes * Largest::kSlots);
    bytes += Arena::bytesFor<float>(slots) + Arena::bytesFor<int32_t>(slots) + Arena::bytesFor<float>(size_t(lanes));
  }
  return bytes;
}

void RowStatistics::clear(const Problem& p, const StatisticPointers& to) {
  const Statistics& s = p.statistics;
  const int64_t batch = p.lengths == Lengths::cumulative ? 1 : p.batch, heads = batch * p.headsQ;
  const int64_t rows = heads * p.queries;
  if (to.mass) std::fill_n(to.mass, rows * int64_t(s.mass.size()), 0.0f);
  if (to.columns) std::fill_n(to.columns, rows * int64_t(s.columns.size()), 0.0f);
  if (to.topColumns) std::fill_n(to.topColumns, rows * s.top, -1);
  if (to.topWeights) std::fill_n(to.topWeights, rows * s.top, 0.0f);
  for (float* blocks : {to.blockSums, to.blockMaxima}) {
    if (blocks) std::fill_n(blocks, heads * rowBlocks(p) * keyBlocks(p), 0.0f);
  }
  if (to.columnSums) std::fill_n(to.columnSums, heads * p.keys, 0.0f);
}

void RowStatistics::combine(const CpuPlan& plan, const std::vector<BlockShare>& shares, const StatisticPointers& to) {
  const Problem& p = plan.problem();
  const int64_t columns = keyBlocks(p);
  for (const SequencePlan& sequence : plan.sequences()) {
    const int64_t before = sequence.sequence.batch * p.headsQ * rowBlocks(p);
    for (int64_t n = 0; n < sequence.blockCount(); ++n) {
      const BlockShare& share = shares[size_t(sequence.firstBlock + n)];
      for (size_t row = 0; row < share.rows.size(); ++row) {
        const int64_t at = (before + share.rows[row]) * columns;
        for (int64_t c = 0; c < columns; ++c) {
          if (to.blockSums) to.blockSums[at + c] += share.sums[row * size_t(columns) + size_t(c)];
          if (!to.blockMaxima) continue;
          const float largest = share.maxima[row * size_t(columns) + size_t(c)];
          to.blockMaxima[at + c] = std::max(to.blockMaxima[at + c], largest);
        }
      }
    }
  }
}

RowStatistics::RowStatistics(const CpuPlan& plan, const QueryBlock& queries, Arena& arena)
    : plan_(plan), statistics_(plan.problem().statistics), queries_(queries), lanes_(plan.kernels().maxLanes()) {
  const Statistics& s = statistics_;
  if (s.blocks()) {
    for (int64_t n = 0; n < keyBlocks(plan.problem()); ++n) blocks_.push_back({n * s.blockKeys, (n + 1) * s.blockKeys});
  }
  if (!s.mass.empty()) mass_ = part(s.mass, false, arena);
  if (!s.columns.empty()) columns_ = part(s.columns, false, arena);
  if (s.blockSums) sums_ = part(blocks_, false, arena);
  if (s.blockMaxima) maxima_ = part(blocks_, true, arena);
  if (s.top > 0) {
    const size_t lanes = size_t(plan.groups() * lanes_), slots = lanes * Largest::kSlots;
    topWeights_ = arena.take<float>(slots);
    topColumns_ = arena.take<int32_t>(slots);
    topReference_ = arena.take<float>(lanes);
    std::fill_n(topWeights_, slots, 0.0f);
    std::fill_n(topColumns_, slots, -1);
    std::fill_n(topReference_, lanes, -FLT_MAX);
  }
}

RowStatistics::Part* RowStatistics::part(const std::vector<Range>& segments, bool largest, Arena& arena) {
  const size_t floats = size_t(plan_.groups() * lanes_) * segments.size();
  const Fold fold{arena.take<float>(floats), arena.take<float>(floats)};
  std::fill_n(fold.values, floats, 0.0f);
  std::fill_n(fold.references, floats, -FLT_MAX);
  parts_[partCount_] = {&segments, largest, fold};
  return &parts_[partCount_++];
}

Fold RowStatistics::foldOf(const Part& part, int64_t group) const {
  const int64_t before = group * lanes_ * int64_t(part.segments->size());
  return {part.fold.values + before, part.fold.references + before};
}

void RowStatistics::add(int64_t group, const float* weights, std::span<const Columns> columns, const float* reference) {
  const int padded = queries_.padded()[group];
  Stretch stretches[kTileKeys];
  for (int n = 0; n < partCount_; ++n) {
    const int64_t count = stretchesOf(*parts_[n].segments, columns, stretches);
    if (count == 0) continue;
    plan_.kernels().fold(weights, padded, stretches, count, reference, parts_[n].largest, foldOf(parts_[n], group));
  }
  if (statistics_.top > 0) addTop(group, weights, columns, reference);
}

void RowStatistics::addTop(int64_t group, const float* weights, std::span<const Columns> columns,
                           const float* reference) {
  const int padded = queries_.padded()[group], count = queries_.counts()[group];
  const int64_t top = statistics_.top, first = group * lanes_;
  float thresholds[QueryBlock::kMaxLanes], factors[QueryBlock::kMaxLanes], inverses[QueryBlock::kMaxLanes];
  for (int t = 0; t < padded; ++t) {
    thresholds[t] = HUGE_VALF;
    factors[t] = inverses[t] = 1;
    if (t >= count) continue;
    float& own = topReference_[first + t];
    float* const largest = topWeights_ + (first + t) * Largest::kSlots;
    if (reference[t] > own) {
      if (largest[0] > 0) {
        const float factor = std::exp2(own - reference[t]);
        for (int n = 0; n < Largest::kSlots; ++n) largest[n] *= factor;
      }
      own = reference[t];
    }
    // Where a weight of the tile is nothing beside those kept, none counts.
    if (reference[t] < own) factors[t] = std::exp2(reference[t] - own);
    if (factors[t] < FLT_MIN) continue;
    inverses[t] = 1 / factors[t];
    thresholds[t] = largest[top - 1] * inverses[t];
  }
  int32_t columnOf[kTileKeys];
  int64_t keys = 0;
  for (const Columns& piece : columns) {
    for (int64_t column = piece.begin; column < piece.end; column += piece.step) columnOf[keys++] = int32_t(column);
  }
  plan_.kernels().largest(weights, padded, columnOf, keys,
                          {topWeights_ + first * Largest::kSlots, topColumns_ + first * Largest::kSlots, thresholds,
                           factors, inverses, top});
}

void RowStatistics::write(const BlockState& state, const Pointers& pointers, BlockShare* blocks,
                          const RowShares* shares) {
  const Problem& p = plan_.problem();
  const StatisticPointers& to = pointers.statistics;
  const int64_t top = statistics_.top;
  const auto blockOf = [&](int64_t g, int t) {
    const Lanes& lanes = queries_.lanes(g);
    return lanes.head[t] * rowBlocks(p) + lanes.row[t] / statistics_.blockRows;
  };
  const size_t columns = blocks_.size();
  if (statistics_.blocks()) {
    for (int64_t g = 0; g < queries_.groups(); ++g) {
      for (int t = 0; t < queries_.lanes(g).count; ++t) blocks->rows.push_back(blockOf(g, t));
    }
    std::sort(blocks->rows.begin(), blocks->rows.end());
    blocks->rows.erase(std::unique(blocks->rows.begin(), blocks->rows.end()), blocks->rows.end());
    if (sums_) blocks->sums.assign(blocks->rows.size() * columns, 0);
    if (maxima_) blocks->maxima.assign(blocks->rows.size() * columns, 0);
  }
  for (int64_t g = 0; g < queries_.groups(); ++g) {
    const SoftmaxState softmax = state.softmax(g);
    const Lanes& lanes = queries_.lanes(g);
    const int padded = queries_.padded()[g];
    for (int t = 0; t < lanes.count; ++t) {
      const int64_t row = queries_.statistic(g, t);
      const float reference = softmax.reference[t];
      const float* const sink = p.hasSinks ? pointers.sinks + lanes.head[t] : nullptr;
      const Denominator d = denominatorOf(reference, softmax.sum[t], sink, false);
      const double share = softmax.sum[t] == 0 ? 0 : double(d.factor) / double(d.value);
      // What the row does not see is 0, and stays that where the row is NaN.
      const auto weight = [&](float value, float own) {
        return value == 0 ? 0.0f : float(scaled(value, own - reference) * share);
      };
      const auto folded = [&](const Part& part, int64_t segment) {
        const Fold fold = foldOf(part, g);
        return weight(fold.values[segment * padded + t], fold.references[segment * padded + t]);
      };
      if (shares) {
        shares->reference[row] = reference;
        shares->share[row] = float(share);
      }
      const auto rowOf = [&](const Part* part, float* out) {
        if (!part) return;
        const auto segments = int64_t(part->segments->size());
        for (int64_t n = 0; n < segments; ++n) out[row * segments + n] = folded(*part, n);
      };
      rowOf(mass_, to.mass);
      rowOf(columns_, to.columns);
      for (int64_t n = 0; n < top; ++n) {
        const int64_t from = (g * lanes_ + t) * Largest::kSlots + n;
        to.topColumns[row * top + n] = topColumns_[from];
        to.topWeights[row * top + n] = weight(topWeights_[from], topReference_[g * lanes_ + t]);
      }
      if (!statistics_.blocks()) continue;
      const auto place = std::lower_bound(blocks->rows.begin(), blocks->rows.end(), blockOf(g, t));
      const size_t at = size_t(place - blocks->rows.begin()) * columns;
      for (size_t c = 0; c < columns; ++c) {
        if (sums_) blocks->sums[at + c] += folded(*sums_, int64_t(c));
        if (!maxima_ || share != share) continue;  // a row that is NaN has no largest weight
        blocks->maxima[at + c] = std::max(blocks->maxima[at + c], folded(*maxima_, int64_t(c)));
      }
    }
  }
}

}  // namespace fused_attention
