// The one exception that crosses from plain C++ to the binding: a stable code, and what the message of lib/errors.ts
// needs.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace fused_attention {

struct CodedError : std::runtime_error {
  std::string code;      // one of the codes of lib/errors.ts, "ERR_INTERNAL" if none fits
  std::string argument;  // "query", "options.mask[1]", ...; may be empty
  std::string expected;
  std::string received;

  CodedError(std::string code_, std::string argument_, std::string expected_, std::string received_)
      : std::runtime_error(argument_ + ": expected " + expected_ + " but received " + received_),
        code(std::move(code_)),
        argument(std::move(argument_)),
        expected(std::move(expected_)),
        received(std::move(received_)) {}
};

/// Thrown out of `run` when its cancel flag was seen; the binding reports it as an abort.
struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

}  // namespace fused_attention
