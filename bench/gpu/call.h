// A case as a call on the first device: tensors on the host and there, and the plan that the library makes of it.
#pragma once

#include <memory>
#include <vector>

#include "cases.h"
#include "device_memory.h"

namespace fused_attention::bench {

/// Row after row, values of one type.
class HostTensor {
 public:
  HostTensor(Dtype dtype, int64_t elements) : dtype_(dtype), bytes_(size_t(elements * sizeOf(dtype))) {}

  /// Drawn from a normal distribution, by the seed.
  void draw(uint64_t seed);
  double at(int64_t element) const;
  Buffer buffer() { return {bytes_.data(), bytes_.size()}; }

 private:
  Dtype dtype_;
  std::vector<unsigned char> bytes_;
};

class Call {
 public:
  /// Throws CodedError, also where the kernels do not take it.
  explicit Call(const Case& c);

  const Case& what() const { return case_; }
  const Problem& problem() const { return problem_; }
  Explanation explain() const { return plan_->explain(); }
  /// Launches and waits.
  void run() const;
  /// Copies output and lse from the device.
  void fetch();

  HostTensor query, key, value, output, lse;

 private:
  const Case case_;
  const Problem problem_;
  std::shared_ptr<const TensorMemory> onDevice_[5];  // in the order of the tensors above
  std::shared_ptr<const Plan> plan_;
  Pointers pointers_;
};

}  // namespace fused_attention::bench
