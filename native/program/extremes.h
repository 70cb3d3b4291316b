// Least and largest of any stretch of a vector, and which values occur in it: a pyramid of powers of two. Integers that
// only rise, or only fall, as the numbers of documents and groups do, need none: the ends of a stretch say it.
#pragma once

#include <vector>

#include "../range.h"
#include "graph.h"
#include "program.h"

namespace fused_attention {

/// What a stretch of values holds. Integers and booleans: least to most. Reals: the same but for NaN.
struct Extremes {
  Cell least{}, most{};
  uint64_t set = 0;  // bit v - base for each value, where the whole vector lies within 64 values
  bool any = false;  // a value that is not NaN
  bool nan = false;
  bool poison = false;  // some value is that of a read outside its table
};

class ExtremesPyramid {
 public:
  /// `poison` may be empty. The values have to outlive this.
  ExtremesPyramid(const Cell* values, std::vector<uint8_t> poison, int64_t count, Type type);

  Extremes over(Range range) const;
  bool hasSets() const { return hasSets_; }
  int64_t base() const { return base_; }
  /// Whether every integer between the least and the largest of any stretch occurs in it.
  bool gapless() const { return gapless_; }
  size_t bytes() const;

 private:
  static constexpr int kLowest = 3;  // the first level stands for 8 values

  bool findOrder(int64_t count);
  void buildIntegers(int64_t count, std::vector<Extremes>& level);
  Extremes one(int64_t index) const;
  void join(Extremes& sum, const Extremes& other) const;

  const Cell* values_;
  std::vector<uint8_t> poison_;
  Type type_;
  bool hasSets_ = false;
  bool ordered_ = false, gapless_ = false;
  int64_t base_ = 0;
  std::vector<std::vector<Extremes>> levels_;  // level l: stretches of 2^(kLowest + l)
};

}  // namespace fused_attention
