// What the checks found. A finding is no return code: a launch can succeed and have findings, so tests assert the
// report.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace fused_attention::ptx {

enum class FindingKind {
  OutOfBounds,
  Misaligned,
  Uninitialized,
  InFlight,
  Race,
  DivergentBarrier,
  DivergentCollective,
  DeadLane,
  LaneConflict,
  Deadlock,
  TimeLimit,
  Unsupported,
  Trap,
  InvalidLaunch
};

const char* nameOf(FindingKind kind);

struct Finding {
  FindingKind kind;
  std::string message;
  std::string kernel;
  std::string instruction;  // opcode of the statement
  int line = 0;             // of the PTX text
  uint32_t block[3] = {0, 0, 0};
  int warp = -1, lane = -1;
  uint64_t count = 1;  // how often it was found at this line
};

// The first finding of a kind at a line of a kernel, with a count of all of them.
class Findings {
 public:
  void add(Finding finding);
  void clear() { list_.clear(); }
  const std::vector<Finding>& list() const { return list_; }
  uint64_t count(FindingKind kind) const;
  std::string json() const;

 private:
  std::vector<Finding> list_;
};

std::string text(const Finding& finding);

// Ends a launch, as a fault of the device does; the finding is already recorded.
struct LaunchFault : std::runtime_error {
  LaunchFault(FindingKind kind, const std::string& message) : std::runtime_error(message), kind(kind) {}
  FindingKind kind;
};

std::string quoted(const std::string& text);  // as a string of JSON

}  // namespace fused_attention::ptx
