#include "extremes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

namespace fused_attention {

ExtremesPyramid::ExtremesPyramid(const Cell* values, std::vector<uint8_t> poison, int64_t count, Type type)
    : values_(values), poison_(std::move(poison)), type_(type) {
  if (count <= 0) return;
  if (type_ != Type::real && poison_.empty() && findOrder(count)) return;
  const int64_t stretch = int64_t{1} << kLowest;
  std::vector<Extremes> level(size_t((count + stretch - 1) / stretch));
  if (type_ == Type::real || !poison_.empty()) {
    for (int64_t t = 0; t < count; ++t) join(level[size_t(t / stretch)], one(t));
  } else {
    buildIntegers(count, level);
  }
  levels_.push_back(std::move(level));
  while (levels_.back().size() > 1) {
    const std::vector<Extremes>& below = levels_.back();
    std::vector<Extremes> next((below.size() + 1) / 2);
    for (size_t t = 0; t < below.size(); ++t) join(next[t / 2], below[t]);
    levels_.push_back(std::move(next));
  }
}

/// Whether integers only rise or only fall, and what is known of them then. Those that leave out some of few values are
/// better told by their sets.
bool ExtremesPyramid::findOrder(int64_t count) {
  bool rises = true, falls = true, near = true;
  for (int64_t t = 1; t < count; ++t) {
    const int64_t step = int64_t(values_[t].integer) - values_[t - 1].integer;
    rises &= step >= 0;
    falls &= step <= 0;
    near &= step >= -1 && step <= 1;
  }
  const int64_t first = values_[0].integer, last = values_[count - 1].integer;
  const bool few = std::abs(last - first) < 64;
  ordered_ = (rises || falls) && (near || !few);
  gapless_ = ordered_ && near;
  hasSets_ = ordered_ && few;
  base_ = std::min(first, last);
  return ordered_;
}

/// The first level without looking at what integers cannot be; and where they lie within 64 values, their sets.
void ExtremesPyramid::buildIntegers(int64_t count, std::vector<Extremes>& level) {
  const int64_t stretch = int64_t{1} << kLowest;
  int32_t least = values_[0].integer, most = least;
  for (size_t t = 0; t < level.size(); ++t) {
    const int64_t begin = int64_t(t) * stretch, end = std::min(begin + stretch, count);
    int32_t low = values_[begin].integer, high = low;
    for (int64_t k = begin + 1; k < end; ++k) {
      low = std::min(low, values_[k].integer);
      high = std::max(high, values_[k].integer);
    }
    Extremes& e = level[t];
    e.least.integer = low;
    e.most.integer = high;
    e.any = true;
    least = std::min(least, low);
    most = std::max(most, high);
  }
  hasSets_ = int64_t(most) - least < 64;
  base_ = least;
  if (!hasSets_) return;
  for (size_t t = 0; t < level.size(); ++t) {
    const int64_t begin = int64_t(t) * stretch, end = std::min(begin + stretch, count);
    uint64_t set = 0;
    for (int64_t k = begin; k < end; ++k) set |= uint64_t{1} << (int64_t(values_[k].integer) - least);
    level[t].set = set;
  }
}

Extremes ExtremesPyramid::one(int64_t index) const {
  Extremes e;
  e.least = e.most = values_[index];
  e.poison = !poison_.empty() && poison_[size_t(index)];
  if (type_ == Type::real) {
    e.nan = std::isnan(values_[index].real);
    e.any = !e.nan;
  } else {
    e.any = true;
    if (hasSets_) e.set = uint64_t{1} << (int64_t(values_[index].integer) - base_);
  }
  return e;
}

void ExtremesPyramid::join(Extremes& sum, const Extremes& other) const {
  sum.nan |= other.nan;
  sum.poison |= other.poison;
  sum.set |= other.set;
  if (!other.any) return;
  if (!sum.any) {
    sum.least = other.least;
    sum.most = other.most;
    sum.any = true;
  } else if (type_ == Type::real) {
    sum.least.real = std::min(sum.least.real, other.least.real);
    sum.most.real = std::max(sum.most.real, other.most.real);
  } else {
    sum.least.integer = std::min(sum.least.integer, other.least.integer);
    sum.most.integer = std::max(sum.most.integer, other.most.integer);
  }
}

Extremes ExtremesPyramid::over(Range range) const {
  if (ordered_) {
    const int32_t first = values_[range.begin].integer, last = values_[range.end - 1].integer;
    Extremes e;
    e.least.integer = std::min(first, last);
    e.most.integer = std::max(first, last);
    if (hasSets_) e.set = (~uint64_t{0} >> (63 - (e.most.integer - e.least.integer))) << (e.least.integer - base_);
    e.any = true;
    return e;
  }
  const uint64_t length = uint64_t(range.end - range.begin);
  if (std::has_single_bit(length) && (uint64_t(range.begin) & (length - 1)) == 0 && length >> kLowest) {
    const size_t level = size_t(std::countr_zero(length)) - kLowest;
    if (level < levels_.size()) return levels_[level][size_t(range.begin >> (kLowest + int(level)))];
  }
  Extremes sum;
  int64_t at = range.begin;
  while (at < range.end) {
    const int aligned = at == 0 ? 62 : std::countr_zero(uint64_t(at));
    const int fits = int(std::bit_width(uint64_t(range.end - at))) - 1;
    const int power = std::min(aligned, fits);
    if (power < kLowest) {
      join(sum, one(at));
      ++at;
      continue;
    }
    const size_t level = std::min(size_t(power - kLowest), levels_.size() - 1);
    join(sum, levels_[level][size_t(at >> (kLowest + int(level)))]);
    at += int64_t{1} << (kLowest + int(level));
  }
  return sum;
}

size_t ExtremesPyramid::bytes() const {
  size_t bytes = sizeof(*this);
  for (const auto& level : levels_) bytes += level.size() * sizeof(Extremes);
  return bytes;
}

}  // namespace fused_attention
