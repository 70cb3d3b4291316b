// The yardsticks of peak.cc, one entry for each instruction set that this processor can run, best first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bench {

struct Loop {
  const char* isa;                                  // names as in FUSED_ATTENTION_ISA
  double (*multiplyAdd)(int64_t rounds);            // returns the operations it did
  double (*read)(const float* data, size_t count);  // returns something that depends on what it read
};

const std::vector<Loop>& loops();

}  // namespace bench
