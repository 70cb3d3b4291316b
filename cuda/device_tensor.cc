#include "device_tensor.h"

#include <cstring>

namespace fused_attention::cuda {

namespace {

constexpr int64_t kPiece = 8;  // elements that kernels read and write at a time

int64_t wholePieces(int64_t dim) { return (dim + kPiece - 1) / kPiece * kPiece; }

const uint16_t* elementsOf(const void* data) { return static_cast<const uint16_t*>(data); }
CUdeviceptr addressOf(const uint16_t* element) { return reinterpret_cast<CUdeviceptr>(element); }
int64_t bytesOf(int64_t elements) { return elements * int64_t(sizeof(uint16_t)); }

}  // namespace

DeviceLayout::DeviceLayout(const CallTensor& tensor, const void* data, bool written) {
  const Layout& from = tensor.layout;
  const Block block{
      from.offset, {{{tensor.heads, from.head}, {tensor.rows, from.row}, {tensor.batch, from.batch}}}, tensor.dim};
  if (block.empty()) return;
  // Where there is one of something, how far the next one would be says nothing.
  const auto strideOf = [](int64_t stride, int64_t count) { return count == 1 ? 0 : stride; };
  strides_ = {strideOf(from.batch, tensor.batch), strideOf(from.head, tensor.heads), strideOf(from.row, tensor.rows)};
  const Extent extent = extentOf(block, "call");
  const bool aligned = strides_.batch % kPiece == 0 && strides_.head % kPiece == 0 && strides_.row % kPiece == 0;
  const bool whole = !written || tensor.dim % kPiece == 0;  // kernels write pieces
  const auto first = reinterpret_cast<uintptr_t>(elementsOf(data) + from.offset);
  inPlace_ = tensor.onDevice && aligned && whole && first % size_t(bytesOf(kPiece)) == 0;
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
  elements_ = wholePieces(tensor.dim);
  next(strides_.row, tensor.rows);
  next(strides_.head, tensor.heads);
  next(strides_.batch, tensor.batch);
}

DeviceInput::DeviceInput(Stream& stream, const CallTensor& tensor, const void* data)
    : data_(elementsOf(data)), layout_(tensor, data, false), memory_(stream, layout_.bytes()) {
  if (layout_.bytes() == 0) return;
  const uint16_t* const first = data_ + layout_.begin();
  if (layout_.asGiven()) {
    if (tensor.onDevice)
      stream.copyOn(memory_.address(), addressOf(first), layout_.bytes());
    else
      stream.copyIn(memory_.address(), first, layout_.bytes());
    return;
  }
  if (tensor.onDevice) {
    layout_.forHeads(tensor, [&](int64_t given, int64_t here, int64_t rows) {
      stream.copyRows(memory_.address() + CUdeviceptr(bytesOf(here)), bytesOf(strides().row), addressOf(data_ + given),
                      bytesOf(tensor.layout.row), size_t(bytesOf(tensor.dim)), rows);
    });
    return;
  }
  staging_.resize(layout_.bytes() / sizeof(uint16_t));
  layout_.forRows(tensor, [&](int64_t given, int64_t here) {
    std::memcpy(staging_.data() + here, data_ + given, size_t(bytesOf(tensor.dim)));
  });
  stream.copyIn(memory_.address(), staging_.data(), layout_.bytes());
}

const uint16_t* DeviceInput::origin() const {
  return (layout_.inPlace() ? data_ : reinterpret_cast<const uint16_t*>(memory_.address())) + layout_.origin();
}

DeviceOutput::DeviceOutput(Stream& stream, const CallTensor& tensor, void* data)
    : stream_(stream),
      tensor_(tensor),
      data_(static_cast<uint16_t*>(data)),
      layout_(tensor, data, true),
      memory_(stream, layout_.bytes()) {}

uint16_t* DeviceOutput::origin() const {
  return (layout_.inPlace() ? data_ : reinterpret_cast<uint16_t*>(memory_.address())) + layout_.origin();
}

void DeviceOutput::copyOut() {
  if (layout_.bytes() == 0) return;
  uint16_t* const first = data_ + layout_.begin();
  if (layout_.asGiven()) {
    if (tensor_.onDevice)
      stream_.copyOn(addressOf(first), memory_.address(), layout_.bytes());
    else
      stream_.copyOut(first, memory_.address(), layout_.bytes());
    return;
  }
  if (tensor_.onDevice) {
    layout_.forHeads(tensor_, [&](int64_t given, int64_t here, int64_t rows) {
      stream_.copyRows(addressOf(data_ + given), bytesOf(tensor_.layout.row),
                       memory_.address() + CUdeviceptr(bytesOf(here)), bytesOf(strides().row),
                       size_t(bytesOf(tensor_.dim)), rows);
    });
    return;
  }
  staging_.resize(layout_.bytes() / sizeof(uint16_t));
  stream_.copyOut(staging_.data(), memory_.address(), layout_.bytes());
}

void DeviceOutput::finish() {
  if (staging_.empty()) return;
  layout_.forRows(tensor_, [&](int64_t given, int64_t here) {
    std::memcpy(data_ + given, staging_.data() + here, size_t(bytesOf(tensor_.dim)));
  });
}

}  // namespace fused_attention::cuda
