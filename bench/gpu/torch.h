// PyTorch's scaled_dot_product_attention on the same cases, in a Python process of its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cases.h"

namespace fused_attention::bench {

struct TorchTimes {
  std::string who;  // "torch 2.5.1"; or empty, and why there is none
  std::string reason;
  std::vector<std::optional<double>> milliseconds;  // of each case, a median; none where it failed
};

/// `seconds` are spent on a case. The command is the environment's PYTHON, or python3.
TorchTimes timeTorch(const std::vector<Case>& cases, double seconds);

}  // namespace fused_attention::bench
