// Shuffles, votes, matches and reductions against what they mean lane by lane.
#include <algorithm>
#include <bit>
#include <functional>

#include "runner.h"

using namespace fused_attention::ptx;

namespace {

std::vector<uint32_t> inputs() {
  std::vector<uint32_t> x(32);
  for (int lane = 0; lane < 32; ++lane) x[lane] = (lane * 37 + 3) % 101;
  return x;
}

void check(const char* kernel, const std::function<uint32_t(const std::vector<uint32_t>&, int)>& reference) {
  Runner runner("exchange");
  const auto x = inputs();
  const uint64_t out = runner.memory.allocate(128);
  CHECK(!runner.launch(kernel, {1}, {32}, 0, runner.upload(x), out));
  const auto result = runner.download<uint32_t>(out, 32);
  for (int lane = 0; lane < 32; ++lane) {
    if (result[lane] != reference(x, lane))
      return FAIL(std::string(kernel) + " differs in lane " + std::to_string(lane));
  }
}

using X = const std::vector<uint32_t>&;

template <class P>
uint32_t lanesWhere(X x, P holds) {
  uint32_t mask = 0;
  for (int lane = 0; lane < 32; ++lane) mask |= static_cast<uint32_t>(holds(x[lane])) << lane;
  return mask;
}

}  // namespace

TEST(shuffles) {
  check("shuffleIndex", [](X x, int lane) { return x[(lane * 7 + 3) % 32]; });
  check("shuffleIndexOfEights", [](X x, int lane) { return x[lane / 8 * 8 + (lane * 7 + 3) % 8]; });
  check("shuffleUp", [](X x, int lane) { return x[lane < 3 ? lane : lane - 3]; });
  check("shuffleUpOfEights", [](X x, int lane) { return x[lane % 8 < 3 ? lane : lane - 3]; });
  check("shuffleDown", [](X x, int lane) { return x[lane + 5 > 31 ? lane : lane + 5]; });
  check("shuffleDownOfSixteens", [](X x, int lane) { return x[lane % 16 + 5 > 15 ? lane : lane + 5]; });
  check("shuffleXor", [](X x, int lane) { return x[lane ^ 11]; });
}

TEST(votes) {
  check("ballot", [](X x, int) { return lanesWhere(x, [](uint32_t v) { return v & 1; }); });
  check("someLane", [](X x, int) { return std::count(x.begin(), x.end(), 77u) > 0 ? 2u : 0u; });
  check("everyOne", [](X x, int) { return 2u + (*std::max_element(x.begin(), x.end()) < 100); });
  check("matchAny", [](X x, int lane) { return lanesWhere(x, [&](uint32_t v) { return v % 5 == x[lane] % 5; }); });
}

TEST(reductions) {
  check("sum", [](X x, int) {
    uint32_t total = 0;
    for (const uint32_t v : x) total += v;
    return total;
  });
  check("least", [](X x, int) { return *std::min_element(x.begin(), x.end()); });
  check("greatestSigned", [](X x, int) { return *std::max_element(x.begin(), x.end()) - 100; });
  check("exclusive", [](X x, int) {
    uint32_t total = 0;
    for (const uint32_t v : x) total ^= v;
    return total;
  });
}

TEST(halves_of_a_warp_apart) {
  check("halves", [](X x, int lane) {
    if (lane < 16) return x[lane] + x[lane ^ 1];
    const int from = lane ^ 2;
    return x[from] + from % 3;
  });
}
