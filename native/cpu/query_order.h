// The order in which queries are taken: on a grid boxes of neighbours, which share most of the keys that they see, and
// where keys are listed, groups of rows with the same list.
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

/// Where the groups of a box of so many queries begin: whole vectors, shared out alike.
std::vector<int64_t> groupsOf(int64_t queries, const Kernels& kernels);

/// Time for a key and the groups of so many queries, in that for a group of the most vectors.
double timeFor(int64_t queries, const Kernels& kernels);

/// Boxes of the shape that costs least, by what their queries see together. Along an axis with a period they are boxes
/// of a residue class.
std::shared_ptr<const QueryOrder> boxesOf(const GridKeys& keys, const AxisProduct& grid, int64_t rows,
                                          const Kernels& kernels);

class ListedKeys;

struct ListedOrder {
  std::shared_ptr<const QueryOrder> order;  // null: rows are taken as they come
  bool few = false;                         // groups are so small that the few... operations do better
};

/// Groups of rows that see the same keys, where that costs less than to take rows as they come.
ListedOrder orderOfListed(const ListedKeys& keys, int64_t queries, int64_t heads, const Kernels& kernels,
                          bool canBeFew);

}  // namespace fused_attention
