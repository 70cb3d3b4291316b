// Calls and copies over memory of devices: who may lie there. Nothing here looks at any of it.
#include <functional>
#include <string>
#include <vector>

#include "device_memory.h"
#include "error.h"
#include "problem_codec.h"
#include "test.h"

using namespace fused_attention;

namespace {

constexpr double kOnCuda = 512, kLse = 1, kSinks = 16;

std::vector<double> numbersOf(double flags, std::vector<double> more = {}) {
  std::vector<double> all = {1, 0, 1, 1, 1, 1, 4, 4, 8, 8, 1, 0, 0, 0, flags};
  for (int tensor = 0; tensor < 4; ++tensor) all.insert(all.end(), {1, 0, 32, 32, 8});
  all.push_back(0);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

/// Query to partialSum, sinks: at addresses that nobody may look at.
std::vector<Buffer> buffersOn(std::vector<int> devices) {
  std::vector<Buffer> buffers;
  for (const int device : devices) {
    buffers.push_back({reinterpret_cast<void*>((buffers.size() + 1) << 32), 64, device});
  }
  return buffers;
}

std::string codeOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const CodedError& error) {
    return error.code + " " + error.argument;
  }
  return "none";
}

std::string refusal(const std::vector<double>& numbers, const std::vector<Buffer>& buffers) {
  return codeOf([&] { decodeCall(numbers.data(), numbers.size(), buffers); });
}

}  // namespace

TEST(codec_tensors_of_a_call_are_together) {
  const auto first = numbersOf(kOnCuda + kLse, {0}), second = numbersOf(kOnCuda + kLse, {1});
  const Call there = decodeCall(second.data(), second.size(), buffersOn({1, 1, 1, 1, 1}));
  CHECK(there.pointers.onDevice && there.problem.ordinal == 1 && there.problem.device == DeviceKind::cuda);
  CHECK_EQ(there.ranges.size(), size_t{5});
  const Call copied = decodeCall(second.data(), second.size(), buffersOn({-1, -1, -1, -1, -1}));
  CHECK(!copied.pointers.onDevice && copied.problem.ordinal == 1);

  CHECK_EQ(refusal(first, buffersOn({1, 1, 1, 1, 1})), "ERR_INVALID_ARG_VALUE buffers[0]");
  CHECK_EQ(refusal(first, buffersOn({0, 0, 0, 0, -1})), "ERR_INVALID_ARG_VALUE buffers[4]");
  CHECK_EQ(refusal(first, buffersOn({0, -1, 0, 0, 0})), "ERR_INVALID_ARG_VALUE buffers[1]");
  CHECK_EQ(refusal(first, buffersOn({-1, -1, -1, 0, -1})), "ERR_INVALID_ARG_VALUE buffers[3]");
  CHECK_EQ(refusal(first, buffersOn({0, 0, 1, 0, 0})), "ERR_INVALID_ARG_VALUE buffers[2]");
  CHECK_EQ(refusal(numbersOf(kLse), buffersOn({0, 0, 0, 0, 0})), "ERR_INVALID_ARG_VALUE buffers[0]");
  CHECK_EQ(refusal(numbersOf(kLse), buffersOn({-1, -1, -1, -1, 0})), "ERR_INVALID_ARG_VALUE buffers[4]");
  CHECK_EQ(refusal(numbersOf(kOnCuda + kLse), buffersOn({0, 0, 0, 0, 0})), "ERR_INVALID_ARG_VALUE call");
  CHECK_EQ(refusal(numbersOf(kOnCuda + kLse, {-1}), buffersOn({0, 0, 0, 0, 0})), "ERR_OUT_OF_RANGE options.device");
}

TEST(codec_what_is_read_here_lies_in_host_memory) {
  auto buffers = buffersOn({0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK_EQ(refusal(numbersOf(kOnCuda + kSinks, {0}), buffers), "ERR_INVALID_ARG_VALUE buffers[9]");
  const auto explained = numbersOf(kOnCuda, {0});
  buffers.assign(13, {});
  buffers[11] = {reinterpret_cast<void*>(uintptr_t{1} << 32), 64, 0};
  CHECK_EQ(codeOf([&] { decodeForExplain(explained.data(), explained.size(), buffers); }),
           "ERR_INVALID_ARG_VALUE buffers[11]");

  const std::vector<double> merge = {1, 1, 1, 4, 1, 0, 0, 1, 1};
  CHECK_EQ(codeOf([&] {
             decodeMerge(merge.data(), merge.size(), buffersOn({-1, -1, -1, -1, 0, -1}));
           }),
           "ERR_UNSUPPORTED buffers[4]");
}

TEST(codec_transfers) {
  const auto with = [](std::vector<double> numbers, const std::vector<Buffer>& buffers) {
    return codeOf([&] { decodeTransfer(numbers.data(), numbers.size(), buffers); });
  };
  const double numbers[] = {1, 40, 24};
  const TransferCall call = decodeTransfer(numbers, 3, buffersOn({-1, 1}));
  CHECK(call.from.data == reinterpret_cast<void*>((uintptr_t{1} << 32) + 24) && call.from.bytes == 40);
  CHECK(call.to.data == reinterpret_cast<void*>(uintptr_t{2} << 32) && call.to.bytes == 40);
  CHECK(call.from.device == Buffer::kHost && call.to.device == 1);
  CHECK(call.ranges.size() == 2 && !call.ranges[0].written && call.ranges[1].written);

  CHECK_EQ(with({1, 41, 24}, buffersOn({-1, 1})), "ERR_SHAPE_MISMATCH buffers[0]");
  CHECK_EQ(with({1, 65, 0}, buffersOn({-1, 1})), "ERR_SHAPE_MISMATCH buffers[0]");
  CHECK_EQ(with({1, 64, 0}, {buffersOn({-1})[0], {nullptr, 0, 1}}), "ERR_SHAPE_MISMATCH buffers[1]");
  CHECK_EQ(with({1, 64, 0}, buffersOn({-1, -1})), "ERR_INVALID_ARG_VALUE call.buffers");
  CHECK_EQ(with({1, 64, 0}, buffersOn({0})), "ERR_INVALID_ARG_VALUE call.buffers");
  CHECK_EQ(with({2, 64, 0}, buffersOn({0, 1})), "ERR_OUT_OF_RANGE call.version");
  CHECK_EQ(with({1, -1, 0}, buffersOn({0, 1})), "ERR_OUT_OF_RANGE tensor");
  CHECK_EQ(with({1, 64, 0}, {buffersOn({0})[0], buffersOn({0})[0]}), "ERR_ALIASING buffers[1]");
  CHECK_EQ(with({1, 0, 0}, buffersOn({0, 1})), "none");
}
