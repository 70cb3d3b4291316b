// The other form of some masks: a product of ranges along the axes of a grid, told by the one who made the mask. It
// says what the program says, and more cheaply.
#pragma once

#include <cstdint>

namespace fused_attention {

/// Positions from `origin` on are the cells of a grid, row-major, the last axis fastest. A query's cell x sees a key's
/// cell c where on every axis start[x] <= c < end[x] and c = x modulo the period. Positions before the origin are seen
/// by all, and see all.
struct AxisProduct {
  static constexpr int kMostAxes = 3;

  struct Axis {
    int64_t length = 1, period = 1;
    int start = 0, end = 0;  // tables of the program, [length] integers
  };

  int axes = 0;  // 0: the mask has no such form
  int64_t origin = 0;
  Axis axis[kMostAxes];

  int64_t cells() const {
    int64_t count = 1;
    for (int a = 0; a < axes; ++a) count *= axis[a].length;
    return count;
  }
};

}  // namespace fused_attention
