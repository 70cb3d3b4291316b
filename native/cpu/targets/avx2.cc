// The kernels for avx2: this file's compiler flags, in CMakeLists.txt, are what sets it apart.
#include "../kernels.inl"

namespace fused_attention {

const Kernels* avx2Kernels() {
  static constexpr Kernels table = tableFor(Isa::avx2);
  return &table;
}

}  // namespace fused_attention
