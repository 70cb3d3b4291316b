// What went wrong, as plain data: made on any thread, turned into a JavaScript error on the thread of its environment.
#pragma once

#include <napi.h>

#include <string>

namespace fused_attention::binding {

/// An error of lib/native.cts, `NativeError`.
struct Failure {
  std::string code, message, argument, expected, received;
};

/// The exception being handled. Call inside a catch block.
Failure currentFailure() noexcept;

Failure aborted();

/// Never throws; where no error can be made (the environment is going away) the result is empty.
napi_value toError(napi_env env, const Failure& failure) noexcept;

/// Runs the body of an exported function; whatever it throws becomes a JavaScript exception.
template <class Body>
napi_value guarded(napi_env env, Body body) noexcept {
  try {
    return body();
  } catch (const Napi::Error& error) {
    // A JavaScript exception met on the way, e.g. from a getter.
    bool pending = false;
    if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) napi_throw(env, error.Value());
  } catch (...) {
    if (const napi_value error = toError(env, currentFailure())) napi_throw(env, error);
  }
  return nullptr;
}

}  // namespace fused_attention::binding
