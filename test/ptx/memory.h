// Memory of a device: allocations at addresses of their own, so that every access is known to lie in a live one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace fused_attention::ptx {

// Windows of the generic address space. Global addresses lie above all of them.
inline constexpr uint64_t sharedWindow = 0x0100'0000'0000, localWindow = 0x0200'0000'0000,
                          paramWindow = 0x0300'0000'0000, globalWindow = 0x0400'0000'0000,
                          windowBytes = 0x0100'0000'0000;

class Memory {
 public:
  struct Allocation {
    uint64_t address, bytes;
    std::unique_ptr<uint8_t[]> owned;
    uint8_t* data;
    bool live;
  };

  // Devices of one process begin at different addresses, so that an address tells its device.
  explicit Memory(uint64_t capacity, uint64_t first = globalWindow) : capacity_(capacity), next_(first) {}

  // 0 when the device has no room. Fresh memory is poisoned: every float of it is a NaN.
  uint64_t allocate(uint64_t bytes);
  // Makes memory of the host visible to kernels at its own address.
  void map(void* data, uint64_t bytes);
  bool release(uint64_t address);

  // Host bytes of [address, address + bytes), or null when they are not inside one live allocation.
  uint8_t* find(uint64_t address, uint64_t bytes) {
    if (last_ != nullptr && address - last_->address < last_->bytes &&
        bytes <= last_->bytes - (address - last_->address)) {
      return last_->data + (address - last_->address);
    }
    return search(address, bytes);
  }
  // Where an address that `find` refuses lies: "12 bytes past an allocation of 64 bytes".
  std::string describe(uint64_t address) const;
  const Allocation* containing(uint64_t address) const;

  uint64_t capacity() const { return capacity_; }
  uint64_t used() const { return used_; }
  size_t live() const;

 private:
  uint8_t* search(uint64_t address, uint64_t bytes);

  uint64_t capacity_, used_ = 0, next_;
  std::map<uint64_t, Allocation> allocations_;  // freed ones stay known, without their bytes
  const Allocation* last_ = nullptr;
};

}  // namespace fused_attention::ptx
