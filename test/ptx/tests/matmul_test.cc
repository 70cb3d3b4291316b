// A whole program: a tiled product against one in float64, its exact counts, and what is found in broken copies of it.
#include <chrono>
#include <cmath>
#include <random>

#include "half.h"
#include "runner.h"

using namespace fused_attention::ptx;

namespace {

constexpr int m = 128, n = 192, k = 96;

template <class N>
std::vector<uint16_t> randomHalves(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<uint16_t> values(count);
  for (uint16_t& value : values) value = narrow<N>(normal(random)).bits;
  return values;
}

template <class N>
void checkProduct(const std::string& kernel, uint64_t seed, int quantum) {
  Runner runner("matmul");
  runner.options.seed = seed;
  runner.options.quantum = quantum;
  const auto a = randomHalves<N>(m * k, 1), b = randomHalves<N>(k * n, 2);
  const uint64_t c = runner.memory.allocate(m * n * 4);
  CHECK(!runner.launch(kernel, {n / 64, m / 64}, {128}, 0, runner.upload(a), runner.upload(b), c, n, k));
  const auto result = runner.download<float>(c, m * n);
  for (int row = 0; row < m; ++row) {
    for (int column = 0; column < n; ++column) {
      double expected = 0, magnitude = 0;
      for (int i = 0; i < k; ++i) {
        const double term = static_cast<double>(toFloat(N{a[row * k + i]})) * toFloat(N{b[i * n + column]});
        expected += term;
        magnitude += std::fabs(term);
      }
      CHECK_NEAR(result[row * n + column], expected, 0x1p-22 * magnitude);
    }
  }
  const Counters& counters = runner.report.counters.at(kernel);
  CHECK_EQ(counters.of(InstructionClass::Mma), m * n * k / (16 * 8 * 16));
  CHECK_EQ(counters.sharedLoads.units, counters.sharedLoads.minimum);
  CHECK_EQ(counters.sharedStores.units, counters.sharedStores.minimum);
  CHECK_EQ(counters.globalLoads.units, counters.globalLoads.minimum);
  CHECK_EQ(counters.globalLoads.units, (n / 64 * m * k + m / 64 * k * n) * 2 / 32);
  CHECK_EQ(counters.globalStores.units, counters.globalStores.minimum);
}

void checkBroken(const std::string& kernel, FindingKind kind) {
  uint64_t found = 0;
  for (uint64_t seed = 0; seed < 3; ++seed) {
    Runner runner("matmul");
    runner.options.seed = seed;
    const auto a = randomHalves<Float16>(m * k, 1), b = randomHalves<Float16>(k * n, 2);
    const uint64_t c = runner.memory.allocate(m * n * 4);
    runner.launch(kernel, {n / 64, m / 64}, {128}, 0, runner.upload(a), runner.upload(b), c, n, k);
    found += runner.take(kind) > 0;
    runner.report.findings.clear();  // of other kinds, which follow from it
  }
  CHECK_EQ(found, 3u);
}

}  // namespace

TEST(matmul_of_f16) {
  for (const int quantum : {1, 7, 64}) {
    for (uint64_t seed = 0; seed < 3; ++seed) checkProduct<Float16>("matmulF16", seed, quantum);
  }
}
TEST(matmul_of_bf16) { checkProduct<BFloat16>("matmulBF16", 0, 64); }
TEST(matmul_without_a_wait_is_found) { checkBroken("matmulWithoutWait", FindingKind::InFlight); }
TEST(matmul_without_a_barrier_is_found) { checkBroken("matmulWithoutBarrier", FindingKind::InFlight); }
TEST(matmul_without_the_last_barrier_is_found) { checkBroken("matmulWithoutLastBarrier", FindingKind::Race); }
