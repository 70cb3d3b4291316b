#include "device.h"

#include <cstdio>
#include <cstdlib>

#include "queue.h"

namespace fused_attention::ptx {

namespace {

// A number of the environment, with K, M or G behind it; `otherwise` when it is not set.
uint64_t setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return otherwise;
  char* end = nullptr;
  uint64_t value = std::strtoull(text, &end, 0);
  for (const char unit : {'K', 'M', 'G'}) {
    value *= 1024;
    if (*end == unit) return value;
  }
  return std::strtoull(text, nullptr, 0);
}

void writeReport() {
  const char* path = std::getenv("PTX_REPORT");
  Driver& driver = Driver::get();
  if (path == nullptr || driver.devices.empty()) return;
  Queue::get().drain();
  if (std::FILE* file = std::fopen(path, "w")) {
    std::fputc('[', file);
    for (const auto& device : driver.devices) {
      std::fprintf(file, "%s%s", device->ordinal > 0 ? "," : "", device->report.json().c_str());
    }
    std::fputs("]\n", file);
    std::fclose(file);
  }
}

void writeCalls() {
  const char* path = std::getenv("PTX_CALLS");
  if (path == nullptr) return;
  if (std::FILE* file = std::fopen(path, "w")) {
    const char* separator = "";
    std::fputc('{', file);
    for (const auto& [name, count] : Driver::get().calls) {
      std::fprintf(file, "%s\"%s\":%llu", separator, name.c_str(), static_cast<unsigned long long>(count));
      separator = ",";
    }
    std::fputs("}\n", file);
    std::fclose(file);
  }
}

}  // namespace

uint64_t Device::sharedPerBlockOptIn() const {
  const int capability = 10 * major + minor;
  if (capability >= 90 && capability < 120) return 227 * 1024;
  if (capability == 80 || capability == 87) return 163 * 1024;
  return capability >= 86 ? 99 * 1024 : 64 * 1024;
}

Driver& Driver::get() {
  // Never destroyed: threads may still call while the process ends.
  static Driver* const driver = new Driver;
  return *driver;
}

void Driver::initialize() {
  if (initialized) return;
  initialized = true;
  int major = 8, minor = 0;
  if (const char* text = std::getenv("PTX_DEVICE_CAPABILITY")) std::sscanf(text, "%d.%d", &major, &minor);
  const uint64_t count = setting("PTX_DEVICES", 1);
  if (setting("PTX_ASYNC", 0) != 0) Queue::get().defer();
  hostMemory = setting("PTX_HOST_MEMORY", uint64_t{1} << 40);
  for (uint64_t i = 0; i < count; ++i) {
    LaunchOptions options;
    options.seed = setting("PTX_SEED", 0);
    options.quantum = static_cast<int>(setting("PTX_QUANTUM", options.quantum));
    options.races = setting("PTX_RACES", 1) != 0;
    options.seconds = static_cast<double>(setting("PTX_SECONDS", 60));
    options.multiprocessors = static_cast<uint32_t>(setting("PTX_DEVICE_MULTIPROCESSORS", 108));
    devices.push_back(std::unique_ptr<Device>(
        new Device{static_cast<int>(i),
                   "PTX interpreter " + std::to_string(i),
                   major,
                   minor,
                   options.multiprocessors,
                   setting("PTX_DEVICE_POOLS", 1) != 0,
                   Memory(setting("PTX_DEVICE_MEMORY", uint64_t{4} << 30), globalWindow + i * windowBytes),
                   {},
                   options,
                   {}}));
    devices.back()->primary.device = devices.back().get();
  }
  std::atexit(writeReport);
  std::atexit(writeCalls);
}

Device* Driver::owner(CUdeviceptr address) {
  for (const auto& device : devices) {
    if (device->memory.containing(address) != nullptr) return device.get();
  }
  return nullptr;
}

std::vector<Context*>& contextStack() {
  static thread_local std::vector<Context*> stack;
  return stack;
}

Context* currentContext(CUresult& error) {
  error = CUDA_ERROR_INVALID_CONTEXT;
  if (contextStack().empty() || contextStack().back() == nullptr) return nullptr;
  Context* context = contextStack().back();
  if (!Driver::get().contexts.contains(context)) {
    error = CUDA_ERROR_CONTEXT_IS_DESTROYED;
    return nullptr;
  }
  error = context->error;
  return error == CUDA_SUCCESS ? context : nullptr;
}

}  // namespace fused_attention::ptx
