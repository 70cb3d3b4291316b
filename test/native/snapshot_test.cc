#include "snapshot.h"

#include <numeric>
#include <string>
#include <vector>

#include "error.h"
#include "test.h"

using namespace fused_attention;

namespace {

/// [1, 2, 3, 4] float32 whose heads lie 40 and rows 8 elements apart, starting at element 2.
Problem strided() {
  Problem problem;
  problem.batch = 1, problem.headsQ = 2, problem.queries = 3, problem.dimV = 4;
  problem.output = {Dtype::float32, 2, 0, 40, 8};
  return problem;
}

Buffer bufferOf(std::vector<float>& values) { return {values.data(), values.size() * sizeof(float)}; }

}  // namespace

TEST(snapshot_reads_copies_and_writes_back_just_the_result) {
  std::vector<float> input(16), output(64);
  std::iota(input.begin(), input.end(), 1.f);
  std::iota(output.begin(), output.end(), 100.f);
  std::vector<Buffer> buffers = {bufferOf(input), {}, {}, bufferOf(output)};
  const auto range = [&](int slot, const std::vector<float>& values, size_t begin, size_t end) {
    const char* base = reinterpret_cast<const char*>(values.data());
    return MemoryRange{base + begin * 4, base + end * 4, slot == 3, slot};
  };
  Snapshot snapshot;
  snapshot.take({range(0, input, 3, 16), range(3, output, 2, 2 + 40 + 16 + 4)}, {true, false, false, true}, buffers);
  CHECK(snapshot.written() == std::vector<int>{3});

  const float* read = static_cast<const float*>(buffers[0].data);
  float* written = static_cast<float*>(buffers[3].data);
  CHECK(read != input.data() && written != output.data());
  input.assign(16, -1.f);  // what happens to the original no longer counts
  for (int i = 3; i < 16; ++i) CHECK_EQ(read[i], float(i + 1));
  for (int i = 2; i < 62; ++i) CHECK_EQ(written[i], 100.f + float(i));
  for (int i = 2; i < 62; ++i) written[i] = float(-i);
  output[7] = 7777;  // between rows: not the call's

  std::vector<float> moved = output;
  snapshot.writeBack(3, bufferOf(moved), strided());
  for (int i = 0; i < 64; ++i) {
    bool inResult = false;
    for (const int start : {2, 10, 18, 42, 50, 58}) inResult |= i >= start && i < start + 4;
    CHECK_EQ(moved[size_t(i)], inResult ? float(-i) : output[size_t(i)]);
  }
}

TEST(snapshot_refuses_memory_that_went_away) {
  std::vector<float> output(64);
  std::vector<Buffer> buffers = {{}, {}, {}, bufferOf(output)};
  const char* base = reinterpret_cast<const char*>(output.data());
  Snapshot snapshot;
  snapshot.take({{base + 8, base + 248, true, 3}}, {false, false, false, true}, buffers);
  const auto refused = [&](Buffer buffer) {
    try {
      snapshot.writeBack(3, buffer, strided());
      return std::string();
    } catch (const CodedError& error) {
      return error.code + " " + error.argument;
    }
  };
  CHECK_EQ(refused({}), "ERR_INVALID_ARG_VALUE buffers[3]");
  CHECK_EQ(refused({output.data(), 247}), "ERR_INVALID_ARG_VALUE buffers[3]");
  CHECK_EQ(refused({output.data(), 248}), "");
}
