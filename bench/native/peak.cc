// Frozen yardsticks: how many float32 operations a second the calling thread can do, and how many bytes it can read.
//
// FMA peak: independent multiply-add chains that live in registers and touch no memory. There are enough chains to
// cover the latency of every processor we know (latency x pipes: 2 x 5 on x86, 4 x 4 on large Arm cores). One chain
// step counts two operations a lane. ISAs without a fused multiply-add do a multiply and an add, the most a kernel of
// that ISA can do.
//
// Read bandwidth: the sum of a buffer much larger than the caches, into eight vectors of accumulators.
//
// DO NOT TUNE: figures taken with different versions of this file can't be compared. A change is a new loop beside the
// old one, with a new name, and a note in bench/README.md.
#include "peak.h"

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace bench {
namespace {

// x <- x * kFactor + kTerm has its fixed point at 1: values neither grow, vanish nor become subnormal. The chains are
// written in assembly because a compiler that spills one of them to the stack would lower the yardstick.
constexpr float kFactor = 0.999f, kTerm = 0.001f, kStart = 1.5f;

#if defined(__x86_64__)

#define PEAK_EACH12(step) \
  step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8) step(9) step(10) step(11)
#define PEAK_EACH14(step) PEAK_EACH12(step) step(12) step(13)
#define PEAK_CLOBBER12 \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "cc"

double sse(int64_t rounds) {
  const __m128 factor = _mm_set1_ps(kFactor), term = _mm_set1_ps(kTerm);
  int64_t left = rounds;
#define PEAK_START(c) "movaps %[term], %%xmm" #c "\n\t"
#define PEAK_STEP(c) "mulps %[factor], %%xmm" #c "\n\taddps %[term], %%xmm" #c "\n\t"
  asm volatile(PEAK_EACH14(PEAK_START) "1:\n\t" PEAK_EACH14(PEAK_STEP) "dec %[left]\n\tjnz 1b"
               : [left] "+r"(left)
               : [factor] "x"(factor), [term] "x"(term)
               : PEAK_CLOBBER12, "xmm12", "xmm13");
#undef PEAK_START
#undef PEAK_STEP
  return 2.0 * 4 * 14 * rounds;
}

__attribute__((target("avx2,fma"))) double avx2(int64_t rounds) {
  const __m256 factor = _mm256_set1_ps(kFactor), term = _mm256_set1_ps(kTerm), start = _mm256_set1_ps(kStart);
  int64_t left = rounds;
#define PEAK_START(c) "vmovaps %[start], %%ymm" #c "\n\t"
#define PEAK_STEP(c) "vfmadd213ps %[term], %[factor], %%ymm" #c "\n\t"
  asm volatile(PEAK_EACH12(PEAK_START) "1:\n\t" PEAK_EACH12(PEAK_STEP) "dec %[left]\n\tjnz 1b"
               : [left] "+r"(left)
               : [factor] "x"(factor), [term] "x"(term), [start] "x"(start)
               : PEAK_CLOBBER12);
#undef PEAK_START
#undef PEAK_STEP
  return 2.0 * 8 * 12 * rounds;
}

__attribute__((target("avx512f"))) double avx512(int64_t rounds) {
  const __m512 factor = _mm512_set1_ps(kFactor), term = _mm512_set1_ps(kTerm), start = _mm512_set1_ps(kStart);
  int64_t left = rounds;
#define PEAK_START(c) "vmovaps %[start], %%zmm" #c "\n\t"
#define PEAK_STEP(c) "vfmadd213ps %[term], %[factor], %%zmm" #c "\n\t"
  asm volatile(PEAK_EACH12(PEAK_START) "1:\n\t" PEAK_EACH12(PEAK_STEP) "dec %[left]\n\tjnz 1b"
               : [left] "+r"(left)
               : [factor] "x"(factor), [term] "x"(term), [start] "x"(start)
               : PEAK_CLOBBER12);
#undef PEAK_START
#undef PEAK_STEP
  return 2.0 * 16 * 12 * rounds;
}

double sseRead(const float* data, size_t count) {
  __m128 sum[8];
  for (__m128& s : sum) s = _mm_setzero_ps();
  for (size_t i = 0; i + 32 <= count; i += 32) {
    _mm_prefetch(reinterpret_cast<const char*>(data + i + 512), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(data + i + 528), _MM_HINT_T0);
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) sum[c] = _mm_add_ps(sum[c], _mm_loadu_ps(data + i + 4 * c));
  }
  for (int c = 1; c < 8; ++c) sum[0] = _mm_add_ps(sum[0], sum[c]);
  return _mm_cvtss_f32(sum[0]);
}

__attribute__((target("avx2"))) double avx2Read(const float* data, size_t count) {
  __m256 sum[8];
  for (__m256& s : sum) s = _mm256_setzero_ps();
  for (size_t i = 0; i + 64 <= count; i += 64) {
#pragma GCC unroll 4
    for (int line = 0; line < 4; ++line)
      _mm_prefetch(reinterpret_cast<const char*>(data + i + 512 + 16 * line), _MM_HINT_T0);
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) sum[c] = _mm256_add_ps(sum[c], _mm256_loadu_ps(data + i + 8 * c));
  }
  for (int c = 1; c < 8; ++c) sum[0] = _mm256_add_ps(sum[0], sum[c]);
  return _mm_cvtss_f32(_mm256_castps256_ps128(sum[0]));
}

#elif defined(__aarch64__)

double neon(int64_t rounds) {
  const float32x4_t factor = vdupq_n_f32(kFactor), term = vdupq_n_f32(kTerm);
  int64_t left = rounds;
  // fmla accumulates into its first register: x <- x + factor * term. Even 10^9 rounds stay far below overflow.
#define PEAK_EACH20(step)                                                                                             \
  step(0) step(1) step(2) step(3) step(4) step(5) step(6) step(7) step(8) step(9) step(10) step(11) step(12) step(13) \
      step(14) step(15) step(16) step(17) step(18) step(19)
#define PEAK_START(c) "mov v" #c ".16b, %[term].16b\n\t"
#define PEAK_STEP(c) "fmla v" #c ".4s, %[factor].4s, %[term].4s\n\t"
  asm volatile(PEAK_EACH20(PEAK_START) "1:\n\t" PEAK_EACH20(PEAK_STEP) "subs %[left], %[left], #1\n\tb.ne 1b"
               : [left] "+r"(left)
               : [factor] "w"(factor), [term] "w"(term)
               : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15",
                 "v16", "v17", "v18", "v19", "cc");
#undef PEAK_START
#undef PEAK_STEP
  return 2.0 * 4 * 20 * rounds;
}

double neonRead(const float* data, size_t count) {
  float32x4_t sum[8];
  for (float32x4_t& s : sum) s = vdupq_n_f32(0);
  for (size_t i = 0; i + 32 <= count; i += 32) {
    __builtin_prefetch(data + i + 512);
    __builtin_prefetch(data + i + 528);
#pragma GCC unroll 8
    for (int c = 0; c < 8; ++c) sum[c] = vaddq_f32(sum[c], vld1q_f32(data + i + 4 * c));
  }
  for (int c = 1; c < 8; ++c) sum[0] = vaddq_f32(sum[0], sum[c]);
  return vgetq_lane_f32(sum[0], 0);
}

#endif

}  // namespace

const std::vector<Loop>& loops() {
  static const std::vector<Loop> usable = [] {
    std::vector<Loop> list;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) list.push_back({"avx512", avx512, avx2Read});
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) list.push_back({"avx2", avx2, avx2Read});
    list.push_back({"sse4", sse, sseRead});
    list.push_back({"portable", sse, sseRead});
#elif defined(__aarch64__)
    list.push_back({"neon", neon, neonRead});
    list.push_back({"portable", neon, neonRead});
#endif
    return list;
  }();
  return usable;
}

}  // namespace bench
