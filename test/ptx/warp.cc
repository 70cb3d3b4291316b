#include "warp.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "block.h"
#include "lanes.h"
#include "launch.h"

namespace fused_attention::ptx {

Warp::Warp(Block& block, int index, uint32_t lanes)
    : block(block), launch(block.launch), index(index), lanes_(lanes), live_(lanes) {
  const Program& program = launch.program;
  storage_ = std::make_unique<uint8_t[]>(program.registerBytes() + 64);
  registers = storage_.get() + (64 - reinterpret_cast<uintptr_t>(storage_.get()) % 64) % 64;
  std::memset(registers, 0xff, program.registerBytes());
  local.assign(program.localBytes() * 32, 0xff);
  parameters.assign(program.parameterBytes() * 32, 0xff);
  fragments_.push_back({0, lanes, Fragment::State::Running, 0, {}});
  fillSpecials();
}

void Warp::fillSpecials() {
  const Dim3 threads = launch.block;
  for (const auto& [name, ref] : launch.program.specials()) {
    for (int lane = 0; lane < 32; ++lane) {
      const uint32_t thread = index * 32 + lane;
      uint64_t value = 0;
      if (name == "%tid.x")
        value = thread % threads.x;
      else if (name == "%tid.y")
        value = thread / threads.x % threads.y;
      else if (name == "%tid.z")
        value = thread / threads.x / threads.y;
      else if (name == "%ntid.x")
        value = threads.x;
      else if (name == "%ntid.y")
        value = threads.y;
      else if (name == "%ntid.z")
        value = threads.z;
      else if (name == "%ctaid.x")
        value = block.id[0];
      else if (name == "%ctaid.y")
        value = block.id[1];
      else if (name == "%ctaid.z")
        value = block.id[2];
      else if (name == "%nctaid.x")
        value = launch.grid.x;
      else if (name == "%nctaid.y")
        value = launch.grid.y;
      else if (name == "%nctaid.z")
        value = launch.grid.z;
      else if (name == "%laneid")
        value = lane;
      else if (name == "%warpid")
        value = index;
      else if (name == "%nwarpid")
        value = 64;
      else if (name == "%smid")
        value = (block.id[0] + launch.grid.x * (block.id[1] + launch.grid.y * block.id[2])) %
                launch.options.multiprocessors;
      else if (name == "%nsmid")
        value = launch.options.multiprocessors;
      else if (name == "%gridid")
        value = launch.id;
      else if (name == "%lanemask_eq")
        value = 1u << lane;
      else if (name == "%lanemask_le")
        value = (2u << lane) - 1;
      else if (name == "%lanemask_lt")
        value = (1u << lane) - 1;
      else if (name == "%lanemask_ge")
        value = ~0u << lane;
      else if (name == "%lanemask_gt")
        value = ~1u << lane;
      else if (name == "%dynamic_smem_size")
        value = launch.dynamicSharedBytes;
      else if (name == "%total_smem_size")
        value = block.shared.bytes();
      setLaneBits(*this, ref, lane, value);
    }
  }
}

void Warp::merge() {
  for (size_t a = 0; a < fragments_.size(); ++a) {
    if (fragments_[a].state == Fragment::State::Barrier) continue;
    for (size_t b = a + 1; b < fragments_.size();) {
      Fragment &one = fragments_[a], &other = fragments_[b];
      if (other.state == Fragment::State::Barrier || other.pc != one.pc || other.calls != one.calls) {
        ++b;
        continue;
      }
      one.mask |= other.mask;
      one.state = Fragment::State::Running;
      fragments_.erase(fragments_.begin() + b);
    }
  }
}

bool Warp::select() {
  if (fragments_.size() == 1) {
    current_ = 0;
    return fragments_[0].state == Fragment::State::Running;
  }
  merge();
  // Callees before callers and then the lowest program counter, so that lanes meet again; now and then another one, for
  // lanes that spin until that one has done something.
  const auto running = [&](size_t i) { return fragments_[i].state == Fragment::State::Running; };
  ++divergedSteps_;
  if (divergedSteps_ >> 12 & 1) {
    const size_t other = (divergedSteps_ >> 13) % std::max<size_t>(fragments_.size(), 1);
    if (other < fragments_.size() && running(other)) {
      current_ = other;
      return true;
    }
  }
  bool found = false;
  for (size_t i = 0; i < fragments_.size(); ++i) {
    if (!running(i)) continue;
    const Fragment &candidate = fragments_[i], &best = fragments_[current_];
    if (!found || candidate.calls.size() > best.calls.size() ||
        (candidate.calls.size() == best.calls.size() && candidate.pc < best.pc)) {
      current_ = i;
    }
    found = true;
  }
  return found;
}

bool Warp::converged(const Instruction& instruction, uint32_t active) {
  uint32_t required = live_;
  if (!instruction.aligned) {
    const uint32_t members =
        source<uint32_t>(*this, instruction.refs[instruction.membership])[std::countr_zero(active)];
    required = members & live_;
  }
  return (required & ~current().mask) == 0;
}

int Warp::run(int quantum) {
  Program& program = launch.program;
  int executed = 0;
  while (executed < quantum && !fragments_.empty() && select()) {
    Fragment& fragment = current();
    const Instruction& next = program.undecoded(fragment.pc);
    instruction = &next;
    if (next.handler == nullptr) {
      try {
        program.at(fragment.pc);
      } catch (const LaunchFault& unsupported) {
        fault(unsupported.kind, unsupported.what(), std::countr_zero(fragment.mask));
      }
    }
    uint32_t active = fragment.mask;
    if (next.guard.present) active &= predicate(*this, next.guard);
    if (next.collective && active != 0 && !converged(next, active)) {
      fragment.state = Fragment::State::Converging;
      continue;
    }
    ++executed;
    ++launch.counters.byClass[static_cast<int>(next.kind)];
    if (next.control) {
      next.handler(*this, next, active);
    } else {
      if (active != 0) next.handler(*this, next, active);
      ++fragment.pc;
    }
  }
  launch.counters.warpInstructions += executed;
  return executed;
}

void Warp::branch(uint32_t target, uint32_t taken) {
  Fragment& fragment = current();
  const uint32_t staying = fragment.mask & ~taken;
  if (taken == 0) {
    ++fragment.pc;
  } else if (staying == 0) {
    fragment.pc = target;
  } else {
    Fragment other = fragment;
    other.mask = taken;
    other.pc = target;
    fragment.mask = staying;
    ++fragment.pc;
    fragments_.push_back(std::move(other));
  }
}

void Warp::exit(uint32_t lanes) {
  Fragment& fragment = current();
  live_ &= ~lanes;
  fragment.mask &= ~lanes;
  ++fragment.pc;
  if (fragment.mask == 0) fragments_.erase(fragments_.begin() + static_cast<long>(current_));
  // Those who wait for lanes that are no more may go on.
  for (Fragment& other : fragments_) {
    if (other.state == Fragment::State::Converging) other.state = Fragment::State::Running;
  }
  if (lanes != 0) block.threadsExited();
}

void Warp::returnFrom(uint32_t lanes) {
  Fragment& fragment = current();
  if (fragment.calls.empty()) return exit(lanes);
  if (lanes == 0) {
    ++fragment.pc;
    return;
  }
  const uint32_t target = fragment.calls.back();
  copyParameters(launch.program.undecoded(target - 1).call->results, lanes);
  const size_t before = fragments_.size();
  branch(target, lanes);
  (fragments_.size() > before ? fragments_.back() : current()).calls.pop_back();
}

void Warp::copyParameters(const std::vector<CallFrame::Copy>& copies, uint32_t lanes) {
  const uint64_t each = launch.program.parameterBytes(), origin = launch.program.parameterOrigin();
  for (const auto& copy : copies) {
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
      uint8_t* lane = parameters.data() + std::countr_zero(rest) * each;
      std::memcpy(lane + (copy.to - origin), lane + (copy.from - origin), copy.bytes);
    }
  }
}

void Warp::report(FindingKind kind, const std::string& message, int lane) {
  Finding finding;
  finding.kind = kind;
  finding.message = message;
  finding.kernel = launch.program.name();
  if (instruction != nullptr) {
    finding.instruction = instruction->statement->opcode;
    finding.line = instruction->statement->line;
  }
  std::copy(block.id, block.id + 3, finding.block);
  finding.warp = index;
  finding.lane = lane;
  launch.findings.add(std::move(finding));
}

void Warp::fault(FindingKind kind, const std::string& message, int lane) {
  report(kind, message, lane);
  throw LaunchFault(kind, message);
}

}  // namespace fused_attention::ptx
