// How addons export their functions: whatever one throws becomes a JavaScript exception.
#pragma once

#include <napi.h>

#include "failure.h"

namespace fused_attention::binding {

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
Napi::Value guardedExport(const Napi::CallbackInfo& info) {
  return Napi::Value(info.Env(), guarded(info.Env(), [&]() -> napi_value { return function(info); }));
}

template <Napi::Value (*function)(const Napi::CallbackInfo&)>
void addExport(Napi::Object& exports, const char* name) {
  exports.Set(name, Napi::Function::New<guardedExport<function>>(exports.Env(), name));
}

}  // namespace fused_attention::binding
