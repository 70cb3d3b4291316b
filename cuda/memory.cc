#include "memory.h"

#include "../native/error.h"

namespace fused_attention::cuda {

CUdeviceptr allocateMemory(const Device& device, CUstream stream, size_t bytes) {
  const Driver& d = device.driver();
  CUdeviceptr address = 0;
  const CUresult result = device.pooled() ? d.cuMemAllocAsync(&address, bytes, stream) : d.cuMemAlloc(&address, bytes);
  std::string doing = "asking for " + std::to_string(bytes) + " bytes";
  size_t free = 0, total = 0;
  if (result == kOutOfMemory && d.cuMemGetInfo(&free, &total) == kSuccess) {
    doing += ", where " + std::to_string(free) + " of " + std::to_string(total) + " are free";
  }
  d.check(result, doing.c_str());
  return address;
}

void freeMemory(const Device& device, CUstream stream, CUdeviceptr address) noexcept {
  const Driver& d = device.driver();
  if (device.pooled()) {
    d.cuMemFreeAsync(address, stream);
  } else {
    d.cuMemFree(address);
  }
}

}  // namespace fused_attention::cuda
