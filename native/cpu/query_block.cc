#include "query_block.h"

#include <algorithm>

namespace fused_attention {

Range lanesOfGroup(const SequencePlan& plan, const Kernels& kernels, int64_t group) {
  if (plan.order) return {plan.order->groups[size_t(group)], plan.order->groups[size_t(group) + 1]};
  const int64_t most = plan.groupLanes, groups = ceilDiv(plan.lanes, most);
  const int64_t vectors = ceilDiv(plan.lanes - (groups - 1) * most, kernels.width);  // of the last group
  Range range{group * most, std::min((group + 1) * most, plan.lanes)};
  if (vectors == 1 && groups > 1 && !plan.few) {
    const int64_t middle = (groups - 2) * most + (kernels.vectors + 2) / 2 * kernels.width;
    if (group == groups - 2) range.end = middle;
    if (group == groups - 1) range.begin = middle;
  }
  return range;
}

GroupLanes::GroupLanes(const Problem& problem, const SequencePlan& plan, const Kernels& kernels, int64_t unit,
                       int64_t group) {
  fill(problem, plan, kernels, unit, group);
}

void GroupLanes::fill(const Problem& problem, const SequencePlan& plan, const Kernels& kernels, int64_t unit,
                      int64_t group) {
  const Range range = lanesOfGroup(plan, kernels, group);
  const int64_t queries = plan.sequence.queries, first = range.begin;
  const int64_t firstHead = plan.packed ? unit * problem.groupSize() : unit;
  const int count = int(range.end - range.begin);
  int64_t nextRow = first % queries, nextHead = firstHead + first / queries;
  stretch = !plan.order && nextRow + count <= queries;
  if (stretch) {
    for (int t = 0; t < count; ++t) row[t] = nextRow + t;
    std::fill_n(head, count, nextHead);
    rows = {nextRow, nextRow + count};
  } else {
    rows = {queries, 0};
    for (int t = 0; t < count; ++t) {
      row[t] = plan.order ? plan.order->rows[size_t(first + t)] : nextRow;
      head[t] = nextHead;
      rows = {std::min(rows.begin, row[t]), std::max(rows.end, row[t] + 1)};
      if (++nextRow == queries) nextRow = 0, ++nextHead;
    }
  }
  lanes = {count, row, head};
  padded = (count + kernels.width - 1) / kernels.width * kernels.width;
}

QueryBlock::QueryBlock(const CpuPlan& plan, const Task& task)
    : problem_(plan.problem()),
      sequence_(task.plan->sequence),
      gathered_(task.plan->gathered.empty() ? nullptr : task.plan->gathered.data()),
      few_(task.plan->few),
      firstGroup_(task.block * plan.groups()) {
  const SequencePlan& cut = *task.plan;
  const int64_t firstHead = cut.packed ? task.unit * problem_.groupSize() : task.unit;
  kvHead_ = firstHead / problem_.groupSize();
  for (; groups_ < plan.groups() && firstGroup_ + groups_ < cut.groups; ++groups_) {
    group_[groups_].fill(problem_, cut, plan.kernels(), task.unit, firstGroup_ + groups_);
    padded_[groups_] = group_[groups_].padded;
    counts_[groups_] = group_[groups_].lanes.count;
  }
}

void QueryBlock::rowsOf(const Layout& layout, const void* data, int64_t group, const void** rows) const {
  const GroupLanes& own = group_[group];
  const int64_t size = sizeOf(layout.dtype);
  const auto rowOf = [&](int t) {
    const QueryRow at = place(group, t);
    const int64_t element = layout.offset + at.batch * layout.batch + own.head[t] * layout.head + at.row * layout.row;
    return static_cast<const char*>(data) + element * size;
  };
  if (own.stretch && !gathered_) {
    const char* const first = rowOf(0);
    for (int t = 0; t < own.lanes.count; ++t) rows[t] = first + t * (layout.row * size);
  } else {
    for (int t = 0; t < own.lanes.count; ++t) rows[t] = rowOf(t);
  }
}

}  // namespace fused_attention
