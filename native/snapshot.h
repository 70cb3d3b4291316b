// Copies of a call's memory, for buffers that JavaScript could take away while the call is in flight.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "device_memory.h"
#include "problem_codec.h"

namespace fused_attention {

class Snapshot {
 public:
  /// Copies the ranges of the slots marked in `copied`, results included (elements that a call skips keep their value),
  /// and turns `buffers` to the copies: the same numbers decode against them.
  void take(const std::vector<MemoryRange>& ranges, const std::vector<bool>& copied, std::vector<Buffer>& buffers);

  /// Slots whose copy is to be written back.
  std::vector<int> written() const;

  /// Writes a result to the buffer that its slot has now; just the elements of the result. Throws CodedError where the
  /// buffer was detached or has become too small.
  void writeBack(int slot, const Buffer& buffer, const Problem& problem) const;
  void writeBack(int slot, const Buffer& buffer, const MergeCall&) const { writeAllBack(slot, buffer); }
  void writeBack(int slot, const Buffer& buffer, const TransferCall&) const { writeAllBack(slot, buffer); }

 private:
  struct Copy {
    int slot = 0;
    bool written = false;
    size_t begin = 0, end = 0;  // bytes from the start of the buffer
    std::unique_ptr<char[]> data;
  };
  const Copy& checked(int slot, const Buffer& buffer) const;
  void writeAllBack(int slot, const Buffer& buffer) const;

  std::vector<Copy> copies_;
};

}  // namespace fused_attention
