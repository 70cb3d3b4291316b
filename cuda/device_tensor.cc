#include "device_tensor.h"

#include <cstring>

namespace fused_attention::cuda {

namespace {

constexpr int64_t kPiece = 8;  // elements that kernels read and write at a time

int64_t wholePieces(int64_t dim) { return (dim + kPiece - 1) / kPiece * kPiece; }

const uint16_t* elementsOf(const void* data) { return static_cast<const uint16_t*>(data); }

}  // namespace

DeviceLayout::DeviceLayout(const HostTensor& tensor, bool written) {
  const Layout& from = tensor.layout;
  const Block block{
      from.offset, {{{tensor.heads, from.head}, {tensor.rows, from.row}, {tensor.batch, from.batch}}}, tensor.dim};
  if (block.empty()) return;
  // Where there is one of something, how far the next one would be says nothing.
  const auto strideOf = [](int64_t stride, int64_t count) { return count == 1 ? 0 : stride; };
  strides_ = {strideOf(from.batch, tensor.batch), strideOf(from.head, tensor.heads), strideOf(from.row, tensor.rows)};
  const Extent extent = extentOf(block, "call");
  const bool aligned = strides_.batch % kPiece == 0 && strides_.head % kPiece == 0 && strides_.row % kPiece == 0;
  const int64_t count = product({tensor.batch, tensor.heads, tensor.rows, tensor.dim}, "call");
  const int64_t size = extent.end - extent.begin;
  asGiven_ = aligned && (written ? size == count && tensor.dim % kPiece == 0 : size <= 2 * count);
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
  elements_ = wholePieces(tensor.dim);
  next(strides_.row, tensor.rows);
  next(strides_.head, tensor.heads);
  next(strides_.batch, tensor.batch);
}

DeviceInput::DeviceInput(Stream& stream, const HostTensor& tensor, const void* data)
    : layout_(tensor, false), memory_(stream, layout_.bytes()) {
  if (layout_.bytes() == 0) return;
  if (layout_.asGiven()) {
    stream.copyIn(memory_.address(), elementsOf(data) + layout_.begin(), layout_.bytes());
    return;
  }
  staging_.resize(layout_.bytes() / sizeof(uint16_t));
  layout_.forRows(tensor, [&](int64_t host, int64_t device) {
    std::memcpy(staging_.data() + device, elementsOf(data) + host, size_t(tensor.dim) * sizeof(uint16_t));
  });
  stream.copyIn(memory_.address(), staging_.data(), layout_.bytes());
}

const uint16_t* DeviceInput::origin() const {
  return reinterpret_cast<const uint16_t*>(memory_.address()) + layout_.origin();
}

DeviceOutput::DeviceOutput(Stream& stream, const HostTensor& tensor, void* data)
    : stream_(stream),
      tensor_(tensor),
      data_(static_cast<uint16_t*>(data)),
      layout_(tensor, true),
      memory_(stream, layout_.bytes()) {}

uint16_t* DeviceOutput::origin() const { return reinterpret_cast<uint16_t*>(memory_.address()) + layout_.origin(); }

void DeviceOutput::copyOut() {
  if (layout_.asGiven()) return stream_.copyOut(data_ + layout_.begin(), memory_.address(), layout_.bytes());
  staging_.resize(layout_.bytes() / sizeof(uint16_t));
  stream_.copyOut(staging_.data(), memory_.address(), layout_.bytes());
}

void DeviceOutput::finish() {
  if (layout_.asGiven()) return;
  layout_.forRows(tensor_, [&](int64_t host, int64_t device) {
    std::memcpy(data_ + host, staging_.data() + device, size_t(tensor_.dim) * sizeof(uint16_t));
  });
}

}  // namespace fused_attention::cuda
