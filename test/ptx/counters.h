// Exact, repeatable counts of what a kernel did. Counts are of PTX, not of machine code.
#pragma once

#include <cstdint>
#include <string>

namespace fused_attention::ptx {

enum class InstructionClass : uint8_t {
  Mma,
  Matrix /* ldmatrix, stmatrix, movmatrix */,
  SharedLoad,
  SharedStore,
  GlobalLoad,
  GlobalStore,
  LocalMemory,
  AsyncCopy,
  Atomic,
  Float32,
  Float64,
  Half,
  Special /* ex2, rcp, … */,
  Convert,
  Integer,
  Compare /* and select */,
  Move,
  Shuffle,
  Vote,
  Barrier,
  Control,
  Parameter,
  Other,
  Count
};

const char* nameOf(InstructionClass c);

// Shared memory: wavefronts taken and the fewest the bytes allow. Global memory: sectors of 32 bytes, likewise, over
// the requests of whole warps.
struct Traffic {
  uint64_t requests = 0, units = 0, minimum = 0;
};

struct Counters {
  uint64_t launches = 0;
  uint64_t warpInstructions = 0;
  uint64_t byClass[static_cast<int>(InstructionClass::Count)] = {};
  Traffic sharedLoads, sharedStores, globalLoads, globalStores;

  uint64_t of(InstructionClass c) const { return byClass[static_cast<int>(c)]; }
  Counters& operator+=(const Counters& other);
  std::string json() const;
};

}  // namespace fused_attention::ptx
