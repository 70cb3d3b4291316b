// Work on a device in order, and memory in the order of that work. With the device's context current.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "device.h"
#include "staging.h"

namespace fused_attention::cuda {

class Stream {
 public:
  explicit Stream(const Device& device);
  ~Stream();  // waits where an exception came in between
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const Device& device() const { return device_; }
  const Driver& driver() const { return driver_; }
  CUstream handle() const { return handle_; }

  /// Host memory must stay as it is until the stream is waited for; what is copied out is there after that.
  void copyIn(CUdeviceptr to, const void* from, size_t bytes);
  void copyOut(void* to, CUdeviceptr from, size_t bytes);
  void copyOn(CUdeviceptr to, CUdeviceptr from, size_t bytes);
  /// From another device.
  void copyFrom(const Device& other, CUdeviceptr to, CUdeviceptr from, size_t bytes);
  /// Rows of `width` bytes, so far apart on both sides.
  void copyRows(CUdeviceptr to, int64_t toPitch, CUdeviceptr from, int64_t fromPitch, size_t width, int64_t rows);
  /// Sleeps until all work is done. Throws what went wrong on the device.
  void wait();

 private:
  const Device& device_;
  const Driver& driver_;
  CUstream handle_ = nullptr;
  CUevent done_ = nullptr;
  bool idle_ = true;
  struct Copied {
    void* to;
    const Staging& from;
  };
  std::deque<Staging> staged_;
  std::vector<Copied> copied_;  // to be put in their places
};

/// Memory of a device, given back when the work given to its stream before is done.
class DeviceMemory {
 public:
  DeviceMemory(Stream& stream, size_t bytes);  // none where there are no bytes
  ~DeviceMemory();
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  CUdeviceptr address() const { return address_; }

 private:
  Stream& stream_;
  CUdeviceptr address_ = 0;
};

}  // namespace fused_attention::cuda
