// How one Problem is cut up for the kernels: blocks of queries, and of each the keys that it sees, as ranges.
// Immutable.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "../native/backend.h"
#include "device.h"
#include "kernels/forward_parameters.h"

namespace fused_attention::cuda {

/// Row r sees the keys from r + first on, before r + end.
struct MovingKeys {
  int32_t first, end;
};

/// What of one sequence's keys its rows see.
struct SequenceKeys {
  std::vector<KeyRange> rows;    // of each row, one range; empty where it sees none
  std::vector<KeyRange> blocks;  // of kBlockQueries rows each, from the first key that any sees to the last
};

class CudaPlan : public Plan {
 public:
  /// Or why the kernels cannot compute the problem on this device. Throws CodedError.
  static std::variant<std::shared_ptr<const Plan>, Refusal> make(const Device& device, const Problem& problem);

  CudaPlan(const Device& device, const Problem& problem, const MovingKeys& moving, std::vector<SequenceKeys> keys);

  Explanation explain() const override;

  const Device& device() const { return device_; }
  const Problem& problem() const { return problem_; }
  /// The instance of the kernel that has room for the components.
  int kernelDim() const;
  std::string kernelName() const;
  int64_t queryBlocks() const;
  int64_t blocks() const;
  /// Of each sequence in turn, or of all alike where there is one. None where what rows see moves on with them.
  const std::vector<SequenceKeys>& keys() const { return keys_; }
  const MovingKeys& moving() const { return moving_; }

 private:
  const Device& device_;
  const Problem problem_;
  const MovingKeys moving_;
  const std::vector<SequenceKeys> keys_;
};

}  // namespace fused_attention::cuda
