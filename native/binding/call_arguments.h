// A NativeCall of lib/native.cts, read: where its numbers and buffers lie. Valid while no JavaScript runs.
#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "../device_memory.h"

namespace fused_attention::binding {

/// The contents of a Float64Array.
struct Numbers {
  const double* data = nullptr;
  size_t count = 0;
};

struct CallArguments {
  Numbers numbers;
  std::vector<napi_value> views;  // null where there is no buffer, or one of a device
  std::vector<Buffer> buffers;
  std::vector<bool> copied;  // buffers that a call in flight must not rely on; of use where any is
  bool anyCopied = false;
  std::vector<std::shared_ptr<const TensorMemory>> memory;  // of devices; as long as the call uses it
  Programs programs;
};

/// Reads a function's arguments from the one numbered `first` on. Throws CodedError ERR_INVALID_ARG_TYPE, or
/// Napi::Error where a getter threw.
CallArguments readCall(const Napi::CallbackInfo& info, size_t first);

/// Address and bytes of a typed array as it is now; empty when it is detached or out of bounds.
Buffer bufferOf(napi_env env, napi_value view, const char* argument);

/// The same of a Float64Array, and of nothing else.
Numbers numbersOf(napi_env env, napi_value view, const char* argument);

}  // namespace fused_attention::binding
