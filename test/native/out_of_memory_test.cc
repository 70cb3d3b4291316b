// Every allocation of a call fails once, one after the other: each time the call ends in std::bad_alloc, gives back all
// it had, and the next one is right. This file replaces the global operator new of the test program.
#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <new>
#include <thread>
#include <vector>

#include "backend.h"
#include "cpu/pool.h"
#include "graph_builder.h"
#include "kernel_fixtures.h"
#include "test.h"

namespace {

constexpr int64_t kNever = int64_t{1} << 62;
std::atomic<int64_t> allocationsLeft{kNever};

void* allocate(size_t bytes, size_t alignment) {
  if (allocationsLeft.load(std::memory_order_relaxed) < kNever / 2 &&
      allocationsLeft.fetch_sub(1, std::memory_order_relaxed) == 0) {
    throw std::bad_alloc();
  }
  void* memory = nullptr;
  if (alignment <= alignof(std::max_align_t)) {
    memory = std::malloc(bytes == 0 ? 1 : bytes);
  } else if (posix_memalign(&memory, alignment, bytes) != 0) {
    memory = nullptr;
  }
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t bytes) { return allocate(bytes, 1); }
void* operator new[](size_t bytes) { return allocate(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t alignment) { return allocate(bytes, size_t(alignment)); }
void* operator new[](size_t bytes, std::align_val_t alignment) { return allocate(bytes, size_t(alignment)); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace fused_attention {
namespace {

/// A call in its encoded form over memory of its own: decode, plan, run, as the addon does it.
class Whole {
 public:
  Whole(int64_t queries, int64_t keys, int threads, bool ragged, std::shared_ptr<const Program> mask)
      : programs_{std::move(mask), nullptr} {
    const double q = double(queries), k = double(keys), d = 16;
    numbers_ = {1, 0, double(threads), ragged ? 3.0 : 1.0, 4, 2, q, k, d, d, 0.25, 0, 0, ragged ? 2.0 : 0.0, 1};
    const auto tensor = [&](double heads, double rows) {
      numbers_.insert(numbers_.end(), {0, 0, ragged ? 0 : heads * rows * d, rows * d, d});
      memory_.push_back(normals(int64_t(heads * rows * d)));
    };
    tensor(4, q), tensor(2, k), tensor(2, k), tensor(4, q);
    numbers_.push_back(0);
    memory_.emplace_back(size_t(4 * queries));
    buffers_.resize(13);
    for (size_t slot = 0; slot < 5; ++slot) buffers_[slot] = {memory_[slot].data(), memory_[slot].size() * 4};
    if (ragged) {
      ends_ = {0, q / 2, q / 2, q, 0, k / 2, k - 1, k};
      buffers_[11] = {ends_.data(), 32};
      buffers_[12] = {ends_.data() + 4, 32};
    }
  }

  void run() const {
    Call call = decodeCall(numbers_.data(), numbers_.size(), buffers_, programs_);
    const auto plan = cpuBackend().plan(call.problem, call.pointers.lengthsQ, call.pointers.lengthsKv);
    const CancelFlag never;
    cpuBackend().run(*std::get<std::shared_ptr<const Plan>>(plan), call.pointers, never);
  }

  std::vector<float> result() {
    std::fill(memory_[3].begin(), memory_[3].end(), kNaN);
    run();
    return memory_[3];
  }

 private:
  Programs programs_;
  std::vector<double> numbers_, ends_;
  std::vector<std::vector<float>> memory_;
  std::vector<Buffer> buffers_;
};

std::shared_ptr<const Program> someMask() {
  GraphBuilder g;
  return g.mask(g.land(g.le(g.j(), g.i()), g.le(g.apply(Op::mod, {g.j(), g.integer(7)}), g.integer(4))));
}

/// How many allocations were refused until a call went through.
int64_t starve(const std::function<Whole()>& make) {
  Whole whole = make();
  const std::vector<float> expected = whole.result();
  for (int64_t left = 0;; ++left) {
    // A program of its own: plans are kept by the ids of programs, and this one is to be made.
    Whole again = make();
    bool refused = false;
    allocationsLeft.store(left);
    try {
      whole.run();
      again.run();
    } catch (const std::bad_alloc&) {
      refused = true;
    }
    allocationsLeft.store(kNever);
    generator.seed(5);
    CHECK(whole.result() == expected);
    if (!refused) return left;
    if (left > 200'000) {
      FAIL("no end of allocations");
      return left;
    }
  }
}

}  // namespace

TEST(out_of_memory_in_every_allocation_of_a_call) {
  for (const int threads : {1, 3}) {
    CHECK(starve([&] { return Whole(40, 70, threads, false, nullptr); }) > 3);
    CHECK(starve([&] { return Whole(40, 70, threads, false, someMask()); }) > 10);
    CHECK(starve([&] { return Whole(40, 70, threads, true, someMask()); }) > 10);
  }
}

TEST(out_of_memory_where_keys_are_shared_out_to_threads) {
  CHECK(starve([] { return Whole(1, 20'000, 2, false, nullptr); }) > 3);
}

TEST(out_of_memory_while_a_job_is_queued) {
  std::atomic<int> ran{0};
  int refused = 0;
  for (int64_t left = 0; left < 20; ++left) {
    allocationsLeft.store(left);
    try {
      Pool::shared().submit([&ran, padding = std::array<int64_t, 16>{}] { ran += 1 + int(padding[0]); });
    } catch (const std::bad_alloc&) {
      ++refused;
    }
    allocationsLeft.store(kNever);
  }
  CHECK(refused > 0);
  while (ran.load() < 20 - refused) std::this_thread::yield();
}

}  // namespace fused_attention
