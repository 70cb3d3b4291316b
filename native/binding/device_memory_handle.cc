#include "device_memory_handle.h"

#include <utility>

#include "../error.h"
#include "environment.h"

namespace fused_attention::binding {

namespace {

struct Held {
  std::shared_ptr<const TensorMemory> memory;  // null when it has been freed
  std::shared_ptr<ExternalMemory> external;    // whose garbage collector reckons with it

  void free(napi_env env) {
    if (!memory) return;
    external->onDevices -= int64_t(memory->buffer().bytes);
    memory.reset();
    external->report(env);
  }
};

/// Tells our externals from those of other addons, and memory from the others of ours.
constexpr napi_type_tag kTag = {0x5be90d7a3c1f4482, 0x8fd4261b97e05c3d};

Held& heldBy(const Napi::Value& handle, const char* argument) {
  if (!handle.IsExternal() || !handle.As<Napi::External<Held>>().CheckTypeTag(&kTag)) {
    throw CodedError("ERR_INVALID_ARG_TYPE", argument, "memory of a device", "another value");
  }
  return *handle.As<Napi::External<Held>>().Data();
}

/// A count that a double has exactly.
int64_t countOf(const Napi::Value& value, const char* argument, int64_t most) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= double(most))) {
    throw CodedError("ERR_OUT_OF_RANGE", argument, "a count", "another value");
  }
  return int64_t(number);
}

int deviceOf(const Napi::Value& value) { return int(countOf(value, "device", 1 << 30)); }

}  // namespace

Napi::Value openCudaDevice(const Napi::CallbackInfo& info) {
  Job::Task task;
  task.onDevice = true;
  task.compute = [device = deviceOf(info[1])](const CancelFlag&) { openDevice(device); };
  return Napi::Number::New(info.Env(), info.Env().GetInstanceData<Environment>()->start(std::move(task), {}, info[0]));
}

Napi::Value allocateMemory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const int64_t bytes = countOf(info[1], "tensor", int64_t{1} << 53);
  auto held = std::make_unique<Held>(
      Held{allocateOn(deviceOf(info[0]), size_t(bytes)), env.GetInstanceData<Environment>()->externalMemory()});
  const auto release = [](Napi::Env env, Held* garbage) {
    garbage->free(env);
    delete garbage;
  };
  const auto handle = Napi::External<Held>::New(env, held.get(), release);
  Held& owned = *held.release();
  handle.TypeTag(&kTag);
  owned.external->onDevices += bytes;
  owned.external->report(env);
  return handle;
}

Napi::Value freeMemory(const Napi::CallbackInfo& info) {
  heldBy(info[0], "tensor").free(info.Env());
  return info.Env().Undefined();
}

std::shared_ptr<const TensorMemory> memoryOf(const Napi::Value& handle, const char* argument) {
  const Held& held = heldBy(handle, argument);
  if (!held.memory) throw CodedError("ERR_DISPOSED", argument, "memory that is not freed", "memory that is");
  return held.memory;
}

}  // namespace fused_attention::binding
