// Host memory that copies pass through: pinned, which the device reads and writes by itself, kept for the next copy.
#pragma once

#include <cstddef>

#include "device.h"

namespace fused_attention::cuda {

class Staging {
 public:
  /// With a device's context current; of use to all devices.
  Staging(const Driver& driver, size_t bytes);
  ~Staging();  // nothing may be using it
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  /// Null where it is too much to pin, or the system has no more that can be pinned.
  char* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  const Driver& driver_;
  const size_t bytes_, pinned_;
  char* data_ = nullptr;
};

}  // namespace fused_attention::cuda
