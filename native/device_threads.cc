#include "device_threads.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace fused_attention {

namespace {

struct Threads {
  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> jobs;
  int threads = 0, idle = 0;

  /// Under the mutex.
  void start() {
    try {
      std::thread([this] { work(); }).detach();
      ++threads;
    } catch (const std::system_error&) {
      if (threads == 0) throw;
    }
  }

  [[noreturn]] void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      ++idle;
      wake.wait(lock, [&] { return !jobs.empty(); });
      --idle;
      std::function<void()> job = std::move(jobs.front());
      jobs.pop_front();
      lock.unlock();
      job();
      job = nullptr;  // what it captured is released before the lock is taken
      lock.lock();
    }
  }
};

Threads& threads() {
  static Threads* const leaked = new Threads;  // outlives every static: threads may be at work during exit()
  return *leaked;
}

}  // namespace

void submitToDevice(std::function<void()> job) {
  Threads& all = threads();
  {
    const std::lock_guard lock(all.mutex);
    if (size_t(all.idle) <= all.jobs.size() && all.threads < kMostDeviceThreads) all.start();
    all.jobs.push_back(std::move(job));
  }
  all.wake.notify_one();
}

}  // namespace fused_attention
