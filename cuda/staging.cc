#include "staging.h"

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <vector>

namespace fused_attention::cuda {

namespace {

/// More than the most is copied from where it is: the driver has its own ways for that.
constexpr size_t kLeastPinned = size_t{64} << 10, kMostPinned = size_t{32} << 20;
/// What is kept although nobody uses it.
constexpr size_t kMostKept = size_t{64} << 20;

struct Kept {
  std::mutex mutex;
  std::map<size_t, std::vector<char*>> bySize;
  size_t bytes = 0;

  char* take(size_t size) {
    const std::lock_guard lock(mutex);
    std::vector<char*>& free = bySize[size];
    if (free.empty()) return nullptr;
    char* const data = free.back();
    free.pop_back();
    bytes -= size;
    return data;
  }
  /// False where there is enough already.
  bool put(size_t size, char* data) {
    const std::lock_guard lock(mutex);
    if (bytes + size > kMostKept) return false;
    bySize[size].push_back(data);
    bytes += size;
    return true;
  }
};

Kept& kept() {
  static Kept* const leaked = new Kept;  // calls may be in flight during exit()
  return *leaked;
}

/// Pinned, or null.
char* pin(const Driver& driver, size_t size) {
  if (char* const data = kept().take(size)) return data;
  void* data = nullptr;
  return driver.cuMemHostAlloc(&data, size, kHostAllocPortable) == kSuccess ? static_cast<char*>(data) : nullptr;
}

}  // namespace

Staging::Staging(const Driver& driver, size_t bytes)
    : driver_(driver), bytes_(bytes), pinned_(std::bit_ceil(std::max(bytes, kLeastPinned))) {
  if (bytes <= kMostPinned) data_ = pin(driver, pinned_);
}

Staging::~Staging() {
  if (data_ != nullptr && !kept().put(pinned_, data_)) driver_.cuMemFreeHost(data_);
}

}  // namespace fused_attention::cuda
