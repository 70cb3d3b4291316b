// Which elements of a buffer a strided block touches, and whether byte ranges are in bounds and apart.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "error.h"
#include "problem_codec.h"

namespace fused_attention {

struct Axis {
  int64_t count = 1, stride = 0;
};

/// A block of elements: axes around `width` contiguous ones.
struct Block {
  int64_t offset = 0;
  std::array<Axis, 4> axes;
  int64_t width = 1;

  bool empty() const;
};

/// 0 where any factor is 0. Throws CodedError naming `argument` where the product leaves int64.
int64_t product(std::initializer_list<int64_t> factors, ArgumentName argument);

/// Half-open range of elements. Throws CodedError naming `argument` where it begins below 0 or leaves int64.
struct Extent {
  int64_t begin = 0, end = 0;
};
Extent extentOf(const Block& block, ArgumentName argument);

/// Throws ERR_ALIASING unless every element has an address of its own. Layouts whose axes interleave are refused too.
void requireDistinct(const Block& block, ArgumentName argument);

/// Checks the block against its buffer (size and alignment) and notes the bytes it touches. An empty block asks for
/// nothing; its buffer may be null.
void requireInside(const Block& block, const Buffer& buffer, int64_t elementBytes, bool written, int slot,
                   std::vector<MemoryRange>& ranges);

/// Throws ERR_ALIASING where a written range overlaps another.
void requireApart(const std::vector<MemoryRange>& ranges);

}  // namespace fused_attention
