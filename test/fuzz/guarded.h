// Buffers of which not one byte beside them can be touched: each ends at a page without access and begins after one;
// the few bytes that alignment leaves over are poisoned. Buffers that a call only reads are mapped read-only.
#pragma once

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "input.h"
#include "problem_codec.h"

namespace fused_attention::fuzz {

class Guarded {
 public:
  explicit Guarded(const Input::Content& content) : size_(content.size) {
    if (!content.present || size_ == 0) return;
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    inner_ = (size_ + page - 1) / page * page;
    mapped_ = inner_ + 2 * page;
    base_ = static_cast<uint8_t*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) std::abort();
    pages_ = base_ + page;
    if (mprotect(pages_, inner_, PROT_READ | PROT_WRITE) != 0) std::abort();
    data_ = pages_ + (inner_ - size_) / 8 * 8;
    content.fill(data_);
    before_.assign(data_, data_ + size_);
    ASAN_POISON_MEMORY_REGION(pages_, static_cast<size_t>(data_ - pages_));
    ASAN_POISON_MEMORY_REGION(data_ + size_, static_cast<size_t>(pages_ + inner_ - data_) - size_);
  }
  Guarded(Guarded&& other) noexcept { *this = std::move(other); }
  Guarded& operator=(Guarded&& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(inner_, other.inner_);
    std::swap(mapped_, other.mapped_);
    std::swap(base_, other.base_);
    std::swap(pages_, other.pages_);
    std::swap(data_, other.data_);
    std::swap(before_, other.before_);
    return *this;
  }
  ~Guarded() {
    if (base_ == nullptr) return;
    ASAN_UNPOISON_MEMORY_REGION(pages_, inner_);
    munmap(base_, mapped_);
  }

  Buffer buffer() const { return data_ == nullptr ? Buffer{} : Buffer{data_, size_}; }

  void onlyRead() {
    if (data_ != nullptr && mprotect(pages_, inner_, PROT_READ) != 0) std::abort();
  }

  /// Aborts where bytes outside [begin, end) are not what they were.
  void requireOnlyWritten(const char* begin, const char* end) const {
    for (size_t i = 0; i < size_; ++i) {
      const char* at = reinterpret_cast<const char*>(data_ + i);
      if (at >= begin && at < end) continue;
      if (data_[i] != before_[i]) {
        std::fprintf(stderr, "byte %zu of a buffer of %zu was written outside the call's range\n", i, size_);
        std::abort();
      }
    }
  }

 private:
  size_t size_ = 0, inner_ = 0, mapped_ = 0;
  uint8_t* base_ = nullptr;
  uint8_t* pages_ = nullptr;
  uint8_t* data_ = nullptr;
  std::vector<uint8_t> before_;
};

/// All buffers of a call.
struct GuardedBuffers {
  std::vector<Guarded> memory;

  explicit GuardedBuffers(const std::vector<Input::Content>& contents) {
    for (const Input::Content& content : contents) memory.emplace_back(content);
  }

  std::vector<Buffer> buffers() const {
    std::vector<Buffer> all;
    for (const Guarded& one : memory) all.push_back(one.buffer());
    return all;
  }

  void protect(const std::vector<MemoryRange>& ranges) {
    std::vector<bool> written(memory.size());
    for (const MemoryRange& range : ranges) written[size_t(range.slot)] = written[size_t(range.slot)] || range.written;
    for (size_t slot = 0; slot < memory.size(); ++slot) {
      if (!written[slot]) memory[slot].onlyRead();
    }
  }

  void requireOnlyWritten(const std::vector<MemoryRange>& ranges) const {
    for (const MemoryRange& range : ranges) {
      if (range.written) memory[size_t(range.slot)].requireOnlyWritten(range.begin, range.end);
    }
  }
};

}  // namespace fused_attention::fuzz
