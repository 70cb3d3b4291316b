// Fuzzes the numbers and buffers of calls: decoding, extents, planning, and whatever is accepted and small runs.
//   byte: 0 a call, 1 explain, 2 a merge (modulo 3)
//   list: the numbers of native/problem_codec.h
//   count in a byte, then so many buffers
#include "run_call.h"

using namespace fused_attention;
using namespace fused_attention::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const int what = input.byte() % 3;
  const std::vector<double> numbers = input.list();
  GuardedBuffers memory(input.contents());
  try {
    if (what == 0) runCall(numbers, memory, {});
    if (what == 1) explainCall(numbers, memory, {});
    if (what == 2) merge(numbers, memory);
  } catch (const CodedError&) {
    return 0;
  }
  return 0;
}
