// A call from its encoded form to its result, as the addon does it, over guarded buffers. Whatever is not a coded error
// or a result ends the process.
#pragma once

#include "backend.h"
#include "error.h"
#include "guarded.h"

namespace fused_attention::fuzz {

/// The most that a call may have to do for a fuzzer to wait for it. Calls above this are decoded and no more.
inline constexpr double kMostPairs = 1 << 16, kMostOperations = 1 << 23;

inline double pairsOf(const Problem& p) {
  const double sequences = p.lengths == Lengths::cumulative ? 1 : double(p.batch);
  return sequences * double(p.headsQ) * double(p.queries) * double(p.keys);
}

inline bool small(const Problem& p) {
  return p.batch <= 4096 && p.headsQ <= 4096 && double(p.queries) + double(p.keys) <= kMostPairs &&
         pairsOf(p) <= kMostPairs && pairsOf(p) * double(p.dimQk + p.dimV) <= kMostOperations;
}

inline void runCall(const std::vector<double>& numbers, GuardedBuffers& memory, const Programs& programs) {
  Call call = decodeCall(numbers.data(), numbers.size(), memory.buffers(), programs);
  if (!small(call.problem)) return;
  call.problem.threads = std::min(call.problem.threads, 2);
  memory.protect(call.ranges);
  const auto made =
      cpuBackend().plan(call.problem, call.pointers.lengthsQ, call.pointers.lengthsKv, call.pointers.pages);
  if (std::holds_alternative<Refusal>(made)) return;
  const Plan& plan = *std::get<std::shared_ptr<const Plan>>(made);
  const CancelFlag never;
  try {
    cpuBackend().run(plan, call.pointers, never);
  } catch (const CodedError&) {  // a pair hangs on a read outside a table: memory is still only the call's
  }
  plan.explain();
  memory.requireOnlyWritten(call.ranges);
}

inline void explainCall(const std::vector<double>& numbers, const GuardedBuffers& memory, const Programs& programs) {
  const Call call = decodeForExplain(numbers.data(), numbers.size(), memory.buffers(), programs);
  if (!small(call.problem)) return;
  const auto made =
      cpuBackend().plan(call.problem, call.pointers.lengthsQ, call.pointers.lengthsKv, call.pointers.pages);
  if (std::holds_alternative<std::shared_ptr<const Plan>>(made)) {
    std::get<std::shared_ptr<const Plan>>(made)->explain();
  }
}

inline void merge(const std::vector<double>& numbers, GuardedBuffers& memory) {
  const MergeCall call = decodeMerge(numbers.data(), numbers.size(), memory.buffers());
  memory.protect(call.ranges);
  const CancelFlag never;
  mergeOnCpu(call, 2, never);
  memory.requireOnlyWritten(call.ranges);
}

}  // namespace fused_attention::fuzz
