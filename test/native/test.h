// The whole native test framework. TEST(name) { ... } registers a test; CHECK* note a failing place and go on.
// Tests may be made in a loop with addTest. `main` stands in main.cc and takes a part of the names to run as argument.
#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace fused_attention::test {

struct Case {
  std::string name;
  std::function<void()> body;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int failuresHere = 0;  // of the test that is running

inline bool addTest(std::string name, std::function<void()> body) {
  cases().push_back({std::move(name), std::move(body)});
  return true;
}

inline void fail(const char* file, int line, const std::string& what) {
  if (++failuresHere <= 10) std::printf("  %s:%d: %s\n", file, line, what.c_str());
}

template <class A, class B>
std::string both(const char* text, const A& a, const B& b) {
  std::ostringstream out;
  out.precision(17);
  out << text;
  if constexpr (requires { out << +a << +b; }) out << ": " << +a << " and " << +b;
  if constexpr (
      !requires { +a; } && requires { out << a << b; })
    out << ": " << a << " and " << b;
  return out.str();
}

int runAll(const char* only);  // main.cc

}  // namespace fused_attention::test

#define TEST(name)                                                                          \
  static void test_##name();                                                                \
  static const bool registered_##name = fused_attention::test::addTest(#name, test_##name); \
  static void test_##name()
#define FAIL(what) fused_attention::test::fail(__FILE__, __LINE__, what)
#define CHECK(condition) ((condition) ? void() : FAIL(#condition))
#define CHECK_EQ(a, b) ((a) == (b) ? void() : FAIL(fused_attention::test::both(#a " == " #b, a, b)))
#define CHECK_NEAR(a, b, bound) /* false for NaN */ \
  (std::abs((a) - (b)) <= (bound) ? void() : FAIL(fused_attention::test::both(#a " near " #b, a, b)))
