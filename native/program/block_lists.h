// Lists of blocks of keys that go with a mask program: a pair is visible where the program and every list say so. They
// stay lists, as there may be far more pairs than memory has bits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "../number_reader.h"
#include "../problem_codec.h"
#include "../range.h"

namespace fused_attention {

/// Queries in blocks of sizeQ, keys in blocks of sizeK; block row r of a head sees the blocks of its line, ascending.
struct BlockLists {
  int64_t sizeQ = 1, sizeK = 1;
  int64_t rows = 0, columns = 0;   // blocks
  int64_t batches = 1, heads = 1;  // 1: the same for all
  bool byRow = false;              // blocks of queries go by rows of the sequence, not by positions
  std::vector<int32_t> starts;     // [batches][heads][rows] lines, and the end
  std::vector<int32_t> blocks;

  int64_t lines() const { return batches * heads * rows; }
  int64_t lineOf(int64_t batch, int64_t head, int64_t row) const {
    return ((batches == 1 ? 0 : batch) * heads + (heads == 1 ? 0 : head)) * rows + row;
  }
  std::span<const int32_t> line(int64_t index) const {
    return {blocks.data() + starts[size_t(index)], blocks.data() + starts[size_t(index) + 1]};
  }
};

/// Stretches of consecutive blocks of a line, one after the other.
class BlockStretches {
 public:
  explicit BlockStretches(std::span<const int32_t> line) : at_(line.data()), end_(at_ + line.size()) { next(); }

  bool done() const { return stretch_.empty(); }
  Range stretch() const { return stretch_; }
  void next() {
    stretch_ = {};
    if (at_ == end_) return;
    const int32_t first = *at_++;
    stretch_ = {first, first + int64_t{1}};
    if (at_ != end_ && *at_ == stretch_.end) lengthen();
  }
  /// Leaves out the blocks before `block`, which is in the stretch or its end.
  void skipTo(int64_t block) {
    stretch_.begin = block;
    if (stretch_.empty()) next();
  }

 private:
  void lengthen();

  const int32_t *at_, *end_;  // of what follows the stretch
  Range stretch_;
};

/// Their number, and of each: sizeQ, sizeK, rows, columns, batches, heads, byRow. Its buffers, of Int32Arrays, are its
/// starts and its blocks. Everything is copied and checked. Throws CodedError.
std::vector<BlockLists> readBlockLists(NumberReader& numbers, std::span<const Buffer> buffers);

}  // namespace fused_attention
