// The process's one pool of compute threads, shared by all environments. No pinning; idle threads spin at most 50 us.
//
// Threads start when first needed and are never joined: exit() runs with them asleep or at work, and what they use is
// never destroyed. A child made by fork() without exec() has none of them and must not use the pool.
#pragma once

#include <cstdint>
#include <functional>

namespace fused_attention {

class Pool {
 public:
  static Pool& shared();

  /// Threads this process may use: affinity mask and cgroup quota, at least 1. So many submitted jobs run at a time.
  int size() const;

  /// Runs body(task, slot) for every task in [0, tasks) on at most `threads` threads (the caller is slot 0, slots are
  /// dense and below `threads`), returns when all are done. The first exception stops the handing out of further tasks
  /// and is rethrown here. May be called from any thread, a pool thread running a submitted job or a task included.
  /// More threads than size() are used when asked for: how many are sensible is the caller's decision.
  void parallel(int64_t tasks, int threads, const std::function<void(int64_t task, int slot)>& body);

  /// Queues a job for a pool thread; jobs start in order. Idle threads first help regions under way. `job` must not
  /// throw. Throws std::system_error when not one thread can be started.
  void submit(std::function<void()> job);
};

}  // namespace fused_attention
