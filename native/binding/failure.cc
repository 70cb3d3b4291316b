#include "failure.h"

#include <exception>
#include <new>

#include "../error.h"

namespace fused_attention::binding {

namespace {

void setText(napi_env env, napi_value object, const char* name, const std::string& text) {
  napi_value value;
  if (napi_create_string_utf8(env, text.data(), text.size(), &value) == napi_ok) {
    napi_set_named_property(env, object, name, value);
  }
}

}  // namespace

Failure aborted() { return {"ABORT_ERR", "The operation was aborted", "", "", ""}; }

Failure currentFailure() noexcept {
  try {
    try {
      throw;
    } catch (const CodedError& error) {
      return {error.code, error.what(), error.argument, error.expected, error.received};
    } catch (const Cancelled&) {
      return aborted();
    } catch (const std::bad_alloc&) {
      return {"ERR_OUT_OF_MEMORY", "out of memory", "", "enough memory for the call", "a failed allocation"};
    } catch (const std::length_error&) {
      return {"ERR_OUT_OF_MEMORY", "out of memory", "", "enough memory for the call", "a size beyond any memory"};
    } catch (const std::exception& error) {
      return {"ERR_INTERNAL", error.what(), "", "no internal failure", error.what()};
    } catch (...) {
      return {"ERR_INTERNAL", "unknown exception", "", "no internal failure", "an unknown exception"};
    }
  } catch (...) {
    return {};  // not even the strings could be made
  }
}

napi_value toError(napi_env env, const Failure& failure) noexcept {
  napi_value message, error;
  if (napi_create_string_utf8(env, failure.message.data(), failure.message.size(), &message) != napi_ok) return nullptr;
  if (napi_create_error(env, nullptr, message, &error) != napi_ok) return nullptr;
  setText(env, error, "code", failure.code.empty() ? "ERR_OUT_OF_MEMORY" : failure.code);
  setText(env, error, "argument", failure.argument);
  setText(env, error, "expected", failure.expected);
  setText(env, error, "received", failure.received);
  return error;
}

}  // namespace fused_attention::binding
