// A block of threads: its warps, shared memory and barriers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "launch.h"
#include "shared_memory.h"
#include "warp.h"

namespace fused_attention::ptx {

class Block {
 public:
  Block(Launch& launch, uint64_t index);

  enum class State { Done, Unfinished };
  // Runs each warp in turn, about `instructions` in all. Throws LaunchFault when no warp can go on.
  State run(uint64_t instructions);

  struct Arrival {
    int barrier;
    uint32_t threads;  // expected; 0: all live ones of the block
    bool waits;
    enum class Reduction { None, Popc, And, Or } reduction = Reduction::None;
    uint32_t predicate = 0;  // of the lanes, for a reduction
  };
  // The lanes of a warp's current fragment arrive. Completes the barrier when they are the last.
  void arrive(Warp& warp, uint32_t lanes, const Arrival& arrival);
  void threadsExited();  // barriers of all live threads may be complete now

  Launch& launch;
  uint32_t id[3];
  SharedMemory shared;
  std::vector<std::unique_ptr<Warp>> warps;

 private:
  struct Barrier {
    uint32_t arrived = 0;      // threads, by 32 for a whole warp
    uint32_t arrivedLive = 0;  // threads
    uint32_t expected = 0;     // 0: all live ones
    uint32_t warps = 0;        // that arrived
    uint32_t popc = 0, predicates = 0;
    Arrival::Reduction reduction = Arrival::Reduction::None;
    bool used = false;
    Clock clock;
  };

  void completeIfFull(int barrier);
  uint32_t liveThreads() const;
  [[noreturn]] void stuck();

  Barrier barriers_[16];
  size_t turn_ = 0;
};

}  // namespace fused_attention::ptx
