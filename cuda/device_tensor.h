// Tensors of a call on a device: with the strides that they have where rows begin at multiples of 16 bytes and little
// lies between them, else row after row. Those that lie on the device are used where they are if they can be.
#pragma once

#include <cstdint>
#include <vector>

#include "../native/extents.h"
#include "../native/problem.h"
#include "kernels/forward_parameters.h"
#include "stream.h"

namespace fused_attention::cuda {

/// [B, H, S, D], in host memory or on the device.
struct CallTensor {
  Layout layout;
  int64_t batch = 0, heads = 0, rows = 0, dim = 0;
  bool onDevice = false;
};

/// How a tensor lies where kernels see it.
class DeviceLayout {
 public:
  /// `written`: there must be nothing between elements, as all of it is copied back.
  DeviceLayout(const CallTensor& tensor, const void* data, bool written);

  /// Where it is: it has no memory of its own.
  bool inPlace() const { return inPlace_; }
  /// The same strides as given, so that one copy takes all.
  bool asGiven() const { return asGiven_; }
  const RowStrides& strides() const { return strides_; }
  /// Of so many elements.
  int64_t bytesOf(int64_t elements) const { return elements * elementBytes_; }
  size_t bytes() const { return size_t(bytesOf(elements_)); }
  /// Element (0, 0, 0, 0) from the start, and the start in the buffer given; in bytes.
  int64_t origin() const { return bytesOf(origin_); }
  int64_t begin() const { return bytesOf(begin_); }

  /// Calls copy(first byte given, first byte here, rows) for the rows of each head, where heads are apart.
  template <class Copy>
  void forHeads(const CallTensor& tensor, Copy copy) const {
    const auto once = [](int64_t stride, int64_t count) { return stride == 0 ? 1 : count; };
    const Layout& at = tensor.layout;
    for (int64_t b = 0; b < once(strides_.batch, tensor.batch); ++b) {
      for (int64_t h = 0; h < once(strides_.head, tensor.heads); ++h) {
        copy(bytesOf(at.offset + b * at.batch + h * at.head), bytesOf(b * strides_.batch + h * strides_.head),
             once(strides_.row, tensor.rows));
      }
    }
  }
  /// Calls copy(byte given, byte here) for each row.
  template <class Copy>
  void forRows(const CallTensor& tensor, Copy copy) const {
    forHeads(tensor, [&](int64_t given, int64_t here, int64_t rows) {
      for (int64_t r = 0; r < rows; ++r) copy(given + bytesOf(r * tensor.layout.row), here + bytesOf(r * strides_.row));
    });
  }

 private:
  int64_t elementBytes_ = 0;
  bool inPlace_ = false, asGiven_ = false;
  RowStrides strides_{};
  int64_t elements_ = 0, origin_ = 0, begin_ = 0;
};

class DeviceInput {
 public:
  /// Copies it where it has to be.
  DeviceInput(Stream& stream, const CallTensor& tensor, const void* data);

  const void* origin() const;
  const RowStrides& strides() const { return layout_.strides(); }

 private:
  const unsigned char* const data_;
  DeviceLayout layout_;
  std::vector<unsigned char> staging_;
  DeviceMemory memory_;
};

class DeviceOutput {
 public:
  DeviceOutput(Stream& stream, const CallTensor& tensor, void* data);

  void* origin() const;
  const RowStrides& strides() const { return layout_.strides(); }
  /// Gives the stream the copy back.
  void copyOut();
  /// Puts every row in its place in host memory; after the stream was waited for.
  void finish();

 private:
  Stream& stream_;
  const CallTensor tensor_;
  unsigned char* const data_;
  DeviceLayout layout_;
  std::vector<unsigned char> staging_;
  DeviceMemory memory_;
};

}  // namespace fused_attention::cuda
