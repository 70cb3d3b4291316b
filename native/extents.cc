#include "extents.h"

#include <algorithm>

#include "error.h"

namespace fused_attention {

namespace {

[[noreturn]] void beyondAddresses(ArgumentName argument) {
  throw CodedError("ERR_OUT_OF_RANGE", argument, "strides inside its buffer", "strides beyond any address");
}

int64_t multiply(int64_t a, int64_t b, ArgumentName argument) {
  int64_t product;
  if (__builtin_mul_overflow(a, b, &product)) beyondAddresses(argument);
  return product;
}

int64_t add(int64_t a, int64_t b, ArgumentName argument) {
  int64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) beyondAddresses(argument);
  return sum;
}

}  // namespace

bool Block::empty() const {
  return width == 0 || std::any_of(axes.begin(), axes.end(), [](const Axis& axis) { return axis.count == 0; });
}

int64_t product(std::initializer_list<int64_t> factors, ArgumentName argument) {
  if (std::find(factors.begin(), factors.end(), 0) != factors.end()) return 0;
  int64_t all = 1;
  for (const int64_t factor : factors) all = multiply(all, factor, argument);
  return all;
}

Extent extentOf(const Block& block, ArgumentName argument) {
  if (block.empty()) return {block.offset, block.offset};
  Extent extent{block.offset, block.offset};
  for (const Axis& axis : block.axes) {
    const int64_t span = multiply(axis.stride, axis.count - 1, argument);
    int64_t& end = span < 0 ? extent.begin : extent.end;
    end = add(end, span, argument);
  }
  extent.end = add(extent.end, block.width, argument);
  if (extent.begin < 0) {
    throw CodedError("ERR_OUT_OF_RANGE", argument, "strides inside its buffer",
                     "an element at " + std::to_string(extent.begin));
  }
  return extent;
}

void requireDistinct(const Block& block, ArgumentName argument) {
  if (block.empty()) return;
  std::array<Axis, 4> axes = block.axes;
  for (Axis& axis : axes) axis.stride = std::abs(axis.stride);
  std::sort(axes.begin(), axes.end(), [](const Axis& a, const Axis& b) { return a.stride < b.stride; });
  int64_t inner = block.width;  // elements spanned by the axes so far
  for (const Axis& axis : axes) {
    if (axis.count == 1) continue;
    if (axis.stride < inner) {
      throw CodedError("ERR_ALIASING", argument, "memory with a place for every element",
                       "strides that put several elements in one place");
    }
    inner = add(multiply(axis.stride, axis.count - 1, argument), inner, argument);
  }
}

void requireInside(const Block& block, const Buffer& buffer, int64_t elementBytes, bool written, int slot,
                   std::vector<MemoryRange>& ranges) {
  const ArgumentName argument = ArgumentName::buffer(slot);
  const Extent extent = extentOf(block, argument);
  if (block.empty()) return;
  const int64_t endBytes = multiply(extent.end, elementBytes, argument);
  if (buffer.data == nullptr || static_cast<uint64_t>(endBytes) > buffer.bytes) {
    throw CodedError("ERR_SHAPE_MISMATCH", argument, "a buffer of at least " + std::to_string(endBytes) + " bytes",
                     buffer.data == nullptr ? "none, or a detached one" : std::to_string(buffer.bytes) + " bytes");
  }
  if (reinterpret_cast<uintptr_t>(buffer.data) % static_cast<uintptr_t>(elementBytes) != 0) {
    throw CodedError("ERR_INVALID_ARG_VALUE", argument,
                     "an address that is a multiple of " + std::to_string(elementBytes) + " bytes", "another");
  }
  const char* base = static_cast<const char*>(buffer.data);
  ranges.push_back({base + extent.begin * elementBytes, base + endBytes, written, slot});
}

void requireApart(const std::vector<MemoryRange>& ranges) {
  for (const MemoryRange& written : ranges) {
    if (!written.written) continue;
    for (const MemoryRange& other : ranges) {
      if (other.slot == written.slot || written.end <= other.begin || other.end <= written.begin) continue;
      throw CodedError("ERR_ALIASING", bufferName(written.slot), "memory apart from that of " + bufferName(other.slot),
                       "overlapping memory");
    }
  }
}

}  // namespace fused_attention
