// The bytes that a fuzzer mutates, read as what the addon is given: lists of numbers, and buffers. Every string of
// bytes is an input; where it ends early, zeros follow.
//
//   number   two bytes, a signed integer; 0x7fff announces a double in the next eight
//   list     count in two bytes, then so many numbers
//   buffer   size in two bytes (0xffff: no buffer), then its content in the following bytes, repeated to fill it:
//            one byte with the content's length, then that
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace fused_attention::fuzz {

class Input {
 public:
  Input(const uint8_t* data, size_t size) : next_(data), end_(data + size) {}

  uint8_t byte() { return next_ < end_ ? *next_++ : 0; }

  uint16_t word() {
    const uint8_t low = byte();
    return static_cast<uint16_t>(low | byte() << 8);
  }

  double number() {
    const uint16_t bits = word();
    if (bits != 0x7fff) return static_cast<int16_t>(bits);
    uint8_t bytes[8];
    for (uint8_t& part : bytes) part = byte();
    double value;
    std::memcpy(&value, bytes, 8);
    return value;
  }

  std::vector<double> list() {
    std::vector<double> numbers(std::min<size_t>(word(), 32768));
    for (double& number : numbers) number = this->number();
    return numbers;
  }

  /// Size of a buffer and what fills it.
  struct Content {
    bool present = false;
    size_t size = 0;
    std::vector<uint8_t> pattern;

    void fill(uint8_t* to) const {
      for (size_t i = 0; i < size; ++i) to[i] = pattern.empty() ? 0 : pattern[i % pattern.size()];
    }
  };

  Content content() {
    Content made;
    const uint16_t size = word();
    if (size == 0xffff) return made;
    made.present = true;
    made.size = size;
    made.pattern.resize(byte());
    for (uint8_t& part : made.pattern) part = byte();
    return made;
  }

  std::vector<Content> contents() {
    std::vector<Content> all(byte());
    for (Content& one : all) one = content();
    return all;
  }

 private:
  const uint8_t* next_;
  const uint8_t* end_;
};

}  // namespace fused_attention::fuzz
