// Counts of instructions, wavefronts and sectors, by hand.
#include <cstdio>
#include <ctime>

#include "runner.h"
#include "traffic.h"

using namespace fused_attention::ptx;

namespace {

template <class F>
Traffic shared(int width, F address, uint32_t mask = ~0u) {
  uint64_t addresses[32];
  for (int lane = 0; lane < 32; ++lane) addresses[lane] = address(lane);
  Traffic traffic;
  countShared(traffic, addresses, mask, width);
  return traffic;
}
template <class F>
Traffic global(int width, F address, uint32_t mask = ~0u) {
  uint64_t addresses[32];
  for (int lane = 0; lane < 32; ++lane) addresses[lane] = address(lane);
  Traffic traffic;
  countGlobal(traffic, addresses, mask, width);
  return traffic;
}

}  // namespace

TEST(wavefronts_of_shared_memory) {
  CHECK_EQ(shared(4, [](int lane) { return 4 * lane; }).units, 1u);
  CHECK_EQ(shared(4, [](int lane) { return 8 * lane; }).units, 2u);
  CHECK_EQ(shared(4, [](int lane) { return 128 * lane; }).units, 32u);
  CHECK_EQ(shared(4, [](int lane) { return 128 * lane; }).minimum, 1u);
  CHECK_EQ(shared(4, [](int) { return 64; }).units, 1u);             // one word for all
  CHECK_EQ(shared(2, [](int lane) { return 2 * lane; }).units, 1u);  // two lanes a word
  CHECK_EQ(shared(4, [](int lane) { return 4 * lane + 4 * (lane / 4); }).units, 2u);
  CHECK_EQ(shared(8, [](int lane) { return 8 * lane; }).units, 2u);
  CHECK_EQ(shared(16, [](int lane) { return 16 * lane; }).units, 4u);
  CHECK_EQ(shared(16, [](int lane) { return 128 * lane; }).units, 32u);                   // rows without a swizzle
  CHECK_EQ(shared(16, [](int lane) { return 128 * lane + 16 * (lane % 8); }).units, 4u);  // and with one
  CHECK_EQ(shared(
               16, [](int lane) { return 128 * lane; }, 0xff)
               .units,
           8u);
  CHECK_EQ(shared(
               16, [](int lane) { return 128 * lane; }, 0xff)
               .minimum,
           1u);
}

TEST(sectors_of_global_memory) {
  CHECK_EQ(global(4, [](int lane) { return 4096 + 4 * lane; }).units, 4u);
  CHECK_EQ(global(4, [](int lane) { return 4096 + 4 * lane; }).minimum, 4u);
  CHECK_EQ(global(4, [](int lane) { return 4096 + 4 * (31 - lane); }).units, 4u);
  CHECK_EQ(global(4, [](int lane) { return 4100 + 4 * lane; }).units, 5u);  // off a sector's start
  CHECK_EQ(global(4, [](int lane) { return 4096 + 256 * lane; }).units, 32u);
  CHECK_EQ(global(4, [](int lane) { return 4096 + 256 * lane; }).minimum, 4u);
  CHECK_EQ(global(4, [](int) { return 4096; }).units, 1u);
  CHECK_EQ(global(16, [](int lane) { return 4096 + 16 * lane; }).units, 16u);
  CHECK_EQ(global(
               16, [](int lane) { return 4096 + 16 * lane; }, 3)
               .units,
           1u);
}

TEST(instructions_by_class) {
  Runner runner("control");
  const uint64_t in = runner.upload(std::vector<uint32_t>(512, 1)), out = runner.memory.allocate(8);
  CHECK(!runner.launch("reduce", {2}, {256}, 0, in, out));
  CHECK(!runner.launch("reduce", {2}, {256}, 0, in, out));
  const Counters& counters = runner.report.counters.at("reduce");
  CHECK_EQ(counters.launches, 2u);
  CHECK_EQ(counters.of(InstructionClass::Barrier), 2u * 2 * 8 * 9);  // launches, blocks, warps, barriers
  CHECK_EQ(counters.of(InstructionClass::GlobalLoad), 2u * 2 * 8);
  CHECK_EQ(counters.globalLoads.units, 2u * 2 * 256 * 4 / 32);
  CHECK_EQ(counters.globalStores.units, 4u);
  uint64_t total = 0;
  for (const uint64_t count : counters.byClass) total += count;
  CHECK_EQ(total, counters.warpInstructions);
  const std::string json = runner.report.json();
  CHECK(json.starts_with("{\"findings\":[],\"kernels\":{\"reduce\":{\"launches\":2,"));
}

TEST(speed_of_the_interpreter) {
  Runner runner("matmul");
  const int m = 256, n = 256, k = 512;
  const uint64_t a = runner.upload(std::vector<uint16_t>(m * k, 0x3c00)),
                 b = runner.upload(std::vector<uint16_t>(k * n, 0x3c00));
  const uint64_t c = runner.memory.allocate(m * n * 4);
  const std::clock_t start = std::clock();  // of this process, whatever else the machine does
  CHECK(!runner.launch("matmulF16", {n / 64, m / 64}, {128}, 0, a, b, c, n, k));
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  const double executed = static_cast<double>(runner.report.counters.at("matmulF16").warpInstructions);
  // Measured, not asserted: machines differ.
  std::printf("%.2f million warp instructions a second\n", executed / seconds * 1e-6);
  CHECK_EQ(runner.download<float>(c, 1)[0], static_cast<float>(k));
}
