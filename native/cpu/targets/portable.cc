// The kernels for portable: this file's compiler flags, in CMakeLists.txt, are what sets it apart.
#include "../kernels.inl"

namespace fused_attention {

const Kernels* portableKernels() {
  static constexpr Kernels table = tableFor(Isa::portable);
  return &table;
}

}  // namespace fused_attention
