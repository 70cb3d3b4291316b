#include "../backend.h"

#include <algorithm>

#include "../error.h"
#include "column_sums.h"
#include "common_pass.h"
#include "forward.h"
#include "plan_cache.h"
#include "pool.h"
#include "results.h"

namespace fused_attention {

namespace {

class CpuBackend : public Backend {
 public:
  std::variant<std::shared_ptr<const Plan>, Refusal> plan(const Problem& problem, const double* lengthsQ,
                                                          const double* lengthsKv, const PageLists& pages,
                                                          const CancelFlag& cancel) const override {
    // Lengths are read while planning: such plans are their call's own. So are those over pages, whose number of keys
    // is another each time.
    if (problem.lengths == Lengths::none && problem.paging.rows == 0) {
      return PlanCache::shared().plan(problem, cancel);
    }
    return std::make_shared<const CpuPlan>(problem, lengthsQ, lengthsKv, pages, cancel);
  }

  void run(const Plan& base, const Pointers& pointers, const CancelFlag& cancel) const override {
    const CpuPlan& plan = static_cast<const CpuPlan&>(base);
    const int threads = plan.problem().threads;
    Pool& pool = Pool::shared();

    std::unique_ptr<float[]> memory;
    if (plan.maxParts() > 1) {
      memory = std::make_unique_for_overwrite<float[]>(size_t(plan.blocks() * plan.maxParts() * plan.blockFloats()));
    }
    PartialStore partials{memory.get(), {}};
    std::vector<float> commonMemory;
    if (plan.commonPass()) partials.common = attendCommon(plan, pointers, cancel, commonMemory);
    const Statistics& statistics = plan.problem().statistics;
    RowStatistics::clear(plan.problem(), pointers.statistics);
    std::vector<BlockShare> blocks(statistics.blocks() ? size_t(plan.blocks()) : 0);
    if (statistics.blocks()) partials.blocks = blocks.data();
    std::vector<float> rowMemory(statistics.columnSums ? size_t(2 * statisticsOf(plan.problem())) : 0);
    const RowShares shares{rowMemory.data(), rowMemory.data() + rowMemory.size() / 2};
    if (statistics.columnSums) partials.shares = &shares;
    const int64_t batch = batchOf(plan.tasks(), threads);
    pool.parallel(ceilDiv(plan.tasks(), batch), threads, [&](int64_t index, int) {
      const Range tasks{index * batch, std::min((index + 1) * batch, plan.tasks())};
      forwardTasks(plan, tasks, pointers, partials, cancel);
    });
    if (plan.maxParts() > 1) {
      pool.parallel(plan.blocks(), threads, [&](int64_t index, int) {
        if (cancel.raised()) throw Cancelled();
        combineParts(plan, plan.block(index), pointers, partials);
      });
    }
    if (statistics.blocks()) RowStatistics::combine(plan, blocks, pointers.statistics);
    if (statistics.columnSums) {
      pool.parallel(columnSumTasks(plan), threads,
                    [&](int64_t index, int) { addColumnSums(plan, index, pointers, shares, cancel); });
    }
    if (plan.problem().lengths == Lengths::padded) fillPadding(plan, pointers, cancel);
  }

 private:
  CommonPartials attendCommon(const CpuPlan& plan, const Pointers& pointers, const CancelFlag& cancel,
                              std::vector<float>& memory) const {
    const Problem& problem = plan.commonPass()->problem();
    const int64_t rows = statisticsOf(problem);
    memory.resize(size_t(rows * (problem.dimV + 2)));
    CommonPartials partials{memory.data(), memory.data() + rows * problem.dimV,
                            memory.data() + rows * (problem.dimV + 1)};
    Pointers to = pointers;
    to.output = partials.output;
    to.partialMax = partials.maximum;
    to.partialSum = partials.sum;
    run(*plan.commonPass(), to, cancel);
    return partials;
  }

  /// Tasks that a thread takes at a time: one thread all of them, several few enough to end together.
  static int64_t batchOf(int64_t tasks, int threads) {
    constexpr int64_t batchesPerThread = 64;
    return threads == 1 ? std::max<int64_t>(1, tasks) : std::max<int64_t>(1, tasks / (batchesPerThread * threads));
  }

  static void fillPadding(const CpuPlan& plan, const Pointers& pointers, const CancelFlag& cancel) {
    const Problem& problem = plan.problem();
    Pool::shared().parallel(problem.batch * problem.headsQ, problem.threads, [&](int64_t index, int) {
      if (cancel.raised()) throw Cancelled();
      const int64_t batch = index / problem.headsQ;
      const Range rows{plan.sequences()[size_t(batch)].sequence.queries, problem.queries};
      writeEmptyRows(problem, batch, index % problem.headsQ, rows, pointers);
    });
  }
};

}  // namespace

const Backend& cpuBackend() {
  static const CpuBackend* const leaked = new CpuBackend;  // pool threads may be here during exit()
  return *leaked;
}

}  // namespace fused_attention
