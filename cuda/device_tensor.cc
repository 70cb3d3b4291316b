#include "device_tensor.h"

#include <cstring>

namespace fused_attention::cuda {

namespace {

constexpr int64_t kPieceBytes = 16;  // that kernels read and write at a time

CUdeviceptr addressOf(const unsigned char* byte) { return reinterpret_cast<CUdeviceptr>(byte); }

}  // namespace

DeviceLayout::DeviceLayout(const CallTensor& tensor, const void* data, bool written)
    : elementBytes_(sizeOf(tensor.layout.dtype)) {
  const Layout& from = tensor.layout;
  const int64_t piece = kPieceBytes / elementBytes_;
  const Block block{
      from.offset, {{{tensor.heads, from.head}, {tensor.rows, from.row}, {tensor.batch, from.batch}}}, tensor.dim};
  if (block.empty()) return;
  // Where there is one of something, how far the next one would be says nothing.
  const auto strideOf = [](int64_t stride, int64_t count) { return count == 1 ? 0 : stride; };
  strides_ = {strideOf(from.batch, tensor.batch), strideOf(from.head, tensor.heads), strideOf(from.row, tensor.rows)};
  const Extent extent = extentOf(block, "call");
  const bool aligned = strides_.batch % piece == 0 && strides_.head % piece == 0 && strides_.row % piece == 0;
  const bool whole = !written || tensor.dim % piece == 0;  // kernels write pieces
  const auto first = reinterpret_cast<uintptr_t>(data) + uintptr_t(bytesOf(from.offset));
  inPlace_ = tensor.onDevice && aligned && whole && first % kPieceBytes == 0;
  if (inPlace_) {
    origin_ = from.offset;
    return;
  }
  const int64_t count = product({tensor.batch, tensor.heads, tensor.rows, tensor.dim}, "call");
  const int64_t size = extent.end - extent.begin;
  asGiven_ = aligned && whole && (written ? size == count : size <= 2 * count);
  if (asGiven_) {
    elements_ = size;
    origin_ = from.offset - extent.begin;
    begin_ = extent.begin;
    return;
  }
  const auto next = [&](int64_t& stride, int64_t count) {
    if (stride == 0) return;
    stride = elements_;
    elements_ = product({elements_, count}, "call");
  };
  elements_ = (tensor.dim + piece - 1) / piece * piece;
  next(strides_.row, tensor.rows);
  next(strides_.head, tensor.heads);
  next(strides_.batch, tensor.batch);
}

DeviceInput::DeviceInput(Stream& stream, const CallTensor& tensor, const void* data)
    : data_(static_cast<const unsigned char*>(data)), layout_(tensor, data, false), memory_(stream, layout_.bytes()) {
  if (layout_.bytes() == 0) return;
  const unsigned char* const first = data_ + layout_.begin();
  if (layout_.asGiven()) {
    if (tensor.onDevice)
      stream.copyOn(memory_.address(), addressOf(first), layout_.bytes());
    else
      stream.copyIn(memory_.address(), first, layout_.bytes());
    return;
  }
  if (tensor.onDevice) {
    layout_.forHeads(tensor, [&](int64_t given, int64_t here, int64_t rows) {
      stream.copyRows(memory_.address() + CUdeviceptr(here), layout_.bytesOf(strides().row), addressOf(data_ + given),
                      layout_.bytesOf(tensor.layout.row), size_t(layout_.bytesOf(tensor.dim)), rows);
    });
    return;
  }
  staging_.resize(layout_.bytes());
  layout_.forRows(tensor, [&](int64_t given, int64_t here) {
    std::memcpy(staging_.data() + here, data_ + given, size_t(layout_.bytesOf(tensor.dim)));
  });
  stream.copyIn(memory_.address(), staging_.data(), layout_.bytes());
}

const void* DeviceInput::origin() const {
  return (layout_.inPlace() ? data_ : reinterpret_cast<const unsigned char*>(memory_.address())) + layout_.origin();
}

DeviceOutput::DeviceOutput(Stream& stream, const CallTensor& tensor, void* data)
    : stream_(stream),
      tensor_(tensor),
      data_(static_cast<unsigned char*>(data)),
      layout_(tensor, data, true),
      memory_(stream, layout_.bytes()) {}

void* DeviceOutput::origin() const {
  return (layout_.inPlace() ? data_ : reinterpret_cast<unsigned char*>(memory_.address())) + layout_.origin();
}

void DeviceOutput::copyOut() {
  if (layout_.bytes() == 0) return;
  unsigned char* const first = data_ + layout_.begin();
  if (layout_.asGiven()) {
    if (tensor_.onDevice)
      stream_.copyOn(addressOf(first), memory_.address(), layout_.bytes());
    else
      stream_.copyOut(first, memory_.address(), layout_.bytes());
    return;
  }
  if (tensor_.onDevice) {
    layout_.forHeads(tensor_, [&](int64_t given, int64_t here, int64_t rows) {
      stream_.copyRows(addressOf(data_ + given), layout_.bytesOf(tensor_.layout.row),
                       memory_.address() + CUdeviceptr(here), layout_.bytesOf(strides().row),
                       size_t(layout_.bytesOf(tensor_.dim)), rows);
    });
    return;
  }
  staging_.resize(layout_.bytes());
  stream_.copyOut(staging_.data(), memory_.address(), layout_.bytes());
}

void DeviceOutput::finish() {
  if (staging_.empty()) return;
  layout_.forRows(tensor_, [&](int64_t given, int64_t here) {
    std::memcpy(data_ + given, staging_.data() + here, size_t(layout_.bytesOf(tensor_.dim)));
  });
}

}  // namespace fused_attention::cuda
