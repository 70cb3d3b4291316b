#include "device.h"

#include "../native/error.h"
#include "embedded_kernels.h"

namespace fused_attention::cuda {

namespace {

constexpr int kLeastMajor = 8;  // what the kernels are compiled for

Devices findDevices() {
  Devices found;
  if (kForwardPtx == nullptr) {
    found.reason = "this build has no CUDA kernels: there was no nvcc when it was made";
    return found;
  }
  const OpenedDriver& opened = openedDriver();
  if (opened.driver == nullptr) {
    found.reason = opened.reason;
    return found;
  }
  const Driver& driver = *opened.driver;
  int count = 0;
  driver.check(driver.cuDeviceGetCount(&count), "counting devices");
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    CUdevice handle = 0;
    driver.check(driver.cuDeviceGet(&handle, ordinal), "looking at a device");
    found.list.push_back(std::make_unique<const Device>(driver, handle));
  }
  if (count == 0) found.reason = "the CUDA driver has no device";
  return found;
}

/// One kernel of the text, with what stands before all of them: the driver takes half a second to compile each.
std::string alone(const std::string& kernel) {
  const std::string text = kForwardPtx, entry = "\n.visible .entry ";
  const size_t first = text.find(entry), begin = text.find(entry + kernel + "(");
  if (begin == std::string::npos) throw CodedError("ERR_INTERNAL", "call", "a kernel of this build", kernel);
  return text.substr(0, first) + text.substr(begin, text.find(entry, begin + 1) - begin);
}

}  // namespace

Device::Device(const Driver& driver, CUdevice handle) : driver_(driver), handle_(handle) {
  const auto attribute = [&](int which) {
    int value = 0;
    driver_.check(driver_.cuDeviceGetAttribute(&value, which, handle_), "reading a device's properties");
    return value;
  };
  char name[256] = "";
  driver_.check(driver_.cuDeviceGetName(name, sizeof name, handle_), "reading a device's name");
  properties_.name = name;
  properties_.major = attribute(kCapabilityMajor);
  properties_.minor = attribute(kCapabilityMinor);
  properties_.multiprocessors = attribute(kMultiprocessorCount);
  properties_.threadsPerMultiprocessor = attribute(kMaxThreadsPerMultiprocessor);
  properties_.sharedBytes = size_t(attribute(kMaxSharedPerBlockOptIn));
  driver_.check(driver_.cuDeviceTotalMem(&properties_.bytes, handle_), "reading a device's memory");
  pooled_ = driver_.cuMemAllocAsync != nullptr && attribute(kMemoryPoolsSupported) != 0;
}

std::string Device::name() const { return handle_ == 0 ? "cuda" : "cuda:" + std::to_string(handle_); }

std::string Device::unfit() const {
  if (properties_.major >= kLeastMajor) return "";
  return properties_.name + " has compute capability " + std::to_string(properties_.major) + "." +
         std::to_string(properties_.minor) + ", and the kernels need " + std::to_string(kLeastMajor) + ".0";
}

CUcontext Device::context() const {
  const std::lock_guard lock(mutex_);
  if (context_ == nullptr) {
    driver_.check(driver_.cuDevicePrimaryCtxRetain(&context_, handle_), "making a device's context");
    if (pooled_) keepFreedMemory();
  }
  return context_;
}

/// Calls that follow each other take the same memory, which would be mapped anew each time.
void Device::keepFreedMemory() const {
  CUmemoryPool pool = nullptr;
  uint64_t most = properties_.bytes / 4;
  if (driver_.cuDeviceGetDefaultMemPool(&pool, handle_) == kSuccess) {
    driver_.cuMemPoolSetAttribute(pool, kReleaseThreshold, &most);
  }
}

CUstream Device::memoryStream() const {
  const std::lock_guard lock(mutex_);
  if (memoryStream_ == nullptr) {
    driver_.check(driver_.cuStreamCreate(&memoryStream_, kStreamNonBlocking), "making a stream");
  }
  return memoryStream_;
}

CUfunction Device::kernel(const std::string& name, unsigned sharedBytes) const {
  const std::lock_guard lock(kernelMutex_);
  CUfunction& kernel = kernels_[name];
  if (kernel == nullptr) {
    CUmodule module = nullptr;
    CUfunction function = nullptr;
    driver_.check(driver_.cuModuleLoadData(&module, alone(name).c_str()), "compiling a kernel");
    driver_.check(driver_.cuModuleGetFunction(&function, module, name.c_str()), "looking for a kernel");
    driver_.check(driver_.cuFuncSetAttribute(function, kMaxDynamicShared, int(sharedBytes)),
                  "asking for shared memory");
    kernel = function;
  }
  return kernel;
}

const Devices& devices() {
  static const Devices* const leaked = new Devices(findDevices());
  return *leaked;
}

CurrentContext::CurrentContext(const Device& device) : driver_(device.driver()) {
  driver_.check(driver_.cuCtxPushCurrent(device.context()), "entering a device's context");
}

CurrentContext::~CurrentContext() {
  CUcontext popped = nullptr;
  driver_.cuCtxPopCurrent(&popped);
}

}  // namespace fused_attention::cuda
