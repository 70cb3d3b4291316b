// Shared memory of one block, and what is known of each of its bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "races.h"

namespace fused_attention::ptx {

class SharedMemory {
 public:
  SharedMemory(uint64_t bytes, int warps, int cellBytes)
      : data_(bytes, 0xff), initialized_(bytes, 0), inFlight_(bytes, 0), races_(warps, bytes, cellBytes) {}

  uint64_t bytes() const { return data_.size(); }
  bool holds(uint64_t address, int width) const {
    return address <= bytes() && static_cast<uint64_t>(width) <= bytes() - address;
  }
  uint8_t* at(uint64_t address) { return data_.data() + address; }

  bool initialized(uint64_t address, int width) const {
    return std::memchr(&initialized_[address], 0, width) == nullptr;
  }
  bool inFlight(uint64_t address, int width) const {
    uint8_t any = 0;
    for (int byte = 0; byte < width; ++byte) any |= inFlight_[address + byte];
    return any != 0;
  }
  void initialize(uint64_t address, int width) { std::memset(&initialized_[address], 1, width); }
  void startFlight(uint64_t address, int width) {
    for (int byte = 0; byte < width; ++byte) ++inFlight_[address + byte];
  }
  void land(uint64_t address, const uint8_t* from, int width) {
    std::memcpy(at(address), from, width);
    initialize(address, width);
    for (int byte = 0; byte < width; ++byte) --inFlight_[address + byte];
  }
  RaceDetector& races() { return races_; }

 private:
  std::vector<uint8_t> data_, initialized_, inFlight_;
  RaceDetector races_;
};

}  // namespace fused_attention::ptx
