#include "query_block.h"

#include <algorithm>

namespace fused_attention {

QueryBlock::QueryBlock(const CpuPlan& plan, const Task& task)
    : problem_(plan.problem()), sequence_(task.plan->sequence) {
  const SequencePlan& cut = *task.plan;
  const int width = plan.kernels().width, most = plan.kernels().maxLanes();
  const int64_t firstHead = cut.packed ? task.unit * problem_.groupSize() : task.unit;
  kvHead_ = firstHead / problem_.groupSize();

  int64_t lane = task.block * plan.groups() * most;
  for (; groups_ < plan.groups() && lane < cut.lanes; ++groups_) {
    const int count = int(std::min<int64_t>(most, cut.lanes - lane));
    Range& rows = rows_[groups_] = {sequence_.queries, 0};
    for (int t = 0; t < count; ++t, ++lane) {
      const int64_t row = lane % sequence_.queries;
      row_[groups_][t] = row;
      head_[groups_][t] = firstHead + lane / sequence_.queries;
      rows = {std::min(rows.begin, row), std::max(rows.end, row + 1)};
    }
    lanes_[groups_] = {count, row_[groups_], head_[groups_]};
    padded_[groups_] = (count + width - 1) / width * width;
  }
}

const char* QueryBlock::row(const Layout& layout, const void* data, int64_t group, int lane) const {
  const int64_t element = layout.offset + sequence_.batch * layout.batch + head_[group][lane] * layout.head +
                          (sequence_.rowQ + row_[group][lane]) * layout.row;
  return static_cast<const char*>(data) + element * sizeOf(layout.dtype);
}

int64_t QueryBlock::statistic(int64_t group, int lane) const {
  return (sequence_.batch * problem_.headsQ + head_[group][lane]) * problem_.queries + sequence_.rowQ +
         row_[group][lane];
}

}  // namespace fused_attention
