// The instructions that kernels write out: tensor cores, matrix loads, asynchronous copies, fast functions.
#pragma once

#include <cstdint>

namespace fused_attention::cuda {

struct Float16 {
  static constexpr int bytes = 2;
};
struct BFloat16 {
  static constexpr int bytes = 2;
};
struct Float32 {
  static constexpr int bytes = 4;
};

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

/// Four bytes of shared memory.
template <int offset>
__device__ __forceinline__ uint32_t loadShared(uint32_t from) {
  uint32_t word;
  asm volatile("ld.shared.b32 %0, [%1 + %2];" : "=r"(word) : "r"(from), "n"(offset) : "memory");
  return word;
}

// --- products: 16 rows of 32 bytes by 8 columns ---

/// Operands as tensor cores take them: halves as they are.
template <class Type>
struct Left {
  uint32_t all[4];

  Left() = default;
  __device__ __forceinline__ explicit Left(const uint32_t (&x)[4]) : all{x[0], x[1], x[2], x[3]} {}
};
template <class Type>
struct Right {
  uint32_t all[2];

  __device__ __forceinline__ Right(uint32_t x, uint32_t y) : all{x, y} {}
};

/// Of a float32 the 11 bits that tensor cores take, and of the rest as many again: they ignore what comes after them.
struct SplitFloat {
  uint32_t big, small;

  __device__ __forceinline__ explicit SplitFloat(uint32_t bits) {
    const float x = __uint_as_float(bits);
    // Volatile, else the parts of queries are kept in registers that there are too few of.
    asm volatile("cvt.rna.tf32.f32 %0, %1;" : "=r"(big) : "f"(x));
    small = __float_as_uint(x - __uint_as_float(big));
  }
};
template <>
struct Left<Float32> {
  uint32_t big[4], small[4];

  Left() = default;
  __device__ __forceinline__ explicit Left(const uint32_t (&x)[4]) {
    for (int n = 0; n < 4; ++n) {
      const SplitFloat split(x[n]);
      big[n] = split.big;
      small[n] = split.small;
    }
  }
};
template <>
struct Right<Float32> {
  uint32_t big[2], small[2];

  __device__ __forceinline__ Right(uint32_t x, uint32_t y) {
    const SplitFloat first(x), second(y);
    big[0] = first.big;
    big[1] = second.big;
    small[0] = first.small;
    small[1] = second.small;
  }
};

/// d = a b + c.
#define FUSED_ATTENTION_MMA(shape, type, d, a, b, c)                                                                \
  asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type                                              \
               ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                           \
               : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                                                     \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), \
                 "f"(c[3]))
__device__ __forceinline__ void multiply(float (&d)[4], const Left<Float16>& a, const Right<Float16>& b,
                                         const float (&c)[4]) {
  FUSED_ATTENTION_MMA("m16n8k16", "f16", d, a.all, b.all, c);
}
__device__ __forceinline__ void multiply(float (&d)[4], const Left<BFloat16>& a, const Right<BFloat16>& b,
                                         const float (&c)[4]) {
  FUSED_ATTENTION_MMA("m16n8k16", "bf16", d, a.all, b.all, c);
}
__device__ __forceinline__ void multiply(float (&d)[4], const Left<Float32>& a, const Right<Float32>& b,
                                         const float (&c)[4]) {
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", d, a.small, b.big, c);
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", d, a.big, b.small, d);
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", d, a.big, b.big, d);
}

/// With what the smallest parts add: it tells in sums of few products.
template <class Type>
__device__ __forceinline__ void multiplyExactly(float (&d)[4], const Left<Type>& a, const Right<Type>& b,
                                                const float (&c)[4]) {
  multiply(d, a, b, c);
}
__device__ __forceinline__ void multiplyExactly(float (&d)[4], const Left<Float32>& a, const Right<Float32>& b,
                                                const float (&c)[4]) {
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", d, a.small, b.small, c);
  multiply(d, a, b, d);
}

/// All bits of some float32, in parts that tensor cores take whole.
template <int count>
struct WholeFloats {
  uint32_t parts[3][count];

  __device__ __forceinline__ explicit WholeFloats(const uint32_t (&x)[count]) {
    for (int n = 0; n < count; ++n) {
      const SplitFloat first(x[n]), second(first.small);
      parts[0][n] = first.big;
      parts[1][n] = second.big;
      parts[2][n] = second.small;
    }
  }
};

/// d = a b, as good as products and a sum of float32: smallest parts first, which meet the largest rounded to nearest,
/// as tensor cores cut off.
__device__ __forceinline__ void multiplyWhole(float (&d)[4], const WholeFloats<4>& a, const WholeFloats<2>& b) {
  const float zero[4] = {};
  float rest[4];
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", rest, a.parts[1], b.parts[1], zero);
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", rest, a.parts[2], b.parts[0], rest);
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", rest, a.parts[0], b.parts[2], rest);
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", rest, a.parts[1], b.parts[0], rest);
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", rest, a.parts[0], b.parts[1], rest);
  FUSED_ATTENTION_MMA("m16n8k8", "tf32", d, a.parts[0], b.parts[0], zero);
  for (int n = 0; n < 4; ++n) d[n] += rest[n];
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
__device__ __forceinline__ float2 rounded(Float32, float low, float high) { return {low, high}; }

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
