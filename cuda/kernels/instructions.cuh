// The instructions that kernels write out: tensor cores, matrix loads, asynchronous copies, fast functions.
#pragma once

#include <cstdint>

namespace fused_attention::cuda {

struct Float16 {};
struct BFloat16 {};

/// A number that is known at compile time where it is handed on.
template <int n>
struct Constant {
  static constexpr int value = n;
  constexpr operator int() const { return n; }
};

/// f(Constant<0>), f(Constant<1>), ... f(Constant<count - 1>): addresses become immediates of their instructions.
template <int count, int from = 0, class F>
__device__ __forceinline__ void unrolled(F f) {
  if constexpr (from < count) {
    f(Constant<from>());
    unrolled<count, from + 1>(f);
  }
}

__device__ __forceinline__ uint32_t sharedAddress(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// --- asynchronous copies ---

/// 16 bytes to shared memory, of which the first `bytes` are read and the others are 0.
template <int offset>
__device__ __forceinline__ void copyAsync(uint32_t to, const void* from, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0 + %3], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes), "n"(offset)
               : "memory");
}

__device__ __forceinline__ void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// Waits until at most `pending` groups of this thread are under way.
template <int pending>
__device__ __forceinline__ void awaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

// --- fragments ---

/// Four 8x8 matrices of halves; lane l gives the address of row l % 8 of matrix l / 8.
template <int offset>
__device__ __forceinline__ void loadMatrices(uint32_t (&to)[4], uint32_t from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from), "n"(offset)
               : "memory");
}

template <int offset>
__device__ __forceinline__ void loadTransposed(uint32_t (&to)[4], uint32_t from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4 + %5];"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(from), "n"(offset)
               : "memory");
}

/// d = a b + c, 16x16 by 16x8.
#define FUSED_ATTENTION_MMA(type)                                                                               \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                                           \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                       \
               : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                                                 \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(c[0]), "f"(c[1]), "f"(c[2]), \
                 "f"(c[3]))
__device__ __forceinline__ void multiply(Float16, float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                         const float (&c)[4]) {
  FUSED_ATTENTION_MMA("f16");
}
__device__ __forceinline__ void multiply(BFloat16, float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1,
                                         const float (&c)[4]) {
  FUSED_ATTENTION_MMA("bf16");
}
#undef FUSED_ATTENTION_MMA

/// Two numbers rounded to a type, the first one in the low half.
__device__ __forceinline__ uint32_t rounded(Float16, float low, float high) {
  uint32_t both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
__device__ __forceinline__ uint32_t rounded(BFloat16, float low, float high) {
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

// --- functions of one number ---

__device__ __forceinline__ float exp2Fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float log2Fast(float x) {
  float y;
  asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
__device__ __forceinline__ float reciprocalFast(float x) {
  float y;
  asm("rcp.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// --- the four lanes that share a row of an accumulator ---

template <class F>
__device__ __forceinline__ float overQuad(float x, F join) {
  x = join(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return join(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

}  // namespace fused_attention::cuda
