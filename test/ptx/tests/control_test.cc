// Divergence, calls, local memory and barriers.
#include <numeric>

#include "runner.h"

using namespace fused_attention::ptx;

namespace {

std::vector<uint32_t> counting(size_t n) {
  std::vector<uint32_t> values(n);
  std::iota(values.begin(), values.end(), 1);
  return values;
}

// Schedules must not matter: the usual one, and three random ones of small quanta.
template <class F>
void underSchedules(const F& body) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    Runner runner("control");
    runner.options.seed = seed;
    runner.options.quantum = seed == 0 ? 64 : 5;
    body(runner);
  }
}

}  // namespace

TEST(divergent_loops) {
  underSchedules([](Runner& runner) {
    const auto in = counting(128);
    const uint64_t out = runner.memory.allocate(128 * 4);
    CHECK(!runner.launch("collatz", {2}, {64}, 0, runner.upload(in), out));
    const auto result = runner.download<uint32_t>(out, 128);
    for (size_t i = 0; i < in.size(); ++i) {
      uint32_t x = in[i], steps = 0;
      for (; x > 1; ++steps) x = x % 2 == 0 ? x / 2 : 3 * x + 1;
      CHECK_EQ(result[i], steps + 32000);  // all lanes have met again
    }
  });
}

TEST(calls_of_functions) {
  underSchedules([](Runner& runner) {
    const auto in = counting(96);
    const uint64_t out = runner.memory.allocate(96 * 8);
    CHECK(!runner.launch("calls", {1}, {96}, 0, runner.upload(in), out));
    const auto result = runner.download<uint64_t>(out, 96);
    for (uint32_t i = 0; i < 96; ++i) {
      const uint64_t weighed = in[i] > 4 ? std::gcd(in[i], 36u) + i : i * 2;
      CHECK_EQ(result[i], (in[i] % 3 != 0 ? weighed : 7) + std::gcd(in[i], 60u));
    }
  });
}

TEST(local_memory) {
  underSchedules([](Runner& runner) {
    const auto in = counting(64);
    const uint64_t out = runner.memory.allocate(64 * 4);
    CHECK(!runner.launch("localArray", {1}, {64}, 0, runner.upload(in), out, 17));
    const auto result = runner.download<uint32_t>(out, 64);
    for (uint32_t i = 0; i < 64; ++i) {
      uint32_t digits[10] = {};
      for (uint32_t k = 0; k < 17; ++k) ++digits[(in[i] + k * k) % 10];
      CHECK_EQ(result[i], digits[in[i] % 10] * 10 + digits[3]);
    }
  });
}

TEST(lanes_that_spin_for_another) {
  underSchedules([](Runner& runner) {
    const uint64_t flag = runner.upload(std::vector<uint32_t>{0}), out = runner.upload(std::vector<uint32_t>{0, 0});
    CHECK(!runner.launch("spin", {1}, {32}, 0, flag, out));
    CHECK_EQ(runner.download<uint32_t>(out, 2)[1], 32u);
  });
}

TEST(blocks_that_spin_for_another) {
  underSchedules([](Runner& runner) {
    const uint64_t count = runner.upload(std::vector<uint32_t>{0});
    CHECK(!runner.launch("blocksWait", {5}, {64}, 0, count));
    CHECK_EQ(runner.download<uint32_t>(count, 1)[0], 5u);
  });
}

TEST(barriers) {
  underSchedules([](Runner& runner) {
    const auto in = counting(512);
    const uint64_t out = runner.memory.allocate(8);
    CHECK(!runner.launch("reduce", {2}, {256}, 0, runner.upload(in), out));
    const auto result = runner.download<uint32_t>(out, 2);
    CHECK_EQ(result[0], 256u * 257 / 2);
    CHECK_EQ(result[0] + result[1], 512u * 513 / 2);
  });
}

TEST(named_barriers) {
  underSchedules([](Runner& runner) {
    const uint64_t out = runner.memory.allocate(128 * 4);
    CHECK(!runner.launch("namedBarriers", {1}, {128}, 0, out));
    const auto result = runner.download<uint32_t>(out, 128);
    for (uint32_t i = 0; i < 64; ++i) {
      CHECK_EQ(result[i], 3 * (63 - i) + 1);
      CHECK_EQ(result[64 + i], 3 * (63 - i));
    }
  });
}

TEST(reductions_of_barriers) {
  underSchedules([](Runner& runner) {
    const uint64_t out = runner.memory.allocate(96 * 4);
    CHECK(!runner.launch("barrierReductions", {1}, {96}, 0, out));
    for (const uint32_t value : runner.download<uint32_t>(out, 96)) CHECK_EQ(value, 32u + 1000);
  });
}

TEST(special_registers) {
  Runner runner("control");
  const uint32_t threads = 5 * 3 * 4, blocks = 2 * 3 * 2;
  const uint64_t out = runner.memory.allocate(threads * blocks * 4);
  CHECK(!runner.launch("specials", {2, 3, 2}, {5, 3, 4}, 0, out));
  const auto result = runner.download<uint32_t>(out, threads * blocks);
  for (uint32_t i = 0; i < result.size(); ++i) {
    const uint32_t thread = i % threads;
    CHECK_EQ(result[i], thread % 32 + 100 * (thread / 32) + 10000 * (i / threads));
  }
}
