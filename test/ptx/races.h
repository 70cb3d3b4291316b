// Races in shared memory by vector clocks: one clock a warp, joined at barriers. Two accesses race when one of them
// writes and neither happens before the other.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace fused_attention::ptx {

using Clock = std::vector<uint32_t>;  // by warp

class RaceDetector {
 public:
  struct Conflict {
    int warp;  // that made the other access
    int line;  // PTX line of a write; 0 of a read
    bool otherWrote;
  };

  // Cells of `cellBytes`, the kernel's smallest access, so that neighbours never look like one.
  RaceDetector(int warps, uint64_t bytes, int cellBytes);

  enum class Access { Read, Write, Atomic };
  // Notes an access and says with whom it races. Atomics don't race with each other.
  std::optional<Conflict> access(int warp, uint64_t address, int bytes, Access access, int line);

  // A warp arrives at a barrier: what it did so far joins `barrier`, and it begins a new epoch.
  void arrive(int warp, Clock& barrier);
  // A warp leaves the barrier: all that joined it happened before.
  void leave(int warp, const Clock& barrier);
  // Every warp of the block left one barrier together: nothing before it can race with anything after.
  void forget() { ++generation_; }

 private:
  struct Cell {
    uint32_t generation = 0;
    uint32_t readers = 0;  // warps
    uint32_t written = 0;  // epoch of the last write, 0 when there is none
    uint16_t writer = 0;
    bool atomic = false;
    int line = 0;
  };

  int warps_;
  int shift_;  // log2 of the bytes of a cell
  uint32_t generation_ = 1;
  std::vector<Clock> clocks_;
  std::vector<Cell> cells_;
  std::vector<uint32_t> reads_;  // epoch of the last read, by cell and warp
};

}  // namespace fused_attention::ptx
