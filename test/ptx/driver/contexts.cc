// Entry points for devices and contexts.
#include <cstdio>
#include <cstring>

#include "device.h"
#include "queue.h"

using namespace fused_attention::ptx;

extern "C" {

CUresult cuInit(unsigned int flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  Driver& driver = Driver::get();
  const Lock lock(driver.mutex);
  driver.initialize();
  return driver.devices.empty() ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int* version) {
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *version = CUDA_VERSION;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  PTX_ENTRY;
  *count = static_cast<int>(driver.devices.size());
  return CUDA_SUCCESS;
}

#define PTX_DEVICE(ordinal)                                                                                     \
  PTX_ENTRY;                                                                                                    \
  if ((ordinal) < 0 || static_cast<size_t>(ordinal) >= driver.devices.size()) return CUDA_ERROR_INVALID_DEVICE; \
  [[maybe_unused]] Device& device = *driver.devices[ordinal]

CUresult cuDeviceGet(CUdevice* out, int ordinal) {
  PTX_DEVICE(ordinal);
  *out = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char* name, int length, CUdevice ordinal) {
  PTX_DEVICE(ordinal);
  if (length <= 0) return CUDA_ERROR_INVALID_VALUE;
  std::snprintf(name, static_cast<size_t>(length), "%s", device.name.c_str());
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice ordinal) {
  PTX_DEVICE(ordinal);
  std::memset(uuid, 0, sizeof *uuid);
  std::snprintf(uuid->bytes, sizeof uuid->bytes, "ptx-%d", ordinal);
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem(size_t* bytes, CUdevice ordinal) {
  PTX_DEVICE(ordinal);
  *bytes = device.memory.capacity();
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice ordinal) {
  PTX_DEVICE(ordinal);
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: *value = device.major; break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: *value = device.minor; break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: *value = static_cast<int>(device.multiprocessors); break;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: *value = 32; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: *value = 64; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: *value = 0x7fffffff; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: *value = 65535; break;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: *value = 65535; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: *value = 48 * 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      *value = static_cast<int>(device.sharedPerBlockOptIn());
      break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
      *value = static_cast<int>(device.sharedPerBlockOptIn()) + 1024;
      break;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: *value = 1024; break;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: *value = 65536; break;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: *value = 65536; break;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: *value = 2048; break;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR: *value = 32; break;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: *value = 65536; break;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: *value = 40 << 20; break;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: *value = 1410000; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: *value = 1215000; break;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: *value = 5120; break;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED: *value = 1; break;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: *value = device.pools; break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: *value = ordinal; break;
    default: *value = 0; break;  // what a device does not have
  }
  return CUDA_SUCCESS;
}

// --- contexts ---

CUresult cuDevicePrimaryCtxRetain(CUcontext* out, CUdevice ordinal) {
  PTX_DEVICE(ordinal);
  ++device.primary.references;
  driver.contexts.insert(&device.primary);
  *out = reinterpret_cast<CUcontext>(&device.primary);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice ordinal) {
  Queue::get().drain();
  PTX_DEVICE(ordinal);
  if (device.primary.references == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (--device.primary.references == 0) {
    driver.contexts.erase(&device.primary);
    device.primary.error = CUDA_SUCCESS;
  }
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxReset(CUdevice ordinal) {
  Queue::get().drain();
  PTX_DEVICE(ordinal);
  device.primary.error = CUDA_SUCCESS;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice ordinal, unsigned int) {
  PTX_DEVICE(ordinal);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice ordinal, unsigned int* flags, int* active) {
  PTX_DEVICE(ordinal);
  *flags = 0;
  *active = device.primary.references > 0;
  return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext* out, unsigned int, CUdevice ordinal) {
  PTX_DEVICE(ordinal);
  Context* context = new Context{&device, CUDA_SUCCESS, 0};
  driver.contexts.insert(context);
  contextStack().push_back(context);
  *out = reinterpret_cast<CUcontext>(context);
  return CUDA_SUCCESS;
}

CUresult cuCtxDestroy(CUcontext handle) {
  Queue::get().drain();
  PTX_ENTRY;
  Context* context = reinterpret_cast<Context*>(handle);
  if (context == nullptr || context == &context->device->primary || driver.contexts.erase(context) == 0) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  std::erase(contextStack(), context);
  delete context;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context) {
  PTX_ENTRY;
  if (context != nullptr && !driver.contexts.contains(context)) return CUDA_ERROR_INVALID_CONTEXT;
  if (!contextStack().empty()) contextStack().pop_back();
  if (context != nullptr) contextStack().push_back(reinterpret_cast<Context*>(context));
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext* context) {
  PTX_ENTRY;
  *context = contextStack().empty() ? nullptr : reinterpret_cast<CUcontext>(contextStack().back());
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext context) {
  PTX_ENTRY;
  if (!driver.contexts.contains(context)) return CUDA_ERROR_INVALID_CONTEXT;
  contextStack().push_back(reinterpret_cast<Context*>(context));
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext* context) {
  PTX_ENTRY;
  if (contextStack().empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (context != nullptr) *context = reinterpret_cast<CUcontext>(contextStack().back());
  contextStack().pop_back();
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice* device) {
  PTX_ENTRY;
  if (contextStack().empty()) return CUDA_ERROR_INVALID_CONTEXT;
  *device = contextStack().back()->device->ordinal;
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void) {
  Queue::get().drain();
  PTX_CONTEXT;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  PTX_CONTEXT;
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = 0;
  return CUDA_SUCCESS;
}

}  // extern "C"
