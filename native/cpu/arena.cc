#include "arena.h"

#include <cstdlib>
#include <new>

namespace fused_attention {

namespace {
constexpr std::align_val_t kAlignment{64};
}

Arena& Arena::local(size_t bytes) {
  static thread_local Arena arena;
  arena.used_ = 0;
  if (arena.capacity_ < bytes) {
    ::operator delete(arena.base_, kAlignment);
    arena.base_ = nullptr;
    arena.capacity_ = 0;
    arena.base_ = static_cast<char*>(::operator new(bytes, kAlignment));
    arena.capacity_ = bytes;
  }
  return arena;
}

Arena::~Arena() { ::operator delete(base_, kAlignment); }

}  // namespace fused_attention
