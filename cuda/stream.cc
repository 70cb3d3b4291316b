#include "stream.h"

namespace fused_attention::cuda {

Stream::Stream(const Device& device) : driver_(device.driver()) {
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
  idle_ = false;
  if (bytes > 0) driver_.check(driver_.cuMemcpyHtoDAsync(to, from, bytes, handle_), "copying to the device");
}

void Stream::copyOut(void* to, CUdeviceptr from, size_t bytes) {
  if (bytes > 0) driver_.check(driver_.cuMemcpyDtoHAsync(to, from, bytes, handle_), "copying from the device");
}

void Stream::wait() {
  driver_.check(driver_.cuEventRecord(done_, handle_), "waiting for the device");
  driver_.check(driver_.cuEventSynchronize(done_), "waiting for the device");
  idle_ = true;
}

DeviceMemory::DeviceMemory(Stream& stream, size_t bytes) : stream_(stream) {
  if (bytes == 0) return;
  const Driver& d = stream.driver();
  const std::string doing = "asking for " + std::to_string(bytes) + " bytes";
  d.check(d.cuMemAllocAsync ? d.cuMemAllocAsync(&address_, bytes, stream.handle()) : d.cuMemAlloc(&address_, bytes),
          doing.c_str());
}

DeviceMemory::~DeviceMemory() {
  if (address_ == 0) return;
  const Driver& d = stream_.driver();
  if (d.cuMemAllocAsync) {
    d.cuMemFreeAsync(address_, stream_.handle());
  } else {
    d.cuMemFree(address_);
  }
}

}  // namespace fused_attention::cuda
