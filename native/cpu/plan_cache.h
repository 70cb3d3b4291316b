// Plans of calls that came before, found by everything that a plan depends on: the problem's numbers and the ids of its
// programs, never their content. Bounded in number and bytes; what was not used longest goes first.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "plan.h"

namespace fused_attention {

class PlanCache {
 public:
  static constexpr size_t kMostPlans = 64, kMostBytes = size_t{64} << 20;

  /// The process's cache; never destroyed.
  static PlanCache& shared();

  explicit PlanCache(size_t mostPlans = kMostPlans, size_t mostBytes = kMostBytes)
      : mostPlans_(mostPlans), mostBytes_(mostBytes) {}

  /// The plan of a problem without lengths, made or found. Throws what CpuPlan throws.
  std::shared_ptr<const CpuPlan> plan(const Problem& problem, const CancelFlag& cancel = CancelFlag::never());

  size_t plans() const;
  size_t bytes() const;

 private:
  using Key = std::vector<int64_t>;
  struct Entry {
    Key key;
    std::shared_ptr<const CpuPlan> plan;
    size_t bytes;
  };

  static Key keyOf(const Problem& problem);
  std::shared_ptr<const CpuPlan> find(const Key& key);
  void keep(Key key, std::shared_ptr<const CpuPlan> plan);

  const size_t mostPlans_, mostBytes_;
  mutable std::mutex mutex_;
  std::list<Entry> entries_;  // last used first
  size_t bytes_ = 0;
};

}  // namespace fused_attention
