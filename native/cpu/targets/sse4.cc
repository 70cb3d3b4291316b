// The kernels for sse4: this file's compiler flags, in CMakeLists.txt, are what sets it apart.
#include "../kernels.inl"

namespace fused_attention {

const Kernels* sse4Kernels() {
  static constexpr Kernels table = tableFor(Isa::sse4);
  return &table;
}

}  // namespace fused_attention
