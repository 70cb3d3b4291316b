#include "plan_cache.h"

#include <algorithm>
#include <cstring>

namespace fused_attention {

PlanCache& PlanCache::shared() {
  static PlanCache* const leaked = new PlanCache;  // pool threads may plan during exit()
  return *leaked;
}

PlanCache::Key PlanCache::keyOf(const Problem& p) {
  Key key;
  key.reserve(64);
  const auto add = [&](auto... values) { (key.push_back(int64_t(values)), ...); };
  const auto real = [&](double value) {
    int64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    key.push_back(bits);
  };
  const auto layout = [&](const Layout& l) { add(l.dtype, l.offset, l.batch, l.head, l.row); };
  const auto grid = [&](const GridLayout& g) { add(g.dtype, g.offset, g.batch, g.head, g.row, g.column); };
  add(p.isa, p.threads, p.batch, p.headsQ, p.headsKv, p.queries, p.keys, p.dimQk, p.dimV, p.align, p.lengths);
  real(p.scale);
  real(p.softcap);
  layout(p.query);
  layout(p.key);
  layout(p.value);
  layout(p.output);
  add(p.mask ? p.mask->id() : 0, p.score ? p.score->id() : 0);
  add(p.masks.size());
  for (const GridLayout& mask : p.masks) grid(mask);
  add(p.hasBias);
  if (p.hasBias) grid(p.bias);
  add(p.normalizer.kind, p.normalizer.byKeys);
  real(p.normalizer.number);
  const Statistics& s = p.statistics;
  add(s.top, s.blockRows, s.blockKeys, s.blockSums, s.blockMaxima, s.columnSums, s.mass.size(), s.columns.size());
  for (const Range& keys : s.mass) add(keys.begin, keys.end);
  for (const Range& keys : s.columns) add(keys.begin);
  add(p.hasSinks, p.lse, p.entropy, p.rowMax, p.partial);
  return key;
}

std::shared_ptr<const CpuPlan> PlanCache::plan(const Problem& problem, const CancelFlag& cancel) {
  Key key = keyOf(problem);
  if (auto known = find(key)) return known;
  auto made = std::make_shared<const CpuPlan>(problem, nullptr, nullptr, PageLists(), cancel);
  keep(std::move(key), made);
  return made;
}

std::shared_ptr<const CpuPlan> PlanCache::find(const Key& key) {
  const std::lock_guard lock(mutex_);
  const auto at = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
  if (at == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, at);
  return at->plan;
}

void PlanCache::keep(Key key, std::shared_ptr<const CpuPlan> plan) {
  const size_t bytes = plan->bytes();
  if (bytes > mostBytes_ / 2) return;
  std::list<Entry> dropped;  // destroyed without the lock
  const std::lock_guard lock(mutex_);
  entries_.push_front({std::move(key), std::move(plan), bytes});
  bytes_ += bytes;
  while (entries_.size() > mostPlans_ || bytes_ > mostBytes_) {
    bytes_ -= entries_.back().bytes;
    dropped.splice(dropped.end(), entries_, std::prev(entries_.end()));
  }
}

size_t PlanCache::plans() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

size_t PlanCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

}  // namespace fused_attention
