// Names of errors, entry points by name, and what is there beside the driver API: the report.
#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

#include "device.h"
#include "queue.h"
#include "report.h"

using namespace fused_attention::ptx;

namespace {

struct Named {
  CUresult result;
  const char *name, *text;
};
constexpr Named results[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {CUDA_ERROR_CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED",
     "pointer does not correspond to a registered memory region"},
    {CUDA_ERROR_ILLEGAL_INSTRUCTION, "CUDA_ERROR_ILLEGAL_INSTRUCTION", "an illegal instruction was encountered"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
};

const Named* find(CUresult result) {
  for (const Named& named : results) {
    if (named.result == result) return &named;
  }
  return nullptr;
}

// This library itself, which may have been opened where the process cannot see its names.
void* ownHandle() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&ownHandle), &info) == 0) return nullptr;
  static void* const handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  return handle;
}

}  // namespace

extern "C" {

CUresult cuGetErrorName(CUresult result, const char** text) {
  const Named* named = find(result);
  *text = named != nullptr ? named->name : nullptr;
  return named != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult result, const char** text) {
  const Named* named = find(result);
  *text = named != nullptr ? named->text : nullptr;
  return named != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetProcAddress(const char* symbol, void** function, int, cuuint64_t,
                          CUdriverProcAddressQueryResult* status) {
  const std::string name = symbol;
  *function = dlsym(ownHandle(), (name + "_v2").c_str());
  if (*function == nullptr) *function = dlsym(ownHandle(), name.c_str());
  if (status != nullptr)
    *status = *function != nullptr ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return *function != nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

size_t ptxReport(int ordinal, char* text, size_t size) {
  Queue::get().drain();
  Driver& driver = Driver::get();
  const Lock lock(driver.mutex);
  if (ordinal < 0 || static_cast<size_t>(ordinal) >= driver.devices.size()) return 0;
  const std::string json = driver.devices[ordinal]->report.json();
  if (text != nullptr && size > 0) {
    const size_t length = std::min(json.size(), size - 1);
    std::memcpy(text, json.data(), length);
    text[length] = '\0';
  }
  return json.size();
}

void ptxReset(int ordinal) {
  Queue::get().drain();
  Driver& driver = Driver::get();
  const Lock lock(driver.mutex);
  if (ordinal < 0 || static_cast<size_t>(ordinal) >= driver.devices.size()) return;
  driver.devices[ordinal]->report = Report();
}

void ptxSchedule(int ordinal, uint64_t seed, int quantum) {
  Queue::get().drain();
  Driver& driver = Driver::get();
  const Lock lock(driver.mutex);
  if (ordinal < 0 || static_cast<size_t>(ordinal) >= driver.devices.size() || quantum < 1) return;
  driver.devices[ordinal]->options.seed = seed;
  driver.devices[ordinal]->options.quantum = quantum;
}

}  // extern "C"
