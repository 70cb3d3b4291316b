#include "cpu/pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "cpu/processors.h"
#include "test.h"

using namespace fused_attention;

namespace {

/// Opens once; those who wait fail after ten seconds instead of hanging the tests.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

}  // namespace

TEST(pool_runs_every_task_once) {
  for (const int threads : {1, 2, 3, 7}) {
    for (const int64_t tasks : {0, 1, 2, 5, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(tasks));
      Pool::shared().parallel(tasks, threads, [&](int64_t task, int) { ++runs[static_cast<size_t>(task)]; });
      for (const auto& count : runs) CHECK_EQ(count.load(), 1);
    }
  }
}

TEST(pool_publishes_what_tasks_wrote) {
  std::vector<int64_t> plain(4096);
  for (int round = 0; round < 50; ++round) {
    Pool::shared().parallel(4096, 4, [&](int64_t task, int) { plain[static_cast<size_t>(task)] += task; });
  }
  for (int64_t task = 0; task < 4096; ++task) CHECK_EQ(plain[static_cast<size_t>(task)], 50 * task);
}

TEST(pool_slots_are_dense_and_exclusive) {
  constexpr int kThreads = 5;
  std::atomic<bool> taken[kThreads] = {};
  std::atomic<int> meeting{0};
  Gate all;
  std::mutex mutex;
  std::set<int> seen;
  // The first tasks wait until five threads are here at once, so every slot must be in use.
  Pool::shared().parallel(200, kThreads, [&](int64_t task, int slot) {
    CHECK(slot >= 0 && slot < kThreads);
    CHECK(!taken[slot].exchange(true));
    if (task < kThreads) {
      if (++meeting == kThreads) all.open();
      CHECK(all.wait());
    }
    {
      const std::lock_guard lock(mutex);
      seen.insert(slot);
    }
    taken[slot] = false;
  });
  CHECK_EQ(seen.size(), size_t{kThreads});
}

TEST(pool_caller_is_slot_0) {
  const auto caller = std::this_thread::get_id();
  Pool::shared().parallel(500, 3,
                          [&](int64_t, int slot) { CHECK((slot == 0) == (std::this_thread::get_id() == caller)); });
}

TEST(pool_rethrows_and_stops_handing_out) {
  for (const int threads : {1, 4}) {
    std::atomic<int64_t> ran{0};
    std::string what;
    try {
      Pool::shared().parallel(1'000'000'000, threads, [&](int64_t task, int) {
        ++ran;
        if (task == 10) throw std::runtime_error("task 10");
      });
    } catch (const std::runtime_error& error) {
      what = error.what();
    }
    CHECK_EQ(what, std::string("task 10"));
    CHECK(ran.load() < 1'000'000'000);
  }
  // and is as good as new
  std::atomic<int> ran{0};
  Pool::shared().parallel(64, 4, [&](int64_t, int) { ++ran; });
  CHECK_EQ(ran.load(), 64);
}

TEST(pool_nests) {
  std::atomic<int> ran{0};
  Pool::shared().parallel(8, 3, [&](int64_t, int) {
    Pool::shared().parallel(16, 3, [&](int64_t, int) { Pool::shared().parallel(4, 2, [&](int64_t, int) { ++ran; }); });
  });
  CHECK_EQ(ran.load(), 8 * 16 * 4);
}

TEST(pool_serves_several_regions_at_once) {
  // Each of three callers' regions stays open until all three are under way.
  std::atomic<int> underWay{0};
  Gate all;
  std::vector<std::thread> callers;
  std::atomic<int64_t> sum{0};
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      Pool::shared().parallel(100, 2, [&](int64_t task, int) {
        if (task == 0) {
          if (++underWay == 3) all.open();
          CHECK(all.wait());
        }
        sum += task;
      });
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(sum.load(), int64_t{3 * 4950});
}

TEST(pool_starts_jobs_in_order) {
  constexpr int kJobs = 200;
  const int size = Pool::shared().size();
  // Every place where a job can run is held, so that the queue fills; then one of them is let go and takes them all.
  Gate allHeld, first, others, last;
  std::atomic<int> holding{0};
  for (int place = 0; place < size; ++place) {
    Pool::shared().submit([&, place] {
      if (++holding == size) allHeld.open();
      (place == 0 ? first : others).wait();
      --holding;
    });
  }
  CHECK(allHeld.wait());
  std::vector<int> started;
  for (int job = 0; job < kJobs; ++job) {
    Pool::shared().submit([&, job] {
      started.push_back(job);
      if (job == kJobs - 1) last.open();
    });
  }
  CHECK(started.empty());
  first.open();
  CHECK(last.wait());
  CHECK_EQ(started.size(), size_t{kJobs});
  for (int job = 0; job < kJobs; ++job) CHECK_EQ(started[static_cast<size_t>(job)], job);
  others.open();
  while (holding.load() > 0) std::this_thread::yield();
}

TEST(pool_jobs_use_the_pool) {
  Gate done;
  std::atomic<int> ran{0};
  Pool::shared().submit([&] {
    Pool::shared().parallel(100, Pool::shared().size(), [&](int64_t, int) { ++ran; });
    done.open();
  });
  CHECK(done.wait());
  CHECK_EQ(ran.load(), 100);
}

TEST(pool_releases_a_job_when_it_is_done) {
  auto captured = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = captured;
  Gate done;
  Pool::shared().submit([captured = std::move(captured), &done] { done.open(); });
  CHECK(done.wait());
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!watch.expired() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  CHECK(watch.expired());
}

TEST(pool_wakes_from_sleep_again_and_again) {
  for (int round = 0; round < 20; ++round) {
    std::this_thread::sleep_for(std::chrono::microseconds(300));  // past the spinning
    std::atomic<int> ran{0};
    Pool::shared().parallel(10, 3, [&](int64_t, int) { ++ran; });
    CHECK_EQ(ran.load(), 10);
  }
}

TEST(processors_at_least_one) { CHECK(usableProcessors() >= 1 && Pool::shared().size() >= 1); }

TEST(processors_cgroup_quota) {
  namespace fs = std::filesystem;
  const fs::path root = fs::temp_directory_path() / ("fused-attention-cgroup-" + std::to_string(std::rand()));
  const auto write = [&](const fs::path& path, const std::string& text) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  };
  const double none = std::numeric_limits<double>::infinity();
  CHECK_EQ(cgroupQuota("0::/\n", root.string()), none);
  write("a/cpu.max", "max 100000\n");
  write("a/b/cpu.max", "150000 100000\n");
  write("a/b/c/cpu.max", "400000 100000\n");
  CHECK_EQ(cgroupQuota("0::/a\n", root.string()), none);
  CHECK_EQ(cgroupQuota("0::/a/b\n", root.string()), 1.5);
  CHECK_EQ(cgroupQuota("0::/a/b/c\n", root.string()), 1.5);  // the parent's is tighter
  CHECK_EQ(cgroupQuota("0::/elsewhere\n", root.string()), none);
  write("cpu.max", "100000 100000");
  CHECK_EQ(cgroupQuota("0::/elsewhere\n", root.string()), 1.0);  // a host's path seen from a container
  write("cpu,cpuacct/x/cpu.cfs_quota_us", "300000");
  write("cpu,cpuacct/x/cpu.cfs_period_us", "100000");
  CHECK_EQ(cgroupQuota("4:cpu,cpuacct:/x\n3:memory:/y\n", root.string()), 3.0);
  write("cpu,cpuacct/x/cpu.cfs_quota_us", "-1");
  CHECK_EQ(cgroupQuota("4:cpu,cpuacct:/x\n", root.string()), none);
  CHECK_EQ(cgroupQuota("nonsense\n::\n4:cpu\n", root.string()), none);
  fs::remove_all(root);
}
