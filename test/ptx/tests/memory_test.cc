// Address spaces, vectors, parameters, atomics and asynchronous copies.
#include <numeric>

#include "runner.h"

using namespace fused_attention::ptx;

TEST(vectors_of_all_widths) {
  Runner runner("memory");
  std::vector<uint32_t> in(128);
  std::iota(in.begin(), in.end(), 1000);
  std::vector<uint16_t> pairs(64);
  std::iota(pairs.begin(), pairs.end(), 65500);
  std::vector<int8_t> bytes(32);
  std::iota(bytes.begin(), bytes.end(), -16);
  const uint64_t out = runner.memory.allocate(512), doubles = runner.memory.allocate(512);
  CHECK(!runner.launch("vectors", {1}, {32}, 0, runner.upload(in), out, runner.upload(pairs), doubles,
                       runner.upload(bytes)));
  const auto result = runner.download<uint32_t>(out, 128);
  const auto wide = runner.download<double>(doubles, 64);
  for (int i = 0; i < 32; ++i) {
    CHECK_EQ(result[4 * i], in[4 * i + 3]);
    CHECK_EQ(result[4 * i + 1], in[4 * i + 2] + pairs[2 * i]);
    CHECK_EQ(result[4 * i + 2], in[4 * i + 1] + pairs[2 * i + 1]);
    CHECK_EQ(result[4 * i + 3], in[4 * i] + static_cast<uint32_t>(static_cast<int>(bytes[i])));
    CHECK_EQ(wide[2 * i], pairs[2 * i]);
    CHECK_EQ(wide[2 * i + 1], -bytes[i]);
  }
}

TEST(address_spaces) {
  Runner runner("memory");
  std::vector<uint32_t> values(32);
  std::iota(values.begin(), values.end(), 500);
  const uint64_t out = runner.upload(values);
  CHECK(!runner.launch("spaces", {1}, {32}, 0, out, 2));
  const auto result = runner.download<uint32_t>(out, 32);
  for (uint32_t i = 0; i < 32; ++i) {
    const uint32_t value = i % 3 == 0 ? 131 - i : i % 3 == 1 ? (i + 2) % 4 + 1 : 500 + i;
    CHECK_EQ(result[i], value + 11 * (i % 4 + 1) + 5);
  }
}

TEST(parameters_of_kernels) {
  Runner runner("memory");
  const struct {
    uint8_t first;
    uint64_t second[3];
    uint16_t third;
  } p = {200, {1, uint64_t{1} << 40, 3}, 40000};
  const uint64_t out = runner.memory.allocate(32);
  CHECK(!runner.launch("parameters", {1}, {1}, 0, uint8_t{7}, p, out, uint16_t{50000}, 1));
  const auto result = runner.download<uint64_t>(out, 4);
  CHECK_EQ(result[0], 7u);
  CHECK_EQ(result[1], 200u);
  CHECK_EQ(result[2], uint64_t{1} << 40);
  CHECK_EQ(result[3], 90000u);
}

TEST(atomics_on_integers) {
  Runner runner("memory");
  const uint64_t words = runner.upload(std::vector<uint32_t>(7, 0)), ints = runner.upload(std::vector<int32_t>{0});
  const uint64_t longs = runner.upload(std::vector<uint64_t>{0});
  CHECK(!runner.launch("atomics", {3}, {64}, 0, words, ints, longs));
  const auto result = runner.download<uint32_t>(words, 7);
  uint32_t exclusive = 0, sum = 0;
  for (uint32_t i = 0; i < 192; ++i) {
    exclusive ^= i;
    sum += i;
  }
  CHECK_EQ(result[0], 192u);
  CHECK_EQ(result[1], 191u);
  CHECK_EQ(result[2], exclusive);
  CHECK_EQ(result[3], 192u % 7);
  CHECK_EQ(result[4], 3 * 192u);
  CHECK_EQ(result[5], sum);
  CHECK_EQ(result[6], 3 * 0xffffffffu);
  CHECK_EQ(runner.download<int32_t>(ints, 1)[0], 50 - 191);
  CHECK_EQ(runner.download<uint64_t>(longs, 1)[0], (uint64_t{192} << 32) + sum);
}

TEST(asynchronous_copies) {
  Runner runner("memory");
  const int present = 20;
  std::vector<uint32_t> in(8 * present + 6 + 8 * 11 + 0);
  std::iota(in.begin(), in.end(), 1);
  in.resize(8 * 32);  // the first half of each row is always read
  const uint64_t out = runner.memory.allocate(128);
  CHECK(!runner.launch("copies", {1}, {32}, 0, runner.upload(in), out, present));
  const auto result = runner.download<uint32_t>(out, 32);
  const auto at = [&](int row, int word) {
    return row < present || (row == present && word < 6) ? in[8 * row + word] : 0;
  };
  for (int i = 0; i < 32; ++i) {
    const uint32_t first = in[8 * i] + (i % 2 ? in[8 * i + 1] : 0), second = in[8 * i + 2] + in[8 * i + 3];
    CHECK_EQ(result[i], first + 3 * second + 5 * at(31 - i, 4) + 7 * at(31 - i, 7));
  }
}

TEST(dynamic_shared_memory) {
  Runner runner("memory");
  const uint64_t out = runner.memory.allocate(256);
  CHECK(!runner.launch("dynamicShared", {2}, {64}, 600, out, 300));
  const auto result = runner.download<uint32_t>(out, 64);
  for (uint32_t i = 0; i < 64; ++i) CHECK_EQ(result[i], static_cast<uint16_t>((299 - i) * (299 - i)) + i % 3);
}
