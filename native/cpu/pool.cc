#include "pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "background.h"
#include "processors.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace fused_attention {

namespace {

constexpr auto kSpin = std::chrono::microseconds(50);
constexpr int kMostThreads = 1024;

void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  asm volatile("yield");
#endif
}

/// Waits for `ready` without sleeping; false once the time is up.
template <class Ready>
bool spinUntil(Ready ready) {
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

/// One call of `parallel`. Lives on its caller's stack: the caller leaves only when no helper is active.
struct Region {
  Region(const std::function<void(int64_t, int)>& body_, int64_t tasks_, int threads_)
      : body(body_), tasks(tasks_), threads(threads_) {}

  const std::function<void(int64_t, int)>& body;
  const int64_t tasks;
  const int threads;
  std::atomic<int64_t> next{0};
  // Below: written under the pool's mutex.
  int slots = 1;  // given out, the caller's 0 included
  std::atomic<int> active{0};
  std::exception_ptr error;
  std::condition_variable done;

  bool open() const { return slots < threads && next.load(std::memory_order_relaxed) < tasks; }
};

struct Threads {
  const int size = usableProcessors();
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<uint32_t> signals{0};  // counts new work, for those that spin
  // Below: under the mutex.
  std::vector<Region*> regions;
  std::deque<std::function<void()>> jobs;
  int workers = 0, sleeping = 0, jobsRunning = 0;
  int spinning = 0, called = 0;  // called: of those that spin, how many have news to look at

  /// Starts threads up to `count`, as far as the system allows. Under the mutex.
  void grow(int count) {
    for (count = std::min(count, kMostThreads); workers < count; ++workers) {
      try {
        std::thread([this] { work(); }).detach();
      } catch (const std::system_error&) {
        if (workers == 0) throw;
        return;
      }
    }
  }

  /// Tells `count` threads of new work, first those that spin. The lock is given up before they hear of it: they want
  /// it.
  void announce(int count, std::unique_lock<std::mutex>& lock) {
    const int near = std::min(count, spinning - called);
    called += near;
    for (int i = std::min(count - near, sleeping); i > 0; --i) wake.notify_one();
    lock.unlock();
    signals.fetch_add(1, std::memory_order_relaxed);
  }

  Region* openRegion() const {
    for (Region* region : regions) {
      if (region->open()) return region;
    }
    return nullptr;
  }
  bool jobReady() const { return !jobs.empty() && jobsRunning < size; }

  [[noreturn]] void work() {
    becomeBackgroundThread();
    std::unique_lock lock(mutex);
    for (;;) {
      if (Region* region = openRegion()) {
        help(*region, lock);
      } else if (jobReady()) {
        runJob(lock);
      } else {
        rest(lock);
      }
    }
  }

  /// Waits for work; may come back without any. One processor is left to the thread that work comes from.
  void rest(std::unique_lock<std::mutex>& lock) {
    if (spinning < size - 1) {
      ++spinning;
      const uint32_t seen = signals.load(std::memory_order_relaxed);
      lock.unlock();
      spinUntil([&] { return signals.load(std::memory_order_relaxed) != seen; });
      lock.lock();
      --spinning;
      called = std::max(0, called - 1);
      if (openRegion() || jobReady()) return;
    }
    ++sleeping;
    wake.wait(lock);
    --sleeping;
  }

  void help(Region& region, std::unique_lock<std::mutex>& lock) {
    const int slot = region.slots++;
    region.active.fetch_add(1, std::memory_order_relaxed);
    lock.unlock();
    takeTasks(region, slot);
    lock.lock();
    if (region.active.fetch_sub(1, std::memory_order_relaxed) == 1) region.done.notify_one();
  }

  void runJob(std::unique_lock<std::mutex>& lock) {
    std::function<void()> job = std::move(jobs.front());
    jobs.pop_front();
    ++jobsRunning;
    lock.unlock();
    job();
    job = nullptr;  // what it captured is released before the lock is taken
    lock.lock();
    --jobsRunning;
  }

  void takeTasks(Region& region, int slot) {
    for (int64_t task; (task = region.next.fetch_add(1, std::memory_order_relaxed)) < region.tasks;) {
      try {
        region.body(task, slot);
      } catch (...) {
        region.next.store(region.tasks, std::memory_order_relaxed);
        const std::lock_guard lock(mutex);
        if (!region.error) region.error = std::current_exception();
      }
    }
  }

  void runRegion(Region& region) {
    std::unique_lock lock(mutex);
    try {
      grow(region.threads);
    } catch (const std::system_error&) {
      // No helpers: the caller does it all.
    }
    regions.push_back(&region);
    announce(region.threads - 1, lock);
    takeTasks(region, 0);
    lock.lock();
    regions.erase(std::find(regions.begin(), regions.end(), &region));
    if (region.active.load(std::memory_order_relaxed) > 0) {
      lock.unlock();
      spinUntil([&] { return region.active.load(std::memory_order_relaxed) == 0; });
      lock.lock();  // the last helper is out of the region only when it has let the mutex go
      region.done.wait(lock, [&] { return region.active.load(std::memory_order_relaxed) == 0; });
    }
  }
};

Threads& threads() {
  static Threads* const leaked = new Threads;  // outlives every static: threads may be at work during exit()
  return *leaked;
}

}  // namespace

Pool& Pool::shared() {
  static Pool pool;
  return pool;
}

int Pool::size() const { return threads().size; }

void Pool::parallel(int64_t tasks, int threadCount, const std::function<void(int64_t task, int slot)>& body) {
  const int count = static_cast<int>(std::min<int64_t>({tasks, threadCount, kMostThreads}));
  if (count <= 1) {
    for (int64_t task = 0; task < tasks; ++task) body(task, 0);
    return;
  }
  Region region(body, tasks, count);
  threads().runRegion(region);
  if (region.error) std::rethrow_exception(region.error);
}

void Pool::submit(std::function<void()> job) {
  Threads& pool = threads();
  std::unique_lock lock(pool.mutex);
  pool.grow(pool.size);
  pool.jobs.push_back(std::move(job));
  pool.announce(1, lock);
}

}  // namespace fused_attention
