#include "device_memory.h"
#include "error.h"
#include "extents.h"
#include "number_reader.h"

namespace fused_attention {

namespace {

enum Slot { from, to };

}  // namespace

TransferCall decodeTransfer(const double* data, size_t count, const std::vector<Buffer>& buffers) {
  NumberReader numbers(data, count);
  numbers.integer("call.version", kCodecVersion, kCodecVersion);
  const int64_t bytes = numbers.integer("tensor", 0, kMostInteger);
  const int64_t first = numbers.integer("tensor", 0, kMostInteger);
  numbers.finish();
  if (buffers.size() != 2) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "call.buffers", "2 buffers", std::to_string(buffers.size()));
  }
  TransferCall call;
  const auto part = [&](Slot slot, int64_t offset) {
    const Buffer& buffer = buffers[slot];
    requireInside({offset, {}, bytes}, buffer, 1, slot == to, slot, call.ranges);
    return Buffer{static_cast<char*>(buffer.data) + offset, static_cast<size_t>(bytes), buffer.device};
  };
  call.from = part(from, first);
  call.to = part(to, 0);
  if (call.from.device == Buffer::kHost && call.to.device == Buffer::kHost) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "call.buffers", "memory of a device", "none");
  }
  requireApart(call.ranges);
  return call;
}

}  // namespace fused_attention
