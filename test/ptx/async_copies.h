// cp.async of one warp: data lands when a lane waits for it, as late as the hardware may.
#pragma once

#include <cstdint>
#include <vector>

namespace fused_attention::ptx {

struct AsyncCopy {
  uint32_t destination;  // in shared memory
  uint32_t group;        // of its lane
  uint8_t lane, width;
  int line;
  uint8_t data[16];
};

class AsyncCopies {
 public:
  void add(AsyncCopy copy) {
    copy.group = committed_[copy.lane];
    pending_.push_back(copy);
  }
  void commit(uint32_t mask) {
    for (int lane = 0; lane < 32; ++lane) committed_[lane] += mask >> lane & 1;
  }
  // land(copy) for all copies of `mask` but those of a lane's `newest` latest groups; `all` takes uncommitted ones too.
  template <class Land>
  void wait(uint32_t mask, uint32_t newest, bool all, const Land& land) {
    std::erase_if(pending_, [&](const AsyncCopy& copy) {
      const bool lands = (mask >> copy.lane & 1) && (all || copy.group + newest < committed_[copy.lane]);
      if (lands) land(copy);
      return lands;
    });
  }
  const std::vector<AsyncCopy>& pending() const { return pending_; }

 private:
  std::vector<AsyncCopy> pending_;
  uint32_t committed_[32] = {};  // groups, by lane
};

}  // namespace fused_attention::ptx
