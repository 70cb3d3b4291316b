#include "driver.h"

#include <mutex>

#include "../native/backend.h"
#include "../native/error.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace fused_attention::cuda {

namespace {

#if defined(_WIN32)
constexpr const char* kLibrary = "nvcuda.dll";
void* openLibrary(const char* path) { return reinterpret_cast<void*>(LoadLibraryA(path)); }
void* entryOf(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(reinterpret_cast<HMODULE>(library), name));
}
std::string openFailure(const char* path) { return std::string(path) + ": error " + std::to_string(GetLastError()); }
#else
constexpr const char* kLibrary = "libcuda.so.1";
void* openLibrary(const char* path) { return dlopen(path, RTLD_NOW | RTLD_LOCAL); }
void* entryOf(void* library, const char* name) { return dlsym(library, name); }
std::string openFailure(const char*) { return dlerror(); }
#endif

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(entryOf(library, name));
  return function != nullptr;
}

/// The entry points; "" or the name of one that the library does not have. Those with a second version have had it
/// since CUDA 4.
std::string findEntries(void* library, Driver& d) {
#define FIND(name, symbol) \
  if (!find(library, symbol, d.name)) return symbol
  FIND(cuInit, "cuInit");
  FIND(cuGetErrorName, "cuGetErrorName");
  FIND(cuGetErrorString, "cuGetErrorString");
  FIND(cuDeviceGetCount, "cuDeviceGetCount");
  FIND(cuDeviceGet, "cuDeviceGet");
  FIND(cuDeviceGetName, "cuDeviceGetName");
  FIND(cuDeviceGetAttribute, "cuDeviceGetAttribute");
  FIND(cuDeviceTotalMem, "cuDeviceTotalMem_v2");
  FIND(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
  FIND(cuCtxPushCurrent, "cuCtxPushCurrent_v2");
  FIND(cuCtxPopCurrent, "cuCtxPopCurrent_v2");
  FIND(cuModuleLoadData, "cuModuleLoadData");
  FIND(cuModuleGetFunction, "cuModuleGetFunction");
  FIND(cuFuncSetAttribute, "cuFuncSetAttribute");
  FIND(cuLaunchKernel, "cuLaunchKernel");
  FIND(cuStreamCreate, "cuStreamCreate");
  FIND(cuStreamDestroy, "cuStreamDestroy_v2");
  FIND(cuStreamSynchronize, "cuStreamSynchronize");
  FIND(cuEventCreate, "cuEventCreate");
  FIND(cuEventRecord, "cuEventRecord");
  FIND(cuEventSynchronize, "cuEventSynchronize");
  FIND(cuEventDestroy, "cuEventDestroy_v2");
  FIND(cuMemAlloc, "cuMemAlloc_v2");
  FIND(cuMemFree, "cuMemFree_v2");
  FIND(cuMemHostAlloc, "cuMemHostAlloc");
  FIND(cuMemFreeHost, "cuMemFreeHost");
  FIND(cuMemGetInfo, "cuMemGetInfo_v2");
  FIND(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
  FIND(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
  FIND(cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2");
  FIND(cuMemcpyPeerAsync, "cuMemcpyPeerAsync");
  FIND(cuMemcpy2DAsync, "cuMemcpy2DAsync_v2");
#undef FIND
  const bool pools = find(library, "cuMemAllocAsync", d.cuMemAllocAsync) &&
                     find(library, "cuMemFreeAsync", d.cuMemFreeAsync) &&
                     find(library, "cuDeviceGetDefaultMemPool", d.cuDeviceGetDefaultMemPool) &&
                     find(library, "cuMemPoolSetAttribute", d.cuMemPoolSetAttribute);
  if (!pools) d.cuMemAllocAsync = nullptr;
  return "";
}

/// What was chosen in the place of the usual library, by any environment of the process.
class ChosenLibrary {
 public:
  void choose(const std::string& path) {
    const std::lock_guard lock(mutex_);
    path_ = path;
  }
  std::string path() {
    const std::lock_guard lock(mutex_);
    return path_;
  }

 private:
  std::mutex mutex_;
  std::string path_;
};

ChosenLibrary& chosenLibrary() {
  static ChosenLibrary* const leaked = new ChosenLibrary;
  return *leaked;
}

OpenedDriver open() {
  const std::string named = chosenLibrary().path();
  const bool given = !named.empty();
  const char* const path = given ? named.c_str() : kLibrary;
  void* const library = openLibrary(path);
  if (library == nullptr) {
    return {nullptr, "no CUDA driver: " + openFailure(path) + (given ? " (named by FUSED_ATTENTION_LIBCUDA)" : "")};
  }
  static Driver driver;  // as long as the process: pool threads may be here during exit()
  const std::string missing = findEntries(library, driver);
  if (!missing.empty()) return {nullptr, "the CUDA driver " + std::string(path) + " has no " + missing};
  const CUresult result = driver.cuInit(0);
  if (result != kSuccess) return {nullptr, "the CUDA driver finds no device: " + driver.describe(result)};
  return {&driver, ""};
}

}  // namespace

namespace {

/// Whether every later call fails as well. Such errors are of the context, and a process has one for each device.
bool isLasting(CUresult result) {
  switch (result) {
    case kEccUncorrectable:
    case kNvlinkUncorrectable:
    case kIllegalAddress:
    case kLaunchTimeout:
    case kAssert:
    case kHardwareStackError:
    case kIllegalInstruction:
    case kMisalignedAddress:
    case kInvalidAddressSpace:
    case kInvalidProgramCounter:
    case kLaunchFailed: return true;
    default: return false;
  }
}
constexpr const char* kLasts = "; nothing more can be done with the device in this process";

}  // namespace

std::string Driver::describe(CUresult result) const {
  const char *name = nullptr, *text = nullptr;
  if (cuGetErrorName(result, &name) != kSuccess || name == nullptr) return "CUDA error " + std::to_string(result);
  if (cuGetErrorString(result, &text) != kSuccess || text == nullptr) return name;
  return std::string(name) + " (" + text + ")";
}

void Driver::check(CUresult result, const char* doing) const {
  const char* const argument = "options.device";
  switch (result) {
    case kSuccess: return;
    case kOutOfMemory:
      throw CodedError("ERR_OUT_OF_MEMORY", argument, "a device with enough free memory for the call",
                       describe(result) + " while " + doing);
    case kNoBinaryForGpu:
    case kInvalidPtx:
    case kUnsupportedPtxVersion:
    case kJitCompilerNotFound:
      throw CodedError("ERR_UNSUPPORTED", argument, "a driver that can compile the kernels",
                       describe(result) + " while " + doing);
    default:
      throw CodedError("ERR_INTERNAL", argument, "a working device",
                       describe(result) + " while " + doing + (isLasting(result) ? kLasts : ""));
  }
}

const OpenedDriver& openedDriver() {
  static const OpenedDriver* const leaked = new OpenedDriver(open());
  return *leaked;
}

}  // namespace fused_attention::cuda

namespace fused_attention {

void chooseCudaLibrary(const std::string& path) { cuda::chosenLibrary().choose(path); }

}  // namespace fused_attention
