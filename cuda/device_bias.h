// A bias grid in device memory, as float32, each of its values once.
#pragma once

#include <vector>

#include "../native/problem.h"
#include "device_list.h"
#include "kernels/forward_parameters.h"

namespace fused_attention::cuda {

class DeviceBias {
 public:
  /// `data` is null where the problem has none.
  DeviceBias(Stream& stream, const Problem& problem, const void* data);

  const BiasGrid& grid() const { return grid_; }

 private:
  BiasGrid grid_{};  // null where there is nothing to add
  const std::vector<float> values_;
  const DeviceList<float> list_;
};

}  // namespace fused_attention::cuda
