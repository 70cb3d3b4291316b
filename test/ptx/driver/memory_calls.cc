// Entry points for memory: allocations, pinned memory, copies and fills. What the driver does at once waits for all
// work that was given before.
#include <cstring>
#include <new>

#include "device.h"
#include "queue.h"

using namespace fused_attention::ptx;

namespace {

// Device bytes of any device, pinned memory included; null when they are not inside one live allocation.
uint8_t* deviceBytes(CUdeviceptr address, size_t bytes) {
  Driver& driver = Driver::get();
  Device* device = driver.owner(address);
  return device == nullptr ? nullptr : device->memory.find(address, bytes);
}

CUresult copyIn(CUdeviceptr to, const void* from, size_t bytes) {
  if (bytes == 0) return CUDA_SUCCESS;
  uint8_t* place = deviceBytes(to, bytes);
  if (place == nullptr || from == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(place, from, bytes);
  return CUDA_SUCCESS;
}

CUresult copyOut(void* to, CUdeviceptr from, size_t bytes) {
  if (bytes == 0) return CUDA_SUCCESS;
  const uint8_t* place = deviceBytes(from, bytes);
  if (place == nullptr || to == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(to, place, bytes);
  return CUDA_SUCCESS;
}

CUresult copyAcross(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  if (bytes == 0) return CUDA_SUCCESS;
  uint8_t* target = deviceBytes(to, bytes);
  const uint8_t* source = deviceBytes(from, bytes);
  if (target == nullptr || source == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::memmove(target, source, bytes);
  return CUDA_SUCCESS;
}

// Rows of linear memory: where their pitch is less than their width the driver refuses them.
CUresult copyRows(const CUDA_MEMCPY2D& copy) {
  const size_t width = copy.WidthInBytes;
  const bool apart = copy.srcPitch >= copy.srcXInBytes + width && copy.dstPitch >= copy.dstXInBytes + width;
  if (copy.Height > 1 && !apart) return CUDA_ERROR_INVALID_VALUE;
  for (size_t row = 0; row < copy.Height; ++row) {
    const size_t from = (copy.srcY + row) * copy.srcPitch + copy.srcXInBytes;
    const size_t to = (copy.dstY + row) * copy.dstPitch + copy.dstXInBytes;
    const bool fromDevice = copy.srcMemoryType == CU_MEMORYTYPE_DEVICE,
               toDevice = copy.dstMemoryType == CU_MEMORYTYPE_DEVICE;
    const uint8_t* source =
        fromDevice ? deviceBytes(copy.srcDevice + from, width) : static_cast<const uint8_t*>(copy.srcHost) + from;
    uint8_t* target = toDevice ? deviceBytes(copy.dstDevice + to, width) : static_cast<uint8_t*>(copy.dstHost) + to;
    if (source == nullptr || target == nullptr) return CUDA_ERROR_INVALID_VALUE;
    std::memcpy(target, source, width);
  }
  return CUDA_SUCCESS;
}

template <class T>
CUresult fill(CUdeviceptr to, T value, size_t count) {
  if (count == 0) return CUDA_SUCCESS;
  uint8_t* place = deviceBytes(to, count * sizeof(T));
  if (place == nullptr || to % sizeof(T) != 0) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < count; ++i) std::memcpy(place + i * sizeof(T), &value, sizeof(T));
  return CUDA_SUCCESS;
}

CUresult allocate(Context* context, CUdeviceptr* out, size_t bytes) {
  if (out == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  *out = context->device->memory.allocate(bytes);
  return *out == 0 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS;
}

CUresult release(CUdeviceptr address) {
  if (address == 0) return CUDA_SUCCESS;
  Device* device = Driver::get().owner(address);
  return device != nullptr && device->memory.release(address) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

// Work that was possible when it was given, in its turn; not on a context that has failed since.
template <class Work>
CUresult inTurn(Context* context, Work work) {
  Queue::get().add([context, work] {
    const Lock lock(Driver::get().mutex);
    if (context->error == CUDA_SUCCESS && work() != CUDA_SUCCESS) context->error = CUDA_ERROR_ILLEGAL_ADDRESS;
  });
  return context->error;
}

bool isPinned(const void* data) {
  const auto& pinned = Driver::get().pinned;
  const auto after = pinned.upper_bound(const_cast<void*>(data));
  if (after == pinned.begin()) return false;
  const auto& [begin, memory] = *std::prev(after);
  return static_cast<const uint8_t*>(data) < static_cast<const uint8_t*>(begin) + memory.bytes;
}

bool areDevices(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return bytes == 0 || (deviceBytes(to, bytes) != nullptr && deviceBytes(from, bytes) != nullptr);
}

template <class T>
CUresult fillInTurn(Context* context, CUdeviceptr to, T value, size_t count) {
  const bool inside = count == 0 || deviceBytes(to, count * sizeof(T)) != nullptr;
  if (!inside || to % sizeof(T) != 0) return CUDA_ERROR_INVALID_VALUE;
  return inTurn(context, [=] { return fill(to, value, count); });
}

}  // namespace

extern "C" {

CUresult cuMemGetInfo(size_t* free, size_t* total) {
  PTX_CONTEXT;
  const Memory& memory = context->device->memory;
  if (free != nullptr) *free = memory.capacity() - memory.used();
  if (total != nullptr) *total = memory.capacity();
  return CUDA_SUCCESS;
}

CUresult cuMemAlloc(CUdeviceptr* out, size_t bytes) {
  PTX_CONTEXT;
  return allocate(context, out, bytes);
}
CUresult cuMemAllocAsync(CUdeviceptr* out, size_t bytes, CUstream) {
  {
    PTX_CONTEXT;
    if (!context->device->pools) return CUDA_ERROR_NOT_SUPPORTED;
    const CUresult result = allocate(context, out, bytes);
    if (result != CUDA_ERROR_OUT_OF_MEMORY || !Queue::get().deferred()) return result;
  }
  Queue::get().drain();  // some may be given back by then
  PTX_CONTEXT;
  return allocate(context, out, bytes);
}
CUresult cuMemAllocFromPoolAsync(CUdeviceptr* out, size_t bytes, CUmemoryPool, CUstream stream) {
  return cuMemAllocAsync(out, bytes, stream);
}
// Memory is given back whether or not the context has failed, so that hosts can clean up.
CUresult cuMemFree(CUdeviceptr address) {
  Queue::get().drain();
  PTX_ENTRY;
  return release(address);
}
CUresult cuMemFreeAsync(CUdeviceptr address, CUstream) {
  PTX_ENTRY;
  if (!Queue::get().deferred()) return release(address);
  if (address != 0 && deviceBytes(address, 1) == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Queue::get().add([address] {
    const Lock inTurn(Driver::get().mutex);
    release(address);
  });
  return CUDA_SUCCESS;
}

// --- pools: one a device, which keeps nothing back ---

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice ordinal) {
  PTX_ENTRY;
  if (ordinal < 0 || static_cast<size_t>(ordinal) >= driver.devices.size()) return CUDA_ERROR_INVALID_DEVICE;
  *pool = reinterpret_cast<CUmemoryPool>(driver.devices[ordinal].get());
  return CUDA_SUCCESS;
}
CUresult cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice ordinal) { return cuDeviceGetDefaultMemPool(pool, ordinal); }
CUresult cuMemPoolSetAttribute(CUmemoryPool, CUmemPool_attribute, void*) { return CUDA_SUCCESS; }
CUresult cuMemPoolTrimTo(CUmemoryPool, size_t) { return CUDA_SUCCESS; }

// --- pinned memory, which kernels reach at the host's address ---

CUresult cuMemHostAlloc(void** out, size_t bytes, unsigned int) {
  PTX_CONTEXT;
  if (out == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  std::unique_ptr<uint8_t[]> owned(bytes <= driver.hostMemory ? new (std::nothrow) uint8_t[bytes + 4096] : nullptr);
  if (!owned) return CUDA_ERROR_OUT_OF_MEMORY;
  uint8_t* data = owned.get() + (4096 - reinterpret_cast<uintptr_t>(owned.get()) % 4096);
  for (const auto& device : driver.devices) device->memory.map(data, bytes);
  driver.pinned[data] = {std::move(owned), bytes};
  driver.hostMemory -= bytes;
  *out = data;
  return CUDA_SUCCESS;
}
CUresult cuMemAllocHost(void** out, size_t bytes) { return cuMemHostAlloc(out, bytes, 0); }

CUresult cuMemFreeHost(void* data) {
  Queue::get().drain();
  PTX_ENTRY;
  const auto found = driver.pinned.find(data);
  if (found == driver.pinned.end()) return CUDA_ERROR_INVALID_VALUE;
  driver.hostMemory += found->second.bytes;
  driver.pinned.erase(found);
  for (const auto& device : driver.devices) device->memory.release(reinterpret_cast<uint64_t>(data));
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetDevicePointer(CUdeviceptr* out, void* data, unsigned int) {
  PTX_CONTEXT;
  *out = reinterpret_cast<CUdeviceptr>(data);
  return context->device->memory.find(*out, 1) != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemHostRegister(void* data, size_t bytes, unsigned int) {
  PTX_CONTEXT;
  if (data == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  for (const auto& device : driver.devices) device->memory.map(data, bytes);
  return CUDA_SUCCESS;
}

CUresult cuMemHostUnregister(void* data) {
  Queue::get().drain();
  PTX_ENTRY;
  bool known = false;
  for (const auto& device : driver.devices) known |= device->memory.release(reinterpret_cast<uint64_t>(data));
  return known ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

// --- copies ---

CUresult cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t bytes) {
  Queue::get().drain();
  PTX_CONTEXT;
  return copyIn(to, from, bytes);
}
// From pinned memory the copy reads in its turn, from other memory now.
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t bytes, CUstream) {
  PTX_CONTEXT;
  if (bytes > 0 && (from == nullptr || deviceBytes(to, bytes) == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  if (isPinned(from)) return inTurn(context, [=] { return copyIn(to, from, bytes); });
  const uint8_t* const data = static_cast<const uint8_t*>(from);
  return inTurn(
      context, [to, bytes, copy = std::vector<uint8_t>(data, data + bytes)] { return copyIn(to, copy.data(), bytes); });
}
CUresult cuMemcpyDtoH(void* to, CUdeviceptr from, size_t bytes) {
  Queue::get().drain();
  PTX_CONTEXT;
  return copyOut(to, from, bytes);
}
CUresult cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t bytes, CUstream) {
  {
    PTX_CONTEXT;
    if (bytes > 0 && (to == nullptr || deviceBytes(from, bytes) == nullptr)) return CUDA_ERROR_INVALID_VALUE;
    if (isPinned(to)) return inTurn(context, [=] { return copyOut(to, from, bytes); });
  }
  return cuMemcpyDtoH(to, from, bytes);
}
CUresult cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  Queue::get().drain();
  PTX_CONTEXT;
  return copyAcross(to, from, bytes);
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream) {
  PTX_CONTEXT;
  if (!areDevices(to, from, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return inTurn(context, [=] { return copyAcross(to, from, bytes); });
}

CUresult cuMemcpyPeer(CUdeviceptr to, CUcontext toContext, CUdeviceptr from, CUcontext fromContext, size_t bytes) {
  Queue::get().drain();
  PTX_CONTEXT;
  if (!driver.contexts.contains(toContext) || !driver.contexts.contains(fromContext)) return CUDA_ERROR_INVALID_CONTEXT;
  return copyAcross(to, from, bytes);
}
CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext toContext, CUdeviceptr from, CUcontext fromContext, size_t bytes,
                           CUstream) {
  PTX_CONTEXT;
  if (!driver.contexts.contains(toContext) || !driver.contexts.contains(fromContext)) return CUDA_ERROR_INVALID_CONTEXT;
  if (!areDevices(to, from, bytes)) return CUDA_ERROR_INVALID_VALUE;
  return inTurn(context, [=] { return copyAcross(to, from, bytes); });
}

CUresult cuMemcpy2D(const CUDA_MEMCPY2D* copy) {
  Queue::get().drain();
  PTX_CONTEXT;
  return copyRows(*copy);
}
CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D* copy, CUstream) {
  const bool host = copy->srcMemoryType != CU_MEMORYTYPE_DEVICE || copy->dstMemoryType != CU_MEMORYTYPE_DEVICE;
  if (host || !Queue::get().deferred()) return cuMemcpy2D(copy);
  PTX_CONTEXT;
  return inTurn(context, [rows = *copy] { return copyRows(rows); });
}

// --- fills ---

CUresult cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
  Queue::get().drain();
  PTX_CONTEXT;
  return fill(to, value, count);
}
CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream) {
  PTX_CONTEXT;
  return fillInTurn(context, to, value, count);
}
CUresult cuMemsetD16(CUdeviceptr to, unsigned short value, size_t count) {
  Queue::get().drain();
  PTX_CONTEXT;
  return fill(to, value, count);
}
CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream) {
  PTX_CONTEXT;
  return fillInTurn(context, to, value, count);
}
CUresult cuMemsetD32(CUdeviceptr to, unsigned int value, size_t count) {
  Queue::get().drain();
  PTX_CONTEXT;
  return fill(to, value, count);
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned int value, size_t count, CUstream) {
  PTX_CONTEXT;
  return fillInTurn(context, to, value, count);
}

}  // extern "C"
