// Memory of devices as JavaScript holds it: externals that own a share of it. The functions are those of `Native` in
// lib/native.cts.
#pragma once

#include <napi.h>

#include <memory>

#include "../device_memory.h"

namespace fused_attention::binding {

Napi::Value openCudaDevice(const Napi::CallbackInfo& info);
Napi::Value allocateMemory(const Napi::CallbackInfo& info);
Napi::Value freeMemory(const Napi::CallbackInfo& info);

/// Throws CodedError ERR_INVALID_ARG_TYPE for anything but memory, ERR_DISPOSED where it has been freed.
std::shared_ptr<const TensorMemory> memoryOf(const Napi::Value& handle, const char* argument);

}  // namespace fused_attention::binding
