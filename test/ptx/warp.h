// A warp: registers of its 32 lanes, and its lanes in fragments, each at one program counter.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async_copies.h"
#include "findings.h"
#include "instruction.h"

namespace fused_attention::ptx {

class Block;
class Launch;
class Program;

struct Fragment {
  enum class State : uint8_t { Running, Converging /* waits for other lanes to come */, Barrier };
  uint32_t pc = 0;
  uint32_t mask = 0;
  State state = State::Running;
  uint8_t barrier = 0;
  std::vector<uint32_t> calls;  // where to return to
};

class Warp {
 public:
  Warp(Block& block, int index, uint32_t lanes);

  // Runs at most `quantum` instructions, and returns how many. 0: every lane waits or has exited.
  int run(int quantum);

  uint32_t live() const { return live_; }
  uint32_t exited() const { return lanes_ & ~live_; }
  uint32_t lanes() const { return lanes_; }
  std::vector<Fragment>& fragments() { return fragments_; }
  Fragment& current() { return fragments_[current_]; }

  // For instructions of control flow.
  void branch(uint32_t target, uint32_t taken);  // the current fragment's lanes of `taken` go, the others fall through
  void exit(uint32_t lanes);
  void returnFrom(uint32_t lanes);
  void copyParameters(const std::vector<CallFrame::Copy>& copies, uint32_t lanes);

  void report(FindingKind kind, const std::string& message, int lane);
  [[noreturn]] void fault(FindingKind kind, const std::string& message, int lane);

  Block& block;
  Launch& launch;
  const int index;
  uint8_t* registers;
  uint32_t carry = 0;  // of add.cc and its like, by lane
  AsyncCopies copies;
  std::vector<uint8_t> local, parameters;    // of each lane one after the other
  const Instruction* instruction = nullptr;  // being executed

 private:
  void fillSpecials();
  bool select();  // makes the fragment to run the current one; false when none can
  void merge();
  bool converged(const Instruction& instruction, uint32_t active);

  uint32_t lanes_, live_;
  std::vector<Fragment> fragments_;
  size_t current_ = 0;
  uint64_t divergedSteps_ = 0;  // survives the quantum: it makes fragments that spin give way
  std::unique_ptr<uint8_t[]> storage_;
};

}  // namespace fused_attention::ptx
