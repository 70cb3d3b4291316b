// Entry points for streams, events and host functions.
#include "device.h"
#include "queue.h"

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
  Queue::get().drain();
  PTX_CONTEXT;
  return isStream(driver, stream) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
CUresult cuStreamQuery(CUstream stream) {
  PTX_CONTEXT;
  if (!isStream(driver, stream)) return CUDA_ERROR_INVALID_HANDLE;
  return Queue::get().reached(Queue::get().given()) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

// Work of all streams is done in one order.
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
  Queue::get().add([=] { function(data); });
  return CUDA_SUCCESS;
}

// --- events ---

CUresult cuEventCreate(CUevent* out, unsigned int flags) {
  PTX_CONTEXT;
  Event* event = new Event{std::nullopt, (flags & CU_EVENT_DISABLE_TIMING) == 0, 0};
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
  Queue::get().add([handle] {
    Driver& now = Driver::get();
    const Lock inTurn(now.mutex);
    if (now.events.contains(handle)) reinterpret_cast<Event*>(handle)->recorded = std::chrono::steady_clock::now();
  });
  reinterpret_cast<Event*>(handle)->reached = Queue::get().given();
  return CUDA_SUCCESS;
}

CUresult cuEventSynchronize(CUevent event) {
  uint64_t reached = 0;
  {
    PTX_CONTEXT;
    if (!driver.events.contains(event)) return CUDA_ERROR_INVALID_HANDLE;
    reached = reinterpret_cast<Event*>(event)->reached;
  }
  Queue::get().wait(reached);
  PTX_CONTEXT;
  return CUDA_SUCCESS;
}
CUresult cuEventQuery(CUevent event) {
  PTX_CONTEXT;
  if (!driver.events.contains(event)) return CUDA_ERROR_INVALID_HANDLE;
  return Queue::get().reached(reinterpret_cast<Event*>(event)->reached) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

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
