// Entry points for modules, functions and launches.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../parser.h"
#include "device.h"
#include "mutations.h"
#include "queue.h"

using namespace fused_attention::ptx;

namespace {

// What JIT options ask to be told.
struct JitLogs {
  struct Buffer {
    char* text = nullptr;
    size_t size = 0;
    void** written = nullptr;  // the size option's value, which becomes the bytes filled
  } info, error;

  JitLogs(unsigned count, CUjit_option* options, void** values) {
    for (unsigned i = 0; i < count; ++i) {
      switch (options[i]) {
        case CU_JIT_INFO_LOG_BUFFER: info.text = static_cast<char*>(values[i]); break;
        case CU_JIT_ERROR_LOG_BUFFER: error.text = static_cast<char*>(values[i]); break;
        case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES: setSize(info, values[i]); break;
        case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES: setSize(error, values[i]); break;
        default: break;
      }
    }
  }
  static void setSize(Buffer& buffer, void*& value) {
    buffer.size = static_cast<unsigned>(reinterpret_cast<uintptr_t>(value));
    buffer.written = &value;
  }
  static void write(Buffer& buffer, const std::string& text) {
    if (buffer.text == nullptr || buffer.size == 0) return;
    const size_t length = std::min(text.size(), buffer.size - 1);
    std::memcpy(buffer.text, text.data(), length);
    buffer.text[length] = '\0';
    if (buffer.written != nullptr) *buffer.written = reinterpret_cast<void*>(length);
  }
};

int capabilityOf(const std::string& target) {  // "sm_90a" -> 90
  return target.starts_with("sm_") ? std::atoi(target.c_str() + 3) : 0;
}

CUresult load(Context* context, CUmodule* out, const void* data, JitLogs logs) {
  JitLogs::write(logs.info, "");
  const auto refuse = [&](CUresult result, const std::string& why) {
    JitLogs::write(logs.error, why);
    return result;
  };
  const char* text = static_cast<const char*>(data);
  if (text == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (std::strncmp(text, "\177ELF", 4) == 0)
    return refuse(CUDA_ERROR_NO_BINARY_FOR_GPU, "a cubin; the interpreter runs PTX only");
  try {
    auto module = parseModule(mutated(text, context->device->ordinal));
    const Device& device = *context->device;
    if (module->version.empty()) return refuse(CUDA_ERROR_INVALID_IMAGE, "no PTX");
    if (capabilityOf(module->target) > 10 * device.major + device.minor) {
      return refuse(CUDA_ERROR_INVALID_PTX, "target " + module->target + " is higher than the device's capability");
    }
    auto loaded = std::make_unique<LoadedModule>();
    loaded->context = context;
    loaded->image = std::make_unique<Image>(std::move(module), context->device->memory);
    Driver::get().modules.insert(loaded.get());
    *out = reinterpret_cast<CUmodule>(loaded.release());
    return CUDA_SUCCESS;
  } catch (const std::exception& error) {
    return refuse(CUDA_ERROR_INVALID_PTX, error.what());
  }
}

CUresult errorOf(FindingKind kind) {
  switch (kind) {
    case FindingKind::OutOfBounds: return CUDA_ERROR_ILLEGAL_ADDRESS;
    case FindingKind::Misaligned: return CUDA_ERROR_MISALIGNED_ADDRESS;
    case FindingKind::TimeLimit: return CUDA_ERROR_LAUNCH_TIMEOUT;
    case FindingKind::Unsupported: return CUDA_ERROR_ILLEGAL_INSTRUCTION;
    default: return CUDA_ERROR_LAUNCH_FAILED;
  }
}

// The packed buffer of a launch's `extra` list; false when it has none.
bool packedParameters(void** extra, std::vector<uint8_t>& bytes) {
  const uint8_t* buffer = nullptr;
  size_t size = 0;
  for (; extra != nullptr && *extra != CU_LAUNCH_PARAM_END; extra += 2) {
    if (*extra == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = static_cast<const uint8_t*>(extra[1]);
    if (*extra == CU_LAUNCH_PARAM_BUFFER_SIZE) size = *static_cast<size_t*>(extra[1]);
  }
  if (buffer == nullptr) return false;
  std::memcpy(bytes.data(), buffer, std::min(size, bytes.size()));
  return true;
}

}  // namespace

extern "C" {

CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned int count, CUjit_option* options,
                            void** values) {
  PTX_CONTEXT;
  return load(context, module, image, JitLogs(count, options, values));
}

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  PTX_CONTEXT;
  return load(context, module, image, JitLogs(0, nullptr, nullptr));
}

CUresult cuModuleUnload(CUmodule handle) {
  Queue::get().drain();
  PTX_ENTRY;
  LoadedModule* module = reinterpret_cast<LoadedModule*>(handle);
  if (driver.modules.erase(module) == 0) return CUDA_ERROR_INVALID_HANDLE;
  for (const auto& [name, function] : module->functions) driver.functions.erase(function.get());
  delete module;
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* out, CUmodule handle, const char* name) {
  PTX_CONTEXT;
  if (!driver.modules.contains(handle)) return CUDA_ERROR_INVALID_HANDLE;
  LoadedModule* module = reinterpret_cast<LoadedModule*>(handle);
  auto& function = module->functions[name];
  if (!function) {
    try {
      function = std::make_unique<LoadedFunction>();
      function->module = module;
      function->program = std::make_unique<Program>(*module->image, name);
      function->dynamicShared = 48 * 1024 - std::min<uint64_t>(function->program->staticSharedBytes(), 48 * 1024);
    } catch (const std::exception&) {
      module->functions.erase(name);
      return CUDA_ERROR_NOT_FOUND;
    }
    driver.functions.insert(function.get());
  }
  *out = reinterpret_cast<CUfunction>(function.get());
  return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal(CUdeviceptr* address, size_t* bytes, CUmodule handle, const char* name) {
  PTX_CONTEXT;
  if (!driver.modules.contains(handle)) return CUDA_ERROR_INVALID_HANDLE;
  const Image& image = *reinterpret_cast<LoadedModule*>(handle)->image;
  const auto found = image.addresses().find(name);
  if (found == image.addresses().end()) return CUDA_ERROR_NOT_FOUND;
  if (address != nullptr) *address = found->second;
  if (bytes != nullptr) *bytes = static_cast<size_t>(image.variable(name)->bytes);
  return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction handle) {
  PTX_CONTEXT;
  if (!driver.functions.contains(handle)) return CUDA_ERROR_INVALID_HANDLE;
  const LoadedFunction& function = *reinterpret_cast<LoadedFunction*>(handle);
  const Program& program = *function.program;
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
      *value = program.maxThreads() > 0 ? program.maxThreads() : 1024;
      break;
    case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES: *value = static_cast<int>(program.staticSharedBytes()); break;
    case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES: *value = static_cast<int>(program.localBytes()); break;
    case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: *value = static_cast<int>(function.dynamicShared); break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = capabilityOf(program.image().module().target); break;
    default: *value = 0; break;  // registers are the assembler's matter
  }
  return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction handle, CUfunction_attribute attribute, int value) {
  PTX_CONTEXT;
  if (!driver.functions.contains(handle)) return CUDA_ERROR_INVALID_HANDLE;
  LoadedFunction& function = *reinterpret_cast<LoadedFunction*>(handle);
  if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
    const uint64_t most = context->device->sharedPerBlockOptIn();
    if (value < 0 || static_cast<uint64_t>(value) + function.program->staticSharedBytes() > most)
      return CUDA_ERROR_INVALID_VALUE;
    function.dynamicShared = static_cast<uint64_t>(value);
    return CUDA_SUCCESS;
  }
  return attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuLaunchKernel(CUfunction handle, unsigned int gridX, unsigned int gridY, unsigned int gridZ,
                        unsigned int blockX, unsigned int blockY, unsigned int blockZ, unsigned int sharedBytes,
                        CUstream stream, void** parameters, void** extra) {
  PTX_CONTEXT;
  if (!driver.functions.contains(handle)) return CUDA_ERROR_INVALID_HANDLE;
  if (stream > CU_STREAM_PER_THREAD && !driver.streams.contains(stream)) return CUDA_ERROR_INVALID_HANDLE;
  LoadedFunction& function = *reinterpret_cast<LoadedFunction*>(handle);
  Program& program = *function.program;
  if (function.module->context->device != context->device) return CUDA_ERROR_INVALID_CONTEXT;
  const Dim3 grid{gridX, gridY, gridZ}, block{blockX, blockY, blockZ};
  const uint64_t threads = block.count(), declared = static_cast<uint64_t>(program.maxThreads());
  const bool fits = grid.count() > 0 && gridY <= 65535 && gridZ <= 65535 && threads > 0 && threads <= 1024 &&
                    blockZ <= 64 && (declared == 0 || threads <= declared) && sharedBytes <= function.dynamicShared;
  if (!fits) return CUDA_ERROR_INVALID_VALUE;
  std::vector<uint8_t> bytes(program.kernelParameterBytes());
  if (!packedParameters(extra, bytes) && !bytes.empty()) {
    if (parameters == nullptr) return CUDA_ERROR_INVALID_VALUE;
    bytes = packParameters(program, parameters);
  }
  Queue::get().add([=, &program, bytes = std::move(bytes)] {
    const Lock inTurn(Driver::get().mutex);
    if (context->error != CUDA_SUCCESS) return;
    Device& device = *context->device;
    Launch launch(program, device.memory, device.report, device.options, grid, block, sharedBytes, bytes);
    // As on hardware, the launch succeeds and the context is what fails, from the next call on.
    if (const auto fault = launch.run()) context->error = errorOf(*fault);
  });
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction handle, int threads, size_t sharedBytes) {
  PTX_CONTEXT;
  if (!driver.functions.contains(handle)) return CUDA_ERROR_INVALID_HANDLE;
  if (threads <= 0 || threads > 1024) return CUDA_ERROR_INVALID_VALUE;
  // By threads and shared memory; how many registers a kernel takes is not known here.
  const uint64_t each = reinterpret_cast<LoadedFunction*>(handle)->program->staticSharedBytes() + sharedBytes + 1024;
  const uint64_t byShared = (context->device->sharedPerBlockOptIn() + 1024) / each;
  *blocks =
      static_cast<int>(std::min<uint64_t>({byShared, static_cast<uint64_t>(2048 / ((threads + 31) / 32 * 32)), 32}));
  return CUDA_SUCCESS;
}

}  // extern "C"
