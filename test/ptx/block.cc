#include "block.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "lanes.h"

namespace fused_attention::ptx {

Block::Block(Launch& launch, uint64_t index) : launch(launch), shared(0, 1, 4) {
  id[0] = static_cast<uint32_t>(index % launch.grid.x);
  id[1] = static_cast<uint32_t>(index / launch.grid.x % launch.grid.y);
  id[2] = static_cast<uint32_t>(index / launch.grid.x / launch.grid.y);
  const uint32_t threads = static_cast<uint32_t>(launch.block.count());
  const int count = static_cast<int>((threads + 31) / 32);
  const uint64_t bytes = launch.dynamicSharedBytes > 0
                             ? launch.program.dynamicSharedOffset() + launch.dynamicSharedBytes
                             : launch.program.staticSharedBytes();
  shared = SharedMemory(bytes, count, launch.program.cellBytes());
  for (int warp = 0; warp < count; ++warp) {
    const uint32_t lanes = std::min<uint32_t>(threads - warp * 32, 32);
    warps.push_back(std::make_unique<Warp>(*this, warp, lanes == 32 ? allLanes : (1u << lanes) - 1));
  }
}

Block::State Block::run(uint64_t instructions) {
  uint64_t executed = 0;
  std::vector<size_t> order(warps.size());
  std::iota(order.begin(), order.end(), 0);
  while (executed < instructions) {
    if (launch.options.seed != 0) {
      for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[launch.random(static_cast<uint32_t>(i))]);
    }
    uint64_t round = 0;
    for (const size_t warp : order) {
      const int quantum = launch.options.seed == 0 ? launch.options.quantum : 1 + launch.random(launch.options.quantum);
      round += warps[warp]->run(quantum);
    }
    if (round == 0) {
      if (liveThreads() == 0) return State::Done;
      stuck();
    }
    executed += round;
  }
  return State::Unfinished;
}

uint32_t Block::liveThreads() const {
  uint32_t live = 0;
  for (const auto& warp : warps) live += std::popcount(warp->live());
  return live;
}

void Block::arrive(Warp& warp, uint32_t lanes, const Arrival& arrival) {
  Barrier& barrier = barriers_[arrival.barrier];
  if (barrier.used && barrier.expected != arrival.threads) {
    warp.fault(FindingKind::DivergentBarrier,
               "barrier " + std::to_string(arrival.barrier) + " is waited for with different numbers of threads",
               std::countr_zero(lanes));
  }
  barrier.used = true;
  barrier.expected = arrival.threads;
  barrier.arrived += (lanes & warp.live()) == warp.live() ? 32 : std::popcount(lanes);
  barrier.arrivedLive += std::popcount(lanes);
  barrier.warps |= 1u << warp.index;
  barrier.reduction = arrival.reduction;
  barrier.popc += std::popcount(arrival.predicate & lanes);
  barrier.predicates += std::popcount(lanes);
  if (launch.options.races) shared.races().arrive(warp.index, barrier.clock);
  if (arrival.waits) {
    warp.current().state = Fragment::State::Barrier;
    warp.current().barrier = static_cast<uint8_t>(arrival.barrier);
  } else {
    ++warp.current().pc;
  }
  completeIfFull(arrival.barrier);
}

void Block::completeIfFull(int index) {
  Barrier& barrier = barriers_[index];
  if (!barrier.used) return;
  if (barrier.expected > 0 ? barrier.arrived < barrier.expected : barrier.arrivedLive < liveThreads()) return;
  bool everyWarp = true;
  for (const auto& warp : warps) {
    bool left = false;
    for (Fragment& fragment : warp->fragments()) {
      if (fragment.state != Fragment::State::Barrier || fragment.barrier != index) continue;
      const Instruction& instruction = launch.program.undecoded(fragment.pc);
      if (barrier.reduction == Arrival::Reduction::Popc) {
        for (int lane = 0; lane < 32; ++lane) {
          if (fragment.mask >> lane & 1) setLaneBits(*warp, instruction.refs[0], lane, barrier.popc);
        }
      } else if (barrier.reduction != Arrival::Reduction::None) {
        const bool value =
            barrier.reduction == Arrival::Reduction::And ? barrier.popc == barrier.predicates : barrier.popc > 0;
        setPredicate(*warp, instruction.refs[0], fragment.mask, value ? allLanes : 0);
      }
      fragment.state = Fragment::State::Running;
      ++fragment.pc;
      left = true;
    }
    if (left && launch.options.races) shared.races().leave(warp->index, barrier.clock);
    everyWarp &= left || warp->live() == 0;
  }
  if (everyWarp && launch.options.races) shared.races().forget();
  barrier = Barrier();
}

void Block::threadsExited() {
  for (int index = 0; index < 16; ++index) {
    if (barriers_[index].used && barriers_[index].expected == 0 && liveThreads() > 0) completeIfFull(index);
  }
}

void Block::stuck() {
  Warp* reporter = nullptr;
  FindingKind kind = FindingKind::Deadlock;
  std::string where;
  for (const auto& warp : warps) {
    for (const Fragment& fragment : warp->fragments()) {
      const Instruction& instruction = launch.program.undecoded(fragment.pc);
      const bool converging = fragment.state == Fragment::State::Converging;
      if (reporter == nullptr || (converging && kind == FindingKind::Deadlock)) {
        reporter = warp.get();
        warp->instruction = &instruction;
        if (converging) {
          kind = instruction.kind == InstructionClass::Barrier && instruction.aligned
                     ? FindingKind::DivergentBarrier
                     : FindingKind::DivergentCollective;
        }
      }
      char mask[16];
      std::snprintf(mask, sizeof mask, "%08x", fragment.mask);
      where += "; warp " + std::to_string(warp->index) + " lanes " + mask + " at line " +
               std::to_string(instruction.statement->line) + " (" + std::string(instruction.statement->opcode) + ")";
    }
  }
  const char* what = kind == FindingKind::DivergentBarrier
                         ? "lanes of one warp wait at different places, one an aligned barrier"
                     : kind == FindingKind::DivergentCollective ? "a collective waits for lanes that are elsewhere"
                                                                : "every warp waits";
  reporter->fault(kind, what + where, -1);
}

}  // namespace fused_attention::ptx
