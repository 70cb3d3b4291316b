// Virtual devices, as the environment asks for them, and what contexts, modules, streams and events are here.
#pragma once

#include <cuda.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "../launch.h"

namespace fused_attention::ptx {

struct Device;

struct Context {
  Device* device;
  CUresult error = CUDA_SUCCESS;  // of a launch that failed: every later call returns it
  int references = 0;             // of a primary context
};

struct Device {
  int ordinal;
  std::string name;
  int major, minor;
  uint32_t multiprocessors;
  bool pools;  // memory in the order of a stream
  Memory memory;
  Report report;
  LaunchOptions options;
  Context primary;

  uint64_t sharedPerBlockOptIn() const;
};

struct LoadedModule;
struct LoadedFunction {
  LoadedModule* module;
  std::unique_ptr<Program> program;
  uint64_t dynamicShared = 0;  // the most a launch may ask for
};
struct LoadedModule {
  Context* context;
  std::unique_ptr<Image> image;
  std::map<std::string, std::unique_ptr<LoadedFunction>> functions;
};

struct Stream {
  Context* context;
  unsigned flags;
  int priority;
};
struct Event {
  std::optional<std::chrono::steady_clock::time_point> recorded;
  bool timed;
  uint64_t reached;  // when so much work is done
};

// Everything the library holds. Work of streams is done in one order, so one lock is enough.
struct Driver {
  static Driver& get();

  std::recursive_mutex mutex;
  bool initialized = false;
  std::vector<std::unique_ptr<Device>> devices;
  std::set<const void*> contexts, modules, functions, streams, events;
  struct Pinned {
    std::unique_ptr<uint8_t[]> owned;
    size_t bytes;
  };
  std::map<void*, Pinned> pinned;
  uint64_t hostMemory = 0;                // left that can be pinned
  std::map<std::string, uint64_t> calls;  // of entry points that need cuInit, by name

  void initialize();
  Device* owner(CUdeviceptr address);  // the device a global address belongs to, or null

 private:
  Driver() = default;
};

// The calling thread's contexts, the current one last.
std::vector<Context*>& contextStack();

using Lock = std::lock_guard<std::recursive_mutex>;

// The current context, ready for work; otherwise `error` says why not.
Context* currentContext(CUresult& error);

}  // namespace fused_attention::ptx

// Begins an entry point: takes the lock, and returns CUDA_ERROR_NOT_INITIALIZED before cuInit.
#define PTX_ENTRY                                             \
  auto& driver = fused_attention::ptx::Driver::get();         \
  const fused_attention::ptx::Lock lock(driver.mutex);        \
  if (!driver.initialized) return CUDA_ERROR_NOT_INITIALIZED; \
  ++driver.calls[__func__]
// And one that needs a current context without an error.
#define PTX_CONTEXT                                                   \
  PTX_ENTRY;                                                          \
  CUresult contextError = CUDA_SUCCESS;                               \
  auto* context = fused_attention::ptx::currentContext(contextError); \
  if (context == nullptr) return contextError
