// Sums over queries of the weight that each key gets. They need denominators, which are only known when all keys of a
// row have gone by: the scores are made a second time, without values.
#pragma once

#include "row_statistics.h"

namespace fused_attention {

/// Pieces of work: keys of a unit, against all of its queries. No two write to the same place.
int64_t columnSumTasks(const CpuPlan& plan);

/// Adds to pointers.statistics.columnSums, which is 0 before.
void addColumnSums(const CpuPlan& plan, int64_t task, const Pointers& pointers, const RowShares& shares,
                   const CancelFlag& cancel);

}  // namespace fused_attention
