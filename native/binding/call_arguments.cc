#include "call_arguments.h"

#include "../error.h"
#include "device_memory_handle.h"
#include "program_handle.h"

namespace fused_attention::binding {

namespace {

[[noreturn]] void wrongType(const char* argument, const char* expected) {
  throw CodedError("ERR_INVALID_ARG_TYPE", argument, expected, "another value");
}

size_t bytesPerElement(napi_typedarray_type type) {
  switch (type) {
    case napi_int8_array:
    case napi_uint8_array:
    case napi_uint8_clamped_array: return 1;
    case napi_int16_array:
    case napi_uint16_array: return 2;
    case napi_int32_array:
    case napi_uint32_array:
    case napi_float32_array: return 4;
    case napi_float64_array:
    case napi_bigint64_array:
    case napi_biguint64_array: return 8;
    default: return 0;
  }
}

/// Also tells the type.
Buffer bufferOf(napi_env env, napi_value view, const char* argument, napi_typedarray_type& type) {
  type = static_cast<napi_typedarray_type>(-1);  // stays where Node-API does not know it
  size_t length = 0;
  void* data = nullptr;
  const napi_status status = napi_get_typedarray_info(env, view, &type, &length, &data, nullptr, nullptr);
  if (status == napi_invalid_arg) wrongType(argument, "a typed array or null");
  const size_t bytes = status == napi_ok ? length * bytesPerElement(type) : 0;
  if (status != napi_ok || bytesPerElement(type) == 0) wrongType(argument, "a typed array that Node-API knows");
  // Detached and out-of-bounds views have length 0, and an address that may be stale.
  return bytes == 0 ? Buffer{} : Buffer{data, bytes};
}

napi_value elementOf(Napi::Env env, napi_value array, uint32_t index) {
  napi_value element = nullptr;
  if (napi_get_element(env, array, index, &element) != napi_ok) throw Napi::Error::New(env);
  return element;
}

}  // namespace

Buffer bufferOf(napi_env env, napi_value view, const char* argument) {
  napi_typedarray_type type;
  return bufferOf(env, view, argument, type);
}

Numbers numbersOf(napi_env env, napi_value view, const char* argument) {
  napi_typedarray_type type;
  const Buffer buffer = bufferOf(env, view, argument, type);
  if (type != napi_float64_array) wrongType(argument, "a Float64Array");
  return {static_cast<const double*>(buffer.data), buffer.bytes / sizeof(double)};
}

CallArguments readCall(const Napi::CallbackInfo& info, size_t first) {
  const Napi::Env env = info.Env();
  const Napi::Value buffers = info[first + 1], copied = info[first + 4];
  if (!buffers.IsArray()) wrongType("call.buffers", "an array");
  if (!copied.IsUndefined() && !copied.IsArray()) wrongType("call.copied", "an array");

  // Getters can run JavaScript: every value is fetched before the first address is taken.
  CallArguments arguments;
  arguments.programs = {programOf(env, info[first + 2], "call.mask"), programOf(env, info[first + 3], "call.score")};
  const uint32_t slots = buffers.As<Napi::Array>().Length();
  arguments.views.assign(slots, nullptr);
  arguments.buffers.resize(slots);
  for (uint32_t slot = 0; slot < slots; ++slot) {
    const Napi::Value view(env, elementOf(env, buffers, slot));
    if (view.IsExternal()) {
      arguments.memory.push_back(memoryOf(view, "call.buffers"));
      arguments.buffers[slot] = arguments.memory.back()->buffer();
    } else if (!view.IsNull() && !view.IsUndefined()) {
      arguments.views[slot] = view;
    }
  }
  if (copied.IsArray()) {
    arguments.copied.assign(slots, false);
    for (uint32_t slot = 0; slot < slots; ++slot) {
      const Napi::Value copy(env, elementOf(env, copied, slot));
      const bool ofHost = arguments.buffers[slot].device == Buffer::kHost;
      arguments.copied[slot] = ofHost && copy.IsBoolean() && copy.As<Napi::Boolean>().Value();
      arguments.anyCopied |= arguments.copied[slot];
    }
  }

  arguments.numbers = numbersOf(env, info[first], "call.numbers");
  for (uint32_t slot = 0; slot < slots; ++slot) {
    if (arguments.views[slot] != nullptr)
      arguments.buffers[slot] = bufferOf(env, arguments.views[slot], "call.buffers");
  }
  return arguments;
}

}  // namespace fused_attention::binding
