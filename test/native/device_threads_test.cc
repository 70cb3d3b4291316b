#include "device_threads.h"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "test.h"

using namespace fused_attention;

namespace {

/// Jobs that stand until all may go.
struct Standing {
  std::mutex mutex;
  std::condition_variable changed;
  int standing = 0, left = 0;
  bool open = false;

  void stand() {
    std::unique_lock lock(mutex);
    ++standing;
    changed.notify_all();
    changed.wait(lock, [&] { return open; });
    ++left;
    changed.notify_all();
  }
  bool until(int& count, int value) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] { return count == value; });
  }
};

}  // namespace

TEST(device_threads_wait_side_by_side) {
  for (int round = 0; round < 3; ++round) {
    Standing jobs;
    for (int n = 0; n < kMostDeviceThreads + 5; ++n) submitToDevice([&] { jobs.stand(); });
    CHECK(jobs.until(jobs.standing, kMostDeviceThreads));
    {
      const std::lock_guard lock(jobs.mutex);
      jobs.open = true;
      jobs.changed.notify_all();
    }
    CHECK(jobs.until(jobs.left, kMostDeviceThreads + 5));
  }
}
