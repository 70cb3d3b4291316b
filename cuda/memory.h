// Memory of a device, and out of memory told with its sizes.
#pragma once

#include "device.h"

namespace fused_attention::cuda {

/// In the order of a stream where the device has a pool for that, else at once. With the device's context current.
/// Throws CodedError.
CUdeviceptr allocateMemory(const Device& device, CUstream stream, size_t bytes);

/// The same way back. Fails where the device has, and then there is nothing to be done.
void freeMemory(const Device& device, CUstream stream, CUdeviceptr address) noexcept;

}  // namespace fused_attention::cuda
