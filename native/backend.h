// A backend turns a Problem into an immutable Plan, or says why it will not, and runs Plans.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "problem.h"
#include "problem_codec.h"

namespace fused_attention {

/// Polled between tiles, and while they are mapped. Raised by an AbortSignal, or by the cleanup of the environment that
/// owns the call.
class CancelFlag {
 public:
  /// Of what nobody cancels.
  static const CancelFlag& never() {
    static const CancelFlag* const leaked = new CancelFlag;
    return *leaked;
  }

  void raise() { state_.fetch_or(kRaised, std::memory_order_relaxed); }
  bool raised() const { return state_.load(std::memory_order_relaxed) != 0 && look(); }

  /// For lifecycle tests: the first poll calls `stop`, once. Set before the run starts; costs nothing where it is not.
  void stopAtFirstPoll(std::function<void()> stop) {
    stop_ = std::move(stop);
    state_.fetch_or(kStop, std::memory_order_relaxed);
  }

 private:
  static constexpr uint8_t kRaised = 1, kStop = 2;

  bool look() const {
    if (state_.load(std::memory_order_relaxed) & kStop) {
      if (state_.fetch_and(static_cast<uint8_t>(~kStop), std::memory_order_relaxed) & kStop) stop_();
    }
    return state_.load(std::memory_order_relaxed) & kRaised;
  }

  mutable std::atomic<uint8_t> state_{0};
  std::function<void()> stop_;
};

/// What `explain` prints. Counts come from the tile map that runs; what a mask tensor touches counts as partial.
struct Explanation {
  std::string device, kernel;
  int64_t tileQueries = 0, tileKeys = 0;  // tile shape
  int64_t tilesFull = 0, tilesPartial = 0, tilesSkipped = 0;
  int64_t tilesPromoted = 0;  // of the full and skipped ones, those of which that was only seen pair by pair
  int64_t chunk = 0;          // keys in a chunk of the widest sequence
  int64_t tasks = 0;
  int threads = 1;            // of the pool; on a GPU: of a block
  double flops = 0;           // useful: 2 * pairs * (dimQk + dimV), pairs counted at key granularity from the runs
  double bytes = 0;           // inputs and outputs, each once
  double workspaceBytes = 0;  // per thread; on a GPU: shared memory of a block
  std::vector<std::pair<std::string, std::string>> notTaken;  // path, reason
};

struct Plan {
  virtual ~Plan() = default;
  virtual Explanation explain() const = 0;
};

struct Refusal {
  std::string reason;
  std::string argument = "call";  // what asks for what is not there
  const char* code = "ERR_UNSUPPORTED";
};

class Backend {
 public:
  virtual ~Backend() = default;
  /// `lengths*` and `pages` are the snapshots named in Pointers, read during planning; a run finds the pages as they
  /// were. Throws CodedError on bad lengths and on pages that the pool does not have, Cancelled, or std::bad_alloc.
  virtual std::variant<std::shared_ptr<const Plan>, Refusal> plan(
      const Problem& problem, const double* lengthsQ, const double* lengthsKv, const PageLists& pages = {},
      const CancelFlag& cancel = CancelFlag::never()) const = 0;
  /// Blocks until done; uses the shared pool. Throws Cancelled, CodedError or std::bad_alloc.
  virtual void run(const Plan& plan, const Pointers& pointers, const CancelFlag& cancel) const = 0;
};

/// native/cpu/backend.cc
const Backend& cpuBackend();

/// cuda/backend.cc: on the first device; plan refuses where there is none.
const Backend& cudaBackend();

/// native/cpu/merge.cc: the one combine of partials, also used by the chunk tree. Blocks; uses the shared pool.
void mergeOnCpu(const MergeCall& call, int threads, const CancelFlag& cancel);

/// What this processor can run, best first, "portable" last; avx512 only where the processor has it. native/cpu/isa.cc
struct CpuInfo {
  std::string name;         // brand string
  std::vector<Isa> usable;  // compiled in and runnable here
  Isa automatic;            // what Isa::automatic means here
};
const CpuInfo& cpuInfo();

/// The devices that a CUDA driver has, which is opened by the first call; where there is none, why. cuda/backend.cc
struct CudaInfo {
  struct Device {
    std::string name;
    int major = 0, minor = 0;  // compute capability
    int64_t threads = 0;       // that it runs at a time
    double bytes = 0;          // of memory
  };
  std::vector<Device> devices;
  std::string reason;
};
CudaInfo cudaInfo();

/// The library to open in the driver's place; of no effect once that is open. cuda/driver.cc
void chooseCudaLibrary(const std::string& path);
const char* isaName(Isa isa);

}  // namespace fused_attention
