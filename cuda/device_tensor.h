// Tensors of host memory on a device: with the strides that they have where rows begin at multiples of 16 bytes and
// little lies between them, else row after row. Half types.
#pragma once

#include <cstdint>
#include <vector>

#include "../native/extents.h"
#include "../native/problem.h"
#include "kernels/forward_parameters.h"
#include "stream.h"

namespace fused_attention::cuda {

/// [B, H, S, D] in host memory.
struct HostTensor {
  Layout layout;
  int64_t batch = 0, heads = 0, rows = 0, dim = 0;
};

/// How a tensor lies in device memory.
class DeviceLayout {
 public:
  /// `written`: there must be nothing between elements, as all of it is copied back.
  DeviceLayout(const HostTensor& tensor, bool written);

  /// The same strides as in host memory, so that one copy takes all.
  bool asGiven() const { return asGiven_; }
  const RowStrides& strides() const { return strides_; }
  size_t bytes() const { return size_t(elements_) * sizeof(uint16_t); }
  /// Element (0, 0, 0, 0) from the start, and the start in the host's buffer; in elements.
  int64_t origin() const { return origin_; }
  int64_t begin() const { return begin_; }

  /// Calls copy(host element, device element) for each row that there is one of, where rows are apart.
  template <class Copy>
  void forRows(const HostTensor& tensor, Copy copy) const {
    const auto once = [](int64_t stride, int64_t count) { return stride == 0 ? 1 : count; };
    for (int64_t b = 0; b < once(strides_.batch, tensor.batch); ++b) {
      for (int64_t h = 0; h < once(strides_.head, tensor.heads); ++h) {
        for (int64_t r = 0; r < once(strides_.row, tensor.rows); ++r) {
          const Layout& at = tensor.layout;
          copy(at.offset + b * at.batch + h * at.head + r * at.row,
               b * strides_.batch + h * strides_.head + r * strides_.row);
        }
      }
    }
  }

 private:
  bool asGiven_ = false;
  RowStrides strides_{};
  int64_t elements_ = 0, origin_ = 0, begin_ = 0;
};

class DeviceInput {
 public:
  /// Copies it in.
  DeviceInput(Stream& stream, const HostTensor& tensor, const void* data);

  const uint16_t* origin() const;
  const RowStrides& strides() const { return layout_.strides(); }

 private:
  DeviceLayout layout_;
  std::vector<uint16_t> staging_;
  DeviceMemory memory_;
};

class DeviceOutput {
 public:
  DeviceOutput(Stream& stream, const HostTensor& tensor, void* data);

  uint16_t* origin() const;
  const RowStrides& strides() const { return layout_.strides(); }
  /// Gives the stream the copy back.
  void copyOut();
  /// Puts every row in its place; after the stream was waited for.
  void finish();

 private:
  Stream& stream_;
  const HostTensor tensor_;
  uint16_t* const data_;
  DeviceLayout layout_;
  std::vector<uint16_t> staging_;
  DeviceMemory memory_;
};

}  // namespace fused_attention::cuda
