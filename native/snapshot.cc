#include "snapshot.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "error.h"

namespace fused_attention {

namespace {
constexpr int kOutputSlot = 3;
}

void Snapshot::take(const std::vector<MemoryRange>& ranges, const std::vector<bool>& copied,
                    std::vector<Buffer>& buffers) {
  for (const MemoryRange& range : ranges) {
    if (!copied[static_cast<size_t>(range.slot)]) continue;
    Buffer& buffer = buffers[static_cast<size_t>(range.slot)];
    const char* base = static_cast<const char*>(buffer.data);
    Copy& copy = copies_.emplace_back();
    copy.slot = range.slot;
    copy.written = range.written;
    copy.begin = static_cast<size_t>(range.begin - base);
    copy.end = static_cast<size_t>(range.end - base);
    copy.data = std::make_unique_for_overwrite<char[]>(range.bytes());
    std::memcpy(copy.data.get(), range.begin, range.bytes());
    // The address where the buffer would start if all of it had been copied; nothing before `begin` is touched.
    buffer.data = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(copy.data.get()) - copy.begin);
  }
}

std::vector<int> Snapshot::written() const {
  std::vector<int> slots;
  for (const Copy& copy : copies_) {
    if (copy.written) slots.push_back(copy.slot);
  }
  return slots;
}

const Snapshot::Copy& Snapshot::checked(int slot, const Buffer& buffer) const {
  const Copy& copy = *std::find_if(copies_.begin(), copies_.end(), [&](const Copy& c) { return c.slot == slot; });
  if (buffer.data == nullptr || buffer.bytes < copy.end) {
    throw CodedError("ERR_INVALID_ARG_VALUE", bufferName(slot), "memory that stays attached until the call settles",
                     "a buffer detached or shrunk in flight");
  }
  return copy;
}

void Snapshot::writeBack(int slot, const Buffer& buffer, const Problem& problem) const {
  const Copy& copy = checked(slot, buffer);
  char* const to = static_cast<char*>(buffer.data) + copy.begin;
  const Layout& layout = problem.output;
  const bool ragged = problem.lengths == Lengths::cumulative;
  const int64_t batches = ragged ? 1 : problem.batch;
  const int64_t size = sizeOf(layout.dtype);
  const size_t rowBytes = static_cast<size_t>(problem.dimV * size);
  const int64_t rows = batches * problem.headsQ * problem.queries;
  if (slot != kOutputSlot || copy.end - copy.begin == static_cast<size_t>(rows) * rowBytes) {
    std::memcpy(to, copy.data.get(), copy.end - copy.begin);
    return;
  }
  for (int64_t b = 0; b < batches; ++b) {
    for (int64_t h = 0; h < problem.headsQ; ++h) {
      for (int64_t row = 0; row < problem.queries; ++row) {
        const int64_t element = layout.offset + b * layout.batch + h * layout.head + row * layout.row;
        const size_t at = static_cast<size_t>(element * size) - copy.begin;
        std::memcpy(to + at, copy.data.get() + at, rowBytes);
      }
    }
  }
}

void Snapshot::writeAllBack(int slot, const Buffer& buffer) const {
  const Copy& copy = checked(slot, buffer);
  std::memcpy(static_cast<char*>(buffer.data) + copy.begin, copy.data.get(), copy.end - copy.begin);
}

}  // namespace fused_attention
