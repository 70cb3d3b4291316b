// A copy of a host's list in device memory, null where the list is empty.
#pragma once

#include <vector>

#include "stream.h"

namespace fused_attention::cuda {

template <class T>
class DeviceList {
 public:
  /// The list must stay as it is until the stream is waited for.
  DeviceList(Stream& stream, const T* data, size_t count) : memory_(stream, count * sizeof(T)) {
    stream.copyIn(memory_.address(), data, count * sizeof(T));
  }
  DeviceList(Stream& stream, const std::vector<T>& list) : DeviceList(stream, list.data(), list.size()) {}

  const T* address() const { return reinterpret_cast<const T*>(memory_.address()); }

 private:
  DeviceMemory memory_;
};

}  // namespace fused_attention::cuda
