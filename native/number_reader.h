// Reads the numbers of a call one after the other. Any double is possible in any place.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

#include "error.h"

namespace fused_attention {

inline constexpr int64_t kMostInteger = int64_t{1} << 53;

inline std::string textOf(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

class NumberReader {
 public:
  NumberReader(const double* numbers, size_t count) : next_(numbers), end_(numbers + count) {}

  double number() {
    if (next_ == end_) throw CodedError("ERR_INVALID_ARG_VALUE", "call", "more numbers", "too few");
    return *next_++;
  }

  double finite(const char* argument) {
    const double value = number();
    if (!std::isfinite(value)) throw CodedError("ERR_OUT_OF_RANGE", argument, "a finite number", textOf(value));
    return value;
  }

  int64_t integer(ArgumentName argument, int64_t least, int64_t most) {
    const double value = number();
    if (!(value >= static_cast<double>(least) && value <= static_cast<double>(most)) || value != std::floor(value)) {
      throw CodedError("ERR_OUT_OF_RANGE", argument,
                       "an integer from " + std::to_string(least) + " to " + std::to_string(most), textOf(value));
    }
    return static_cast<int64_t>(value);
  }

  int64_t stride(ArgumentName argument) { return integer(argument, -kMostInteger, kMostInteger); }

  bool atEnd() const { return next_ == end_; }

  void finish() const {
    if (next_ != end_) {
      throw CodedError("ERR_INVALID_ARG_VALUE", "call", "as many numbers as the call needs",
                       std::to_string(end_ - next_) + " more");
    }
  }

 private:
  const double* next_;
  const double* end_;
};

}  // namespace fused_attention
