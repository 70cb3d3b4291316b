// Conversions of half formats, exhaustively.
#include "half.h"

#include <cmath>

#include "test.h"

using namespace fused_attention::ptx;

namespace {

// Every value comes back, every midpoint goes to the even neighbour, and what lies beside a midpoint to the nearer one.
template <class N>
void checkRounding() {
  int wrong = 0;
  for (int bits = 0; bits < N::infinity; ++bits) {
    const uint16_t here = static_cast<uint16_t>(bits), next = static_cast<uint16_t>(bits + 1);
    const double value = toFloat(N{here});
    const double step = bits == 0 ? toFloat(N{1}) : value - toFloat(N{static_cast<uint16_t>(bits - 1)});
    const double above = next == N::infinity ? value + step : toFloat(N{next});
    const double middle = (value + above) / 2;
    wrong += narrow<N>(value).bits != here;
    wrong += narrow<N>(-value).bits != (here | 0x8000);
    wrong += narrow<N>(middle).bits != (bits % 2 == 0 ? here : next);
    wrong += narrow<N>(std::nextafter(middle, 0.0)).bits != here;
    wrong += narrow<N>(std::nextafter(middle, 1e300)).bits != next;
    wrong += narrow<N>(std::nextafter(above, 0.0), true).bits != here;
  }
  CHECK_EQ(wrong, 0);
  CHECK(std::isnan(toFloat(narrow<N>(NAN))));
  CHECK_EQ(toFloat(narrow<N>(-INFINITY)), -INFINITY);
}

}  // namespace

TEST(rounding_to_float16) { checkRounding<Float16>(); }
TEST(rounding_to_bfloat16) { checkRounding<BFloat16>(); }
TEST(values_of_float16) {
  for (int bits = 0; bits < 0x10000; ++bits) {
    const float expected = static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(bits)));
    const float value = toFloat(Float16{static_cast<uint16_t>(bits)});
    if (!(std::isnan(value) && std::isnan(expected))) CHECK_EQ(value, expected);
  }
}
TEST(sums_rounded_to_odd) {
  CHECK_EQ(addToOdd(1, 0x1p-60), 1 + 0x1p-52);
  CHECK_EQ(addToOdd(1, -0x1p-60), 1 - 0x1p-53);
  CHECK_EQ(addToOdd(1, 0x1p-52), 1 + 0x1p-52);
  CHECK_EQ(addToOdd(3, 4), 7.0);
}
