// native/device_memory.h: memory that tensors are over, and copies.
#include "../native/device_memory.h"
#include "../native/error.h"
#include "memory.h"
#include "stream.h"

namespace fused_attention {

namespace cuda {

namespace {

const Device& deviceAt(int ordinal) {
  const Devices& all = devices();
  if (ordinal >= 0 && size_t(ordinal) < all.list.size()) return *all.list[size_t(ordinal)];
  throw CodedError("ERR_NO_DEVICE", "device", "a CUDA device of this machine",
                   all.list.empty() ? all.reason : "device " + std::to_string(ordinal));
}

CUdeviceptr addressOf(const Buffer& buffer) { return reinterpret_cast<CUdeviceptr>(buffer.data); }

/// Calls that use it wait for their own streams, so it is never given back under one.
class Memory : public TensorMemory {
 public:
  Memory(int ordinal, size_t bytes) : device_(deviceAt(ordinal)), ordinal_(ordinal), bytes_(bytes) {
    if (bytes == 0) return;
    const CurrentContext current(device_);
    const CUstream stream = device_.memoryStream();
    address_ = allocateMemory(device_, stream, bytes);
    // Any stream may use it from here on.
    device_.driver().check(device_.driver().cuStreamSynchronize(stream), "waiting for memory");
  }
  ~Memory() override {
    if (address_ == 0) return;
    try {
      const CurrentContext current(device_);
      freeMemory(device_, device_.memoryStream(), address_);
    } catch (const CodedError&) {  // a device that has failed keeps it
    }
  }

  Buffer buffer() const override { return {reinterpret_cast<void*>(address_), bytes_, ordinal_}; }

 private:
  const Device& device_;
  const int ordinal_;
  const size_t bytes_;
  CUdeviceptr address_ = 0;
};

}  // namespace

}  // namespace cuda

void openDevice(int device) { cuda::deviceAt(device).context(); }

std::shared_ptr<const TensorMemory> allocateOn(int device, size_t bytes) {
  return std::make_shared<const cuda::Memory>(device, bytes);
}

void transfer(const TransferCall& call, const CancelFlag& cancel) {
  const auto& [from, to, ranges] = call;
  if (to.bytes == 0) return;
  const bool in = to.device != Buffer::kHost;
  const cuda::Device& device = cuda::deviceAt(in ? to.device : from.device);
  const cuda::CurrentContext current(device);
  cuda::Stream stream(device);
  if (cancel.raised()) throw Cancelled();
  if (from.device == Buffer::kHost) {
    stream.copyIn(cuda::addressOf(to), from.data, to.bytes);
  } else if (!in) {
    stream.copyOut(to.data, cuda::addressOf(from), to.bytes);
  } else if (from.device == to.device) {
    stream.copyOn(cuda::addressOf(to), cuda::addressOf(from), to.bytes);
  } else {
    stream.copyFrom(cuda::deviceAt(from.device), cuda::addressOf(to), cuda::addressOf(from), to.bytes);
  }
  stream.wait();
}

}  // namespace fused_attention
