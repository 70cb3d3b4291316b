// The kernels for avx512: this file's compiler flags, in CMakeLists.txt, are what sets it apart.
#include "../kernels.inl"

namespace fused_attention {

const Kernels* avx512Kernels() {
  static constexpr Kernels table = tableFor(Isa::avx512);
  return &table;
}

}  // namespace fused_attention
