// The CUDA driver API, opened at run time: no toolkit is needed to build this, and no driver to load it. Names are the
// driver's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace fused_attention::cuda {

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct CUctx_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUmemoryPool = struct CUmemPoolHandle_st*;

inline constexpr CUresult kSuccess = 0, kOutOfMemory = 2, kNoBinaryForGpu = 209, kInvalidPtx = 218,
                          kUnsupportedPtxVersion = 222, kJitCompilerNotFound = 221;
/// Of a device that has failed.
inline constexpr CUresult kEccUncorrectable = 214, kNvlinkUncorrectable = 220, kIllegalAddress = 700,
                          kLaunchTimeout = 702, kAssert = 710, kHardwareStackError = 714, kIllegalInstruction = 715,
                          kMisalignedAddress = 716, kInvalidAddressSpace = 717, kInvalidProgramCounter = 718,
                          kLaunchFailed = 719;
inline constexpr int kMaxThreadsPerMultiprocessor = 39, kMultiprocessorCount = 16, kCapabilityMajor = 75,
                     kCapabilityMinor = 76, kMaxSharedPerBlockOptIn = 97,
                     kMemoryPoolsSupported = 115;  // CUdevice_attribute
inline constexpr int kMaxDynamicShared = 8;        // CUfunction_attribute
inline constexpr int kReleaseThreshold = 4;        // CUmemPool_attribute
inline constexpr unsigned kHostAllocPortable = 1;
inline constexpr unsigned kStreamNonBlocking = 1, kEventBlockingSync = 1, kEventDisableTiming = 2;

/// CUDA_MEMCPY2D: rows of bytes, here on the device on both sides.
struct CopiedRows {
  static constexpr int kOnDevice = 2;  // CUmemorytype

  struct Side {
    size_t x = 0, y = 0;
    int type = kOnDevice;
    void* host = nullptr;
    CUdeviceptr device = 0;
    void* array = nullptr;
    size_t pitch = 0;
  };
  Side from, to;
  size_t width = 0, rows = 0;
};

struct Driver {
  CUresult (*cuInit)(unsigned flags);
  CUresult (*cuGetErrorName)(CUresult, const char** text);
  CUresult (*cuGetErrorString)(CUresult, const char** text);
  CUresult (*cuDeviceGetCount)(int* count);
  CUresult (*cuDeviceGet)(CUdevice*, int ordinal);
  CUresult (*cuDeviceGetName)(char* name, int length, CUdevice);
  CUresult (*cuDeviceGetAttribute)(int* value, int attribute, CUdevice);
  CUresult (*cuDeviceTotalMem)(size_t* bytes, CUdevice);
  CUresult (*cuDevicePrimaryCtxRetain)(CUcontext*, CUdevice);
  CUresult (*cuCtxPushCurrent)(CUcontext);
  CUresult (*cuCtxPopCurrent)(CUcontext*);
  CUresult (*cuModuleLoadData)(CUmodule*, const void* image);
  CUresult (*cuModuleGetFunction)(CUfunction*, CUmodule, const char* name);
  CUresult (*cuFuncSetAttribute)(CUfunction, int attribute, int value);
  CUresult (*cuLaunchKernel)(CUfunction, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                             unsigned blockY, unsigned blockZ, unsigned sharedBytes, CUstream, void** parameters,
                             void** extra);
  CUresult (*cuStreamCreate)(CUstream*, unsigned flags);
  CUresult (*cuStreamDestroy)(CUstream);
  CUresult (*cuStreamSynchronize)(CUstream);
  CUresult (*cuEventCreate)(CUevent*, unsigned flags);
  CUresult (*cuEventRecord)(CUevent, CUstream);
  CUresult (*cuEventSynchronize)(CUevent);
  CUresult (*cuEventDestroy)(CUevent);
  CUresult (*cuMemAlloc)(CUdeviceptr*, size_t bytes);
  CUresult (*cuMemFree)(CUdeviceptr);
  CUresult (*cuMemHostAlloc)(void** data, size_t bytes, unsigned flags);
  CUresult (*cuMemFreeHost)(void*);
  CUresult (*cuMemGetInfo)(size_t* free, size_t* total);
  // Null before CUDA 11.2, which is when memory came in the order of a stream.
  CUresult (*cuMemAllocAsync)(CUdeviceptr*, size_t bytes, CUstream);
  CUresult (*cuMemFreeAsync)(CUdeviceptr, CUstream);
  CUresult (*cuDeviceGetDefaultMemPool)(CUmemoryPool*, CUdevice);
  CUresult (*cuMemPoolSetAttribute)(CUmemoryPool, int attribute, void* value);
  CUresult (*cuMemcpyHtoDAsync)(CUdeviceptr to, const void* from, size_t bytes, CUstream);
  CUresult (*cuMemcpyDtoHAsync)(void* to, CUdeviceptr from, size_t bytes, CUstream);
  CUresult (*cuMemcpyDtoDAsync)(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream);
  CUresult (*cuMemcpyPeerAsync)(CUdeviceptr to, CUcontext toContext, CUdeviceptr from, CUcontext fromContext,
                                size_t bytes, CUstream);
  CUresult (*cuMemcpy2DAsync)(const CopiedRows*, CUstream);

  /// "CUDA_ERROR_OUT_OF_MEMORY (out of memory)".
  std::string describe(CUresult) const;
  /// Throws CodedError where a call failed: ERR_OUT_OF_MEMORY, ERR_UNSUPPORTED where this driver cannot take the
  /// kernels, else ERR_INTERNAL. `doing` is what was tried.
  void check(CUresult, const char* doing) const;
};

/// The process's driver, initialised; or null, and why: there is no library, it is too old, it finds no device.
/// Opened at the first call and for good: the library of `chooseCudaLibrary`, or the usual one.
struct OpenedDriver {
  const Driver* driver = nullptr;
  std::string reason;
};
const OpenedDriver& openedDriver();

}  // namespace fused_attention::cuda
