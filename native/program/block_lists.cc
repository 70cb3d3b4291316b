#include "block_lists.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace fused_attention {

namespace {

constexpr int64_t kMostLists = 64, kMostLines = INT32_MAX - 1;

[[noreturn]] void refuse(const std::string& name, const char* expected) {
  throw CodedError("ERR_INVALID_ARG_VALUE", name, expected, "others");
}

std::vector<int32_t> integersOf(const Buffer& buffer, const std::string& name) {
  if (buffer.bytes % sizeof(int32_t) != 0) refuse(name, "an Int32Array");
  std::vector<int32_t> values(buffer.bytes / sizeof(int32_t));
  if (!values.empty()) std::memcpy(values.data(), buffer.data, buffer.bytes);
  return values;
}

void check(const BlockLists& list, const std::string& name) {
  const std::vector<int32_t>& starts = list.starts;
  if (int64_t(starts.size()) != list.lines() + 1 || starts.front() != 0 ||
      starts.back() != int64_t(list.blocks.size())) {
    refuse(name, "a start for each line, and the end");
  }
  for (size_t line = 0; line + 1 < starts.size(); ++line) {
    if (starts[line + 1] < starts[line]) refuse(name, "starts that never fall");
  }
  for (int64_t line = 0; line < list.lines(); ++line) {
    int64_t before = -1;
    for (const int32_t block : list.line(line)) {
      if (block <= before || block >= list.columns) refuse(name, "ascending blocks of the layout in every line");
      before = block;
    }
  }
}

}  // namespace

/// Blocks ascend, so the stretch reaches as far as they count on: twice as far each time, then halfway back.
void BlockStretches::lengthen() {
  const int64_t left = end_ - at_;
  const auto countOn = [&](int64_t more) { return at_[more - 1] == stretch_.end + more - 1; };
  int64_t within = 1, beyond = 2;
  while (beyond <= left && countOn(beyond)) within = beyond, beyond *= 2;
  beyond = std::min(beyond, left + 1);
  while (beyond - within > 1) {
    const int64_t middle = (within + beyond) / 2;
    (countOn(middle) ? within : beyond) = middle;
  }
  stretch_.end += within;
  at_ += within;
}

std::vector<BlockLists> readBlockLists(NumberReader& numbers, std::span<const Buffer> buffers) {
  const int64_t count = numbers.integer("program.lists", 1, kMostLists);
  if (int64_t(buffers.size()) != 2 * count) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "program.lists", std::to_string(2 * count) + " buffers",
                     std::to_string(buffers.size()));
  }
  std::vector<BlockLists> lists(static_cast<size_t>(count));
  for (size_t n = 0; n < lists.size(); ++n) {
    const std::string name = "program.lists[" + std::to_string(n) + "]";
    BlockLists& list = lists[n];
    list.sizeQ = numbers.integer(name, 1, INT32_MAX);
    list.sizeK = numbers.integer(name, 1, INT32_MAX);
    list.rows = numbers.integer(name, 0, kMostLines);
    list.columns = numbers.integer(name, 0, INT32_MAX);
    list.batches = numbers.integer(name, 1, kMostLines);
    list.heads = numbers.integer(name, 1, kMostLines / list.batches);
    list.byRow = numbers.integer(name, 0, 1) == 1;
    if (list.rows > kMostLines / (list.batches * list.heads)) refuse(name, "fewer lines");
    list.starts = integersOf(buffers[2 * n], name);
    list.blocks = integersOf(buffers[2 * n + 1], name);
    check(list, name);
  }
  return lists;
}

}  // namespace fused_attention
