// Programs as JavaScript holds them: externals that own a share of a Program.
#pragma once

#include <napi.h>

#include <memory>

#include "../program/program.h"

namespace fused_attention::binding {

/// `program(numbers, tables)` of lib/native.cts.
Napi::Value makeProgram(const Napi::CallbackInfo& info);

/// Null for undefined and null. Throws CodedError ERR_INVALID_ARG_TYPE for anything but a program.
std::shared_ptr<const Program> programOf(Napi::Env env, const Napi::Value& handle, const char* argument);

}  // namespace fused_attention::binding
