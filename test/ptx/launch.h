// One launch of a kernel: its blocks, a few of them resident at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "counters.h"
#include "findings.h"
#include "memory.h"
#include "program.h"

namespace fused_attention::ptx {

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

struct LaunchOptions {
  uint64_t seed = 0;  // of the schedule: order of blocks and of warps, and how long each runs
  int quantum = 64;   // instructions a warp runs before another one does; at most, when the seed is not 0
  bool races = true;
  double seconds = 60;  // of the processor's time, after which a launch is ended
  uint32_t multiprocessors = 1;
};

// What launches leave behind.
struct Report {
  Findings findings;
  std::map<std::string, Counters> counters;  // by kernel
  std::string json() const;
};

class Launch {
 public:
  Launch(Program& program, Memory& memory, Report& report, const LaunchOptions& options, Dim3 grid, Dim3 block,
         uint64_t dynamicSharedBytes, std::vector<uint8_t> parameters);

  // The kind of the fault that ended the launch, if one did. It is among the findings.
  std::optional<FindingKind> run();

  Program& program;
  Memory& memory;
  Findings& findings;
  Counters counters;
  const LaunchOptions options;
  const Dim3 grid, block;
  const uint64_t dynamicSharedBytes;
  const std::vector<uint8_t> parameters;
  const uint64_t id;

  uint32_t random(uint32_t bound);  // below it, from the seed
  void checkTime() const;           // throws LaunchFault when the time is over

 private:
  void runBlocks();

  Report& report_;
  uint64_t state_;
  const double start_;
};

// Bytes of the parameters, from pointers to each, as launches take them.
std::vector<uint8_t> packParameters(const Program& program, void* const* parameters);

}  // namespace fused_attention::ptx
