#include "cases.h"

namespace fused_attention::bench {

namespace {

constexpr Dtype kHalves[] = {Dtype::float16, Dtype::bfloat16};
constexpr int64_t kTokens = 16384,
                  kComponents = 2048;  // of a whole batch, and of all heads: FlashAttention's own bench

Case square(Dtype dtype, int64_t dim, int64_t length, bool causal) {
  const int64_t heads = kComponents / dim;
  return {dtype, dim, kTokens / length, heads, heads, length, length, causal};
}

}  // namespace

const char* nameOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32: return "float32";
    case Dtype::float16: return "float16";
    case Dtype::bfloat16: return "bfloat16";
    case Dtype::boolean: break;
  }
  return "boolean";
}

std::string Case::label() const {
  const auto text = [](int64_t x) { return std::to_string(x); };
  const std::string heads = headsQ == headsKv ? text(headsQ) : text(headsQ) + "/" + text(headsKv);
  const std::string length = queries == keys ? text(keys) : text(queries) + "x" + text(keys);
  return std::string(nameOf(dtype)) + " D " + text(dim) + ", B " + text(batch) + ", H " + heads + ", N " + length +
         (causal ? ", causal" : "");
}

std::vector<Case> checkedCases() {
  std::vector<Case> cases;
  for (const Dtype dtype : {Dtype::float16, Dtype::bfloat16, Dtype::float32}) {
    for (const int64_t dim : {int64_t(40), int64_t(64), int64_t(128), int64_t(200)}) {
      if (dtype == Dtype::float32 && dim > 128) continue;
      cases.push_back({dtype, dim, 1, 2, 1, 1, 300, false});
      cases.push_back({dtype, dim, 2, 2, 2, 17, 129, true});
      cases.push_back({dtype, dim, 1, 4, 2, 200, 200, true});
      cases.push_back({dtype, dim, 1, 1, 1, 129, 65, false});
      cases.push_back({dtype, dim, 1, 1, 1, 130, 70, true});  // the first queries see no key
    }
  }
  return cases;
}

std::vector<Case> timedCases(bool small) {
  std::vector<Case> cases;
  if (small) {
    for (const bool causal : {false, true}) {
      for (const int64_t dim : {int64_t(64), int64_t(128)}) {
        for (const Dtype dtype : {Dtype::float16, Dtype::bfloat16, Dtype::float32}) {
          cases.push_back({dtype, dim, 1, 1, 1, 256, 256, causal});
        }
      }
      cases.push_back({Dtype::float16, 256, 1, 1, 1, 256, 256, causal});
    }
    for (const Dtype dtype : {Dtype::float16, Dtype::bfloat16, Dtype::float32}) {
      for (const int64_t dim : {int64_t(64), int64_t(128), int64_t(256)}) {
        if (dtype != Dtype::float32 || dim <= 128) cases.push_back({dtype, dim, 2, 4, 1, 1, 300, false});
      }
    }
    return cases;
  }
  for (const int64_t dim : {int64_t(64), int64_t(128), int64_t(256)}) {
    for (const bool causal : {false, true}) {
      for (int64_t length = 512; length <= kTokens; length *= 2) {
        cases.push_back(square(Dtype::float16, dim, length, causal));
      }
      for (const int64_t length : {2048, 8192}) cases.push_back(square(Dtype::bfloat16, dim, length, causal));
      if (dim > 128) continue;
      for (const int64_t length : {1024, 4096}) cases.push_back(square(Dtype::float32, dim, length, causal));
    }
  }
  for (const Dtype dtype : kHalves) {
    cases.push_back({dtype, 128, 4, 32, 8, 4096, 4096, true});
    cases.push_back({dtype, 128, 1, 32, 8, 1024, 16384, false});
    cases.push_back({dtype, 64, 8, 32, 8, 1, 16384, false});
    cases.push_back({dtype, 128, 8, 32, 8, 1, 16384, false});
    cases.push_back({dtype, 128, 1, 32, 8, 1, 131072, false});
    cases.push_back({dtype, 128, 8, 32, 8, 2, 16384, false});
  }
  return cases;
}

}  // namespace fused_attention::bench
