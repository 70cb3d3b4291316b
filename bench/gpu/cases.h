// The calls that the driver checks and times.
#pragma once

#include <string>
#include <vector>

#include "problem.h"

namespace fused_attention::bench {

/// q: [batch, headsQ, queries, dim], k and v: [batch, headsKv, keys, dim], each row after row.
struct Case {
  Dtype dtype;
  int64_t dim;
  int64_t batch, headsQ, headsKv;
  int64_t queries, keys;
  bool causal;

  std::string label() const;
};

const char* nameOf(Dtype dtype);

/// Small and of odd sizes, for a check of every row.
std::vector<Case> checkedCases();

/// Those that are timed: with `small` of sizes that an interpreter takes.
std::vector<Case> timedCases(bool small);

}  // namespace fused_attention::bench
