#include "memory.h"

#include <cstring>
#include <new>

namespace fused_attention::ptx {

uint64_t Memory::allocate(uint64_t bytes) {
  if (bytes > capacity_ - used_) return 0;
  // Aligned as device memory is, so that hosts' vectors of it are aligned too.
  std::unique_ptr<uint8_t[]> owned(new (std::nothrow) uint8_t[bytes + 256]);
  if (!owned) return 0;
  uint8_t* data = owned.get() + (256 - reinterpret_cast<uintptr_t>(owned.get()) % 256) % 256;
  std::memset(data, 0xff, bytes);
  used_ += bytes;
  const uint64_t address = next_;
  // A gap, so that no overrun reaches the next one, of a tile of rows neither.
  next_ += (bytes + 4095) / 4096 * 4096 + (64 << 10);
  allocations_[address] = {address, bytes, std::move(owned), data, true};
  return address;
}

void Memory::map(void* data, uint64_t bytes) {
  const uint64_t address = reinterpret_cast<uint64_t>(data);
  last_ = nullptr;
  allocations_[address] = {address, bytes, nullptr, static_cast<uint8_t*>(data), true};
}

bool Memory::release(uint64_t address) {
  const auto found = allocations_.find(address);
  if (found == allocations_.end() || !found->second.live) return false;
  if (found->second.owned) used_ -= found->second.bytes;
  found->second.live = false;
  found->second.owned.reset();
  last_ = nullptr;
  return true;
}

const Memory::Allocation* Memory::containing(uint64_t address) const {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return nullptr;
  const Allocation& allocation = std::prev(after)->second;
  return address - allocation.address < allocation.bytes ? &allocation : nullptr;
}

uint8_t* Memory::search(uint64_t address, uint64_t bytes) {
  const Allocation* allocation = containing(address);
  if (allocation == nullptr || !allocation->live) return nullptr;
  last_ = allocation;
  const uint64_t offset = address - allocation->address;
  return bytes <= allocation->bytes - offset ? allocation->data + offset : nullptr;
}

std::string Memory::describe(uint64_t address) const {
  auto after = allocations_.upper_bound(address);
  if (after == allocations_.begin()) return "before every allocation";
  const Allocation& before = std::prev(after)->second;
  const std::string what =
      (before.live ? "an allocation of " : "a freed allocation of ") + std::to_string(before.bytes) + " bytes";
  const uint64_t offset = address - before.address;
  if (offset < before.bytes) return "byte " + std::to_string(offset) + " of " + what;
  if (after != allocations_.end() && after->first - address < offset - before.bytes) {
    return std::to_string(after->first - address) + " bytes before an allocation of " +
           std::to_string(after->second.bytes) + " bytes";
  }
  return std::to_string(offset - before.bytes) + " bytes past " + what;
}

size_t Memory::live() const {
  size_t count = 0;
  for (const auto& [address, allocation] : allocations_) count += allocation.live;
  return count;
}

}  // namespace fused_attention::ptx
