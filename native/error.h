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

/// What an argument is called in errors. Its text is made only where there is one: names are given far more often.
class ArgumentName {
 public:
  ArgumentName(const char* text) : text_(text) {}
  /// The string has to outlive this.
  ArgumentName(const std::string& text) : text_(text.c_str()) {}
  /// "buffers[3]": lib/execution.ts puts the user's name for it in its place.
  static ArgumentName buffer(int slot, const char* rest = "") { return ArgumentName(rest, slot); }

  operator std::string() const { return slot_ < 0 ? text_ : "buffers[" + std::to_string(slot_) + "]" + text_; }

 private:
  ArgumentName(const char* rest, int slot) : text_(rest), slot_(slot) {}

  const char* text_;
  int slot_ = -1;
};

/// Thrown out of `run` when its cancel flag was seen; the binding reports it as an abort.
struct Cancelled : std::runtime_error {
  Cancelled() : std::runtime_error("cancelled") {}
};

}  // namespace fused_attention
