// The order in which the queries of a grid are taken: boxes of neighbours, which share most of the keys that they see.
#pragma once

#include <memory>
#include <vector>

#include "../tiles/grid_keys.h"
#include "kernels.h"

namespace fused_attention {

struct QueryOrder {
  std::vector<int64_t> rows;    // all rows of the sequence
  std::vector<int64_t> groups;  // where each group begins among them, and the end

  int64_t groupCount() const { return int64_t(groups.size()) - 1; }
  size_t bytes() const { return (rows.capacity() + groups.capacity()) * sizeof(int64_t); }
};

/// Boxes of the shape that costs least, by what their queries see together. Along an axis with a period they are boxes
/// of a residue class.
std::shared_ptr<const QueryOrder> boxesOf(const GridKeys& keys, const AxisProduct& grid, int64_t rows,
                                          const Kernels& kernels);

}  // namespace fused_attention
