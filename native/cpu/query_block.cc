#include "query_block.h"

#include <algorithm>

namespace fused_attention {

GroupLanes::GroupLanes(const Problem& problem, const SequencePlan& plan, const Kernels& kernels, int64_t unit,
                       int64_t group) {
  fill(problem, plan, kernels, unit, group);
}

void GroupLanes::fill(const Problem& problem, const SequencePlan& plan, const Kernels& kernels, int64_t unit,
                      int64_t group) {
  const int64_t queries = plan.sequence.queries, first = group * kernels.maxLanes();
  const int64_t firstHead = plan.packed ? unit * problem.groupSize() : unit;
  const int count = int(std::min<int64_t>(kernels.maxLanes(), plan.lanes - first));
  rows = {queries, 0};
  for (int t = 0; t < count; ++t) {
    row[t] = (first + t) % queries;
    head[t] = firstHead + (first + t) / queries;
    rows = {std::min(rows.begin, row[t]), std::max(rows.end, row[t] + 1)};
  }
  lanes = {count, row, head};
  padded = (count + kernels.width - 1) / kernels.width * kernels.width;
}

QueryBlock::QueryBlock(const CpuPlan& plan, const Task& task)
    : problem_(plan.problem()), sequence_(task.plan->sequence), firstGroup_(task.block * plan.groups()) {
  const SequencePlan& cut = *task.plan;
  const int64_t firstHead = cut.packed ? task.unit * problem_.groupSize() : task.unit;
  kvHead_ = firstHead / problem_.groupSize();
  const int64_t all = ceilDiv(cut.lanes, plan.kernels().maxLanes());
  for (; groups_ < plan.groups() && firstGroup_ + groups_ < all; ++groups_) {
    group_[groups_].fill(problem_, cut, plan.kernels(), task.unit, firstGroup_ + groups_);
    padded_[groups_] = group_[groups_].padded;
  }
}

const char* QueryBlock::row(const Layout& layout, const void* data, int64_t group, int lane) const {
  const int64_t element = layout.offset + sequence_.batch * layout.batch + group_[group].head[lane] * layout.head +
                          (sequence_.rowQ + group_[group].row[lane]) * layout.row;
  return static_cast<const char*>(data) + element * sizeOf(layout.dtype);
}

int64_t QueryBlock::statistic(int64_t group, int lane) const {
  return (sequence_.batch * problem_.headsQ + group_[group].head[lane]) * problem_.queries + sequence_.rowQ +
         group_[group].row[lane];
}

}  // namespace fused_attention
