// Runs every registered test, or those whose name contains the argument; prints failing places, which tests
// take long, then the counts.
#include <chrono>

#include "test.h"

namespace fused_attention::test {

namespace {
constexpr double kLong = 3;  // seconds
}

int runAll(const char* only) {
  int passed = 0, failed = 0;
  for (const Case& test : cases()) {
    if (only != nullptr && test.name.find(only) == std::string::npos) continue;
    failuresHere = 0;
    const auto start = std::chrono::steady_clock::now();
    try {
      test.body();
    } catch (const std::exception& error) {
      fail(test.name.c_str(), 0, std::string("threw ") + error.what());
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (seconds.count() > kLong) std::printf("  %s took %.1f s\n", test.name.c_str(), seconds.count());
    if (failuresHere > 0) std::printf("FAILED %s (%d places)\n", test.name.c_str(), failuresHere);
    ++(failuresHere > 0 ? failed : passed);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed > 0 || passed == 0 ? 1 : 0;
}

}  // namespace fused_attention::test

int main(int count, char** arguments) { return fused_attention::test::runAll(count > 1 ? arguments[1] : nullptr); }
