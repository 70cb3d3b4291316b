// Memory of devices that tensors are over, and copies between it and the host's: implemented in cuda/.
#pragma once

#include <memory>
#include <vector>

#include "backend.h"
#include "problem_codec.h"

namespace fused_attention {

/// Given back when the last share of it goes, on any thread: by then nothing may use it any more.
class TensorMemory {
 public:
  virtual ~TensorMemory() = default;
  virtual Buffer buffer() const = 0;
};

/// Makes a device ready, which takes a while the first time. Throws CodedError, ERR_NO_DEVICE where there is none.
void openDevice(int device);

/// Of a device that is ready; none where there are no bytes. Throws CodedError, ERR_OUT_OF_MEMORY with the sizes.
std::shared_ptr<const TensorMemory> allocateOn(int device, size_t bytes);

/// A copy, one side of which at least is memory of a device. The numbers: version (1), bytes, first byte in the buffer
/// `from`. The buffers: from, to; that is written from its beginning.
struct TransferCall {
  Buffer from, to;  // the bytes to copy alone
  std::vector<MemoryRange> ranges;
};
TransferCall decodeTransfer(const double* numbers, size_t count, const std::vector<Buffer>& buffers);

/// Blocks until done. Throws CodedError or Cancelled.
void transfer(const TransferCall& call, const CancelFlag& cancel);

}  // namespace fused_attention
