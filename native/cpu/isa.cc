// Which instruction sets this processor and its operating system can run, from CPUID and XGETBV.
#include <cstring>

#include "../backend.h"
#include "../error.h"
#include "kernels.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>
#endif

namespace fused_attention {

namespace {

#if defined(__x86_64__) || defined(_M_X64)

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  __cpuid_count(leaf, subleaf, r.a, r.b, r.c, r.d);
  return r;
}

/// Register state that the operating system saves at a context switch.
uint64_t savedState() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t(high) << 32) | low;
}

bool has(unsigned word, int bit) { return (word >> bit) & 1u; }

std::vector<Isa> detect() {
  std::vector<Isa> usable;
  const unsigned leaves = cpuid(0).a;
  const Registers basic = cpuid(1);
  const Registers extended = leaves >= 7 ? cpuid(7) : Registers{};
  const uint64_t saved = has(basic.c, 27) ? savedState() : 0;
  const bool savesAvx = (saved & 0x6) == 0x6, savesAvx512 = (saved & 0xe6) == 0xe6;
  const bool avx2 = savesAvx && has(basic.c, 28) && has(extended.b, 5) && has(basic.c, 12) && has(basic.c, 29);
  // F, DQ, BW and VL: what the avx512 unit is compiled for.
  const bool avx512 =
      avx2 && savesAvx512 && has(extended.b, 16) && has(extended.b, 17) && has(extended.b, 30) && has(extended.b, 31);
  if (avx512) usable.push_back(Isa::avx512);
  if (avx2) usable.push_back(Isa::avx2);
  if (has(basic.c, 19)) usable.push_back(Isa::sse4);
  usable.push_back(Isa::portable);
  return usable;
}

std::string brand() {
  if (cpuid(0x80000000u).a < 0x80000004u) return "x86-64";
  char text[49] = {};
  for (unsigned i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002u + i);
    std::memcpy(text + 16 * i, &r, 16);
  }
  const char* start = text;
  while (*start == ' ') ++start;
  return start;
}

#else

std::vector<Isa> detect() {
#if defined(__aarch64__)
  return {Isa::neon, Isa::portable};
#else
  return {Isa::portable};
#endif
}

std::string brand() {
#if defined(__aarch64__)
  return "arm64";
#else
  return "unknown processor";
#endif
}

#endif

}  // namespace

const CpuInfo& cpuInfo() {
  static const CpuInfo* const leaked = [] {  // pool threads may ask during exit()
    auto* result = new CpuInfo;
    result->name = brand();
    result->usable = detect();
    result->automatic = result->usable.front();
    // Not chosen unasked until some machine of ours has run it.
    if (result->automatic == Isa::avx512) result->automatic = Isa::avx2;
    return result;
  }();
  return *leaked;
}

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::automatic: return "auto";
    case Isa::portable: return "portable";
    case Isa::sse4: return "sse4";
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::neon: return "neon";
  }
  return "unknown";
}

const Kernels& kernelsFor(Isa isa) {
  const CpuInfo& info = cpuInfo();
  if (isa == Isa::automatic) isa = info.automatic;
  bool usable = false;
  for (Isa each : info.usable) usable |= each == isa;
  const Kernels* table = nullptr;
  if (usable) {
    switch (isa) {
#if defined(__x86_64__) || defined(_M_X64)
      case Isa::sse4: table = sse4Kernels(); break;
      case Isa::avx2: table = avx2Kernels(); break;
      case Isa::avx512: table = avx512Kernels(); break;
#elif defined(__aarch64__)
      case Isa::neon: table = neonKernels(); break;
#endif
      default: table = portableKernels(); break;
    }
  }
  if (!table) throw CodedError("ERR_UNSUPPORTED", "isa", "an instruction set of this processor", isaName(isa));
  return *table;
}

}  // namespace fused_attention
