// Entry points for streams, events and host functions. Work is done when it is given, so streams are always idle.
#include "device.h"

using namespace fused_attention::ptx;

extern "C" {

CUresult cuStreamCreate(CUstream* out, unsigned int flags) { return cuStreamCreateWithPriority(out, flags, 0); }

CUresult cuStreamCreateWithPriority(CUstream* out, unsigned int flags, int priority) {
  PTX_CONTEXT;
  Stream* stream = new Stream{context, flags, priority};
  driver.streams.insert(stream);
  *out = reinterpret_cast<CUstream>(stream);
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream handle) {
  PTX_ENTRY;
  if (driver.streams.erase(handle) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete reinterpret_cast<Stream*>(handle);
  return CUDA_SUCCESS;
}

static bool isStream(const Driver& driver, CUstream stream) {
  return stream == nullptr || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD ||
         driver.streams.contains(stream);
}

CUresult cuStreamSynchronize(CUstream stream) {
  PTX_CONTEXT;
  return isStream(driver, stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult cuStreamQuery(CUstream stream) { return cuStreamSynchronize(stream); }

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int) {
  PTX_CONTEXT;
  return isStream(driver, stream) && driver.events.contains(event) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult cuStreamGetFlags(CUstream handle, unsigned int* flags) {
  PTX_CONTEXT;
  if (!isStream(driver, handle)) return CUDA_ERROR_INVALID_HANDLE;
  *flags = driver.streams.contains(handle) ? reinterpret_cast<Stream*>(handle)->flags : 0;
  return CUDA_SUCCESS;
}

// Without the lock: the function may wait for another thread that calls the driver.
CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
  {
    PTX_CONTEXT;
    if (!isStream(driver, stream)) return CUDA_ERROR_INVALID_HANDLE;
  }
  function(data);
  return CUDA_SUCCESS;
}

// --- events ---

CUresult cuEventCreate(CUevent* out, unsigned int flags) {
  PTX_CONTEXT;
  Event* event = new Event{std::nullopt, (flags & CU_EVENT_DISABLE_TIMING) == 0};
  driver.events.insert(event);
  *out = reinterpret_cast<CUevent>(event);
  return CUDA_SUCCESS;
}

CUresult cuEventDestroy(CUevent handle) {
  PTX_ENTRY;
  if (driver.events.erase(handle) == 0) return CUDA_ERROR_INVALID_HANDLE;
  delete reinterpret_cast<Event*>(handle);
  return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent handle, CUstream stream) {
  PTX_CONTEXT;
  if (!driver.events.contains(handle) || !isStream(driver, stream)) return CUDA_ERROR_INVALID_HANDLE;
  reinterpret_cast<Event*>(handle)->recorded = std::chrono::steady_clock::now();
  return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent event) {
  PTX_CONTEXT;
  return driver.events.contains(event) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult cuEventQuery(CUevent event) { return cuEventSynchronize(event); }

// Both names of it: version 2 differs for unfinished events alone.
CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  PTX_CONTEXT;
  if (!driver.events.contains(start) || !driver.events.contains(end)) return CUDA_ERROR_INVALID_HANDLE;
  const Event &first = *reinterpret_cast<Event*>(start), &last = *reinterpret_cast<Event*>(end);
  if (!first.recorded || !last.recorded || !first.timed || !last.timed) return CUDA_ERROR_INVALID_HANDLE;
  *milliseconds = std::chrono::duration<float, std::milli>(*last.recorded - *first.recorded).count();
  return CUDA_SUCCESS;
}
#undef cuEventElapsedTime
CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}

}  // extern "C"
