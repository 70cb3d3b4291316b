// The kernels for neon: this file's compiler flags, in CMakeLists.txt, are what sets it apart.
#include "../kernels.inl"

namespace fused_attention {

const Kernels* neonKernels() {
  static constexpr Kernels table = tableFor(Isa::neon);
  return &table;
}

}  // namespace fused_attention
