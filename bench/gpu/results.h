// What was measured, as a table and as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cases.h"

namespace fused_attention::bench {

struct Result {
  Case what;
  std::string kernel;
  double error = 0;                  // over what is allowed
  double flops = 0;                  // useful ones
  std::vector<double> milliseconds;  // of each call; empty where there is no time
  std::string failed;                // why, where it did
  std::optional<double> torch;       // milliseconds

  bool right() const { return failed.empty() && error <= 1; }
  double median() const;
  double teraflops() const { return flops / median() / 1e9; }
};

struct Run {
  std::string device;
  double emptyCall = 0;  // milliseconds of a call of one query and one key
  std::vector<Result> checked, timed;
  std::string torch;  // which, or why there is none

  size_t failures() const;
};

std::string tableOf(const Run& run);
std::string jsonOf(const Run& run);

}  // namespace fused_attention::bench
