#include "stream.h"

#include <algorithm>
#include <cstring>

#include "memory.h"

namespace fused_attention::cuda {

Stream::Stream(const Device& device) : device_(device), driver_(device.driver()) {
  driver_.check(driver_.cuStreamCreate(&handle_, kStreamNonBlocking), "making a stream");
  const CUresult result = driver_.cuEventCreate(&done_, kEventBlockingSync | kEventDisableTiming);
  if (result != kSuccess) {
    driver_.cuStreamDestroy(handle_);
    driver_.check(result, "making an event");
  }
}

Stream::~Stream() {
  // After a failure work may be under way that reads or writes the call's memory.
  if (!idle_ && driver_.cuEventRecord(done_, handle_) == kSuccess) driver_.cuEventSynchronize(done_);
  driver_.cuEventDestroy(done_);
  driver_.cuStreamDestroy(handle_);
}

void Stream::copyIn(CUdeviceptr to, const void* from, size_t bytes) {
  if (bytes == 0) return;
  idle_ = false;
  const Staging& staged = staged_.emplace_back(driver_, bytes);
  if (staged.data() != nullptr) from = std::memcpy(staged.data(), from, bytes);
  driver_.check(driver_.cuMemcpyHtoDAsync(to, from, bytes, handle_), "copying to the device");
}

void Stream::copyOut(void* to, CUdeviceptr from, size_t bytes) {
  if (bytes == 0) return;
  idle_ = false;
  const Staging& staged = staged_.emplace_back(driver_, bytes);
  if (staged.data() != nullptr) {
    copied_.push_back({to, staged});
    to = staged.data();
  }
  driver_.check(driver_.cuMemcpyDtoHAsync(to, from, bytes, handle_), "copying from the device");
}

void Stream::copyOn(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  idle_ = false;
  if (bytes > 0) driver_.check(driver_.cuMemcpyDtoDAsync(to, from, bytes, handle_), "copying on the device");
}

void Stream::copyFrom(const Device& other, CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  idle_ = false;
  driver_.check(driver_.cuMemcpyPeerAsync(to, device_.context(), from, other.context(), bytes, handle_),
                "copying between devices");
}

void Stream::copyRows(CUdeviceptr to, int64_t toPitch, CUdeviceptr from, int64_t fromPitch, size_t width,
                      int64_t rows) {
  const int64_t least = int64_t(width);
  if (rows > 1 && (toPitch < least || fromPitch < least)) {  // rows that overlap are more than one copy may have
    for (int64_t r = 0; r < rows; ++r) {
      copyOn(to + CUdeviceptr(r * toPitch), from + CUdeviceptr(r * fromPitch), width);
    }
    return;
  }
  idle_ = false;
  CopiedRows copy;
  copy.from.device = from;
  copy.from.pitch = size_t(std::max(fromPitch, least));
  copy.to.device = to;
  copy.to.pitch = size_t(std::max(toPitch, least));
  copy.width = width;
  copy.rows = size_t(rows);
  driver_.check(driver_.cuMemcpy2DAsync(&copy, handle_), "copying rows on the device");
}

void Stream::wait() {
  driver_.check(driver_.cuEventRecord(done_, handle_), "waiting for the device");
  driver_.check(driver_.cuEventSynchronize(done_), "waiting for the device");
  idle_ = true;
  for (const Copied& copied : copied_) std::memcpy(copied.to, copied.from.data(), copied.from.bytes());
  copied_.clear();
}

DeviceMemory::DeviceMemory(Stream& stream, size_t bytes) : stream_(stream) {
  if (bytes > 0) address_ = allocateMemory(stream.device(), stream.handle(), bytes);
}

DeviceMemory::~DeviceMemory() {
  if (address_ != 0) freeMemory(stream_.device(), stream_.handle(), address_);
}

}  // namespace fused_attention::cuda
