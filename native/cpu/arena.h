// Scratch memory of one call on one thread: aligned, reused by the next call, never grown past what one task needs.
#pragma once

#include <cstddef>

namespace fused_attention {

class Arena {
 public:
  /// This thread's arena with room for `bytes`, 64-byte aligned; contents are undefined. Throws std::bad_alloc.
  static Arena& local(size_t bytes);

  template <typename T>
  T* take(size_t count) {
    T* p = reinterpret_cast<T*>(base_ + used_);
    used_ += (count * sizeof(T) + 63) / 64 * 64;
    return p;
  }

  /// What `take` uses up for `count` of T.
  template <typename T>
  static size_t bytesFor(size_t count) {
    return (count * sizeof(T) + 63) / 64 * 64;
  }

  ~Arena();

 private:
  char* base_ = nullptr;
  size_t capacity_ = 0, used_ = 0;
};

}  // namespace fused_attention
