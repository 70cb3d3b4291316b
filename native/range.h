// Half-open range of rows (queries) or columns (keys) of one sequence.
#pragma once

#include <cstdint>

namespace fused_attention {

struct Range {
  int64_t begin = 0, end = 0;
  bool empty() const { return begin >= end; }
};

/// Every `step`-th column of a range, from its first on.
struct Columns : Range {
  int64_t step = 1;

  Columns() = default;
  Columns(Range range, int64_t step = 1) : Range(range), step(step) {}
  Columns(int64_t begin, int64_t end, int64_t step = 1) : Range{begin, end}, step(step) {}
  /// Most are not apart, and a division takes as long as ten steps along short pieces.
  int64_t count() const { return step == 1 ? end - begin : (end - begin + step - 1) / step; }
};

}  // namespace fused_attention
