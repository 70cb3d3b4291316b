// Half-open range of rows (queries) or columns (keys) of one sequence.
#pragma once

#include <cstdint>

namespace fused_attention {

struct Range {
  int64_t begin = 0, end = 0;
  bool empty() const { return begin >= end; }
};

}  // namespace fused_attention
