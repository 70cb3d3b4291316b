#include "program_handle.h"

#include <vector>

#include "../error.h"
#include "call_arguments.h"

namespace fused_attention::binding {

namespace {

using Held = std::shared_ptr<const Program>;

/// Tells our externals from those of other addons.
constexpr napi_type_tag kTag = {0x3f1d6c0e8a5b4f27, 0x9c42e7710bd35a66};

}  // namespace

Napi::Value makeProgram(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[1].IsArray()) throw CodedError("ERR_INVALID_ARG_TYPE", "program.tables", "an array", "another value");
  // Getters can run JavaScript: every value is fetched before the first address is taken.
  const Napi::Array tables = info[1].As<Napi::Array>();
  std::vector<napi_value> views;
  for (uint32_t k = 0; k < tables.Length(); ++k) views.push_back(tables.Get(k));
  const Numbers numbers = numbersOf(env, info[0], "program.numbers");
  std::vector<Buffer> buffers;
  for (const napi_value view : views) buffers.push_back(bufferOf(env, view, "program.tables"));

  auto held = std::make_unique<Held>(decodeProgram(numbers.data, numbers.count, buffers));
  const auto release = [](Napi::Env, Held* program) { delete program; };
  const auto handle = Napi::External<Held>::New(env, held.get(), release);
  held.release();
  handle.TypeTag(&kTag);
  return handle;
}

std::shared_ptr<const Program> programOf(Napi::Env, const Napi::Value& handle, const char* argument) {
  if (handle.IsUndefined() || handle.IsNull()) return nullptr;
  if (!handle.IsExternal() || !handle.As<Napi::External<Held>>().CheckTypeTag(&kTag)) {
    throw CodedError("ERR_INVALID_ARG_TYPE", argument, "a program", "another value");
  }
  return *handle.As<Napi::External<Held>>().Data();
}

}  // namespace fused_attention::binding
