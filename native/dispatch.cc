#include "dispatch.h"

#include "error.h"

namespace fused_attention {

namespace {

const Backend& backendOf(const Problem& problem) {
  return problem.device == DeviceKind::cuda ? cudaBackend() : cpuBackend();
}

auto planOn(const Backend& backend, const Call& call, const CancelFlag& cancel = CancelFlag::never()) {
  const Pointers& pointers = call.pointers;
  return backend.plan(call.problem, pointers.lengthsQ, pointers.lengthsKv, pointers.pages, cancel);
}

std::shared_ptr<const Plan> planOrThrow(const Call& call, const CancelFlag& cancel = CancelFlag::never()) {
  auto planned = planOn(backendOf(call.problem), call, cancel);
  if (const Refusal* refusal = std::get_if<Refusal>(&planned)) {
    throw CodedError(refusal->code, refusal->argument, "what this device can compute", refusal->reason);
  }
  return std::get<std::shared_ptr<const Plan>>(std::move(planned));
}

/// Why a call does not run on a CUDA device.
std::string whyNotCuda(const Call& call) {
  try {
    const auto planned = planOn(cudaBackend(), call);
    if (const Refusal* refusal = std::get_if<Refusal>(&planned)) {
      const bool ofDevice = refusal->argument == "options.device";
      return ofDevice ? refusal->reason : "not computed there: " + refusal->reason + " (" + refusal->argument + ")";
    }
    return "never chosen unasked, as tensors in host memory have to be copied: ask with device 'cuda'";
  } catch (const CodedError& error) {
    return error.received;  // a device out of order: no matter of this call's
  }
}

}  // namespace

void compute(const Call& call, const CancelFlag& cancel) {
  const std::shared_ptr<const Plan> plan = planOrThrow(call, cancel);
  if (cancel.raised()) throw Cancelled();
  backendOf(call.problem).run(*plan, call.pointers, cancel);
}

Explanation explainCall(const Call& call) {
  Explanation explanation = planOrThrow(call)->explain();
  if (call.problem.device == DeviceKind::cuda) {
    explanation.notTaken.emplace_back("cpu", "another device was asked for");
  } else {
    explanation.notTaken.emplace_back("cuda", whyNotCuda(call));
  }
  explanation.notTaken.emplace_back("metal", "this build has no Metal kernels");
  return explanation;
}

}  // namespace fused_attention
