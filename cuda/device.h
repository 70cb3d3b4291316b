// The devices of this process, and the kernels on each: made at the first call that needs them, kept for good, shared
// by all environments.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "driver.h"

namespace fused_attention::cuda {

struct DeviceProperties {
  std::string name;
  int major = 0, minor = 0;  // compute capability
  int multiprocessors = 0, threadsPerMultiprocessor = 0;
  size_t bytes = 0;        // of memory
  size_t sharedBytes = 0;  // that a block may have
};

class Device {
 public:
  Device(const Driver& driver, CUdevice handle);

  const Driver& driver() const { return driver_; }
  const DeviceProperties& properties() const { return properties_; }
  /// 'cuda' or 'cuda:1', by its place among them.
  std::string name() const;
  /// Whether memory comes in the order of a stream.
  bool pooled() const { return pooled_; }
  /// "" or why the kernels of this build do not run on it.
  std::string unfit() const;
  /// The primary context, retained. Throws CodedError.
  CUcontext context() const;
  /// For memory that no stream of a call owns. With the context current. Throws CodedError.
  CUstream memoryStream() const;
  /// A kernel that may have so much shared memory, compiled when it is first asked for. With the context current.
  /// Throws CodedError.
  CUfunction kernel(const std::string& name, unsigned sharedBytes) const;

 private:
  void keepFreedMemory() const;

  const Driver& driver_;
  const CUdevice handle_;
  DeviceProperties properties_;
  bool pooled_ = false;
  mutable std::mutex mutex_;
  mutable CUcontext context_ = nullptr;
  mutable CUstream memoryStream_ = nullptr;
  /// Of its own: compiling takes half a second, and threads that only want memory do not wait for it.
  mutable std::mutex kernelMutex_;
  mutable std::map<std::string, CUfunction> kernels_;
};

/// Every device; where there is none, why.
struct Devices {
  std::vector<std::unique_ptr<const Device>> list;
  std::string reason;
};
const Devices& devices();

/// Makes a device's context the thread's current one, and what it was before afterwards.
class CurrentContext {
 public:
  explicit CurrentContext(const Device& device);
  ~CurrentContext();
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;

 private:
  const Driver& driver_;
};

}  // namespace fused_attention::cuda
