// Online softmax of tiles and its merge, on every instruction set that runs here, against float64.
#include <algorithm>

#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

TEST(softmax_of_tiles_one_after_another) {
  forEachTarget([](const Kernels& kernels) {
    for (int vectors = 1; vectors <= kernels.vectors; ++vectors) {
      for (int variant = 0; variant < 16; ++variant) {
        const bool hides = variant & 1, biased = variant & 2, capped = variant & 4, moment = variant & 8;
        const int lanes = vectors * kernels.width;
        State state(lanes);
        std::vector<std::vector<double>> seen(static_cast<size_t>(lanes));  // base-2 scores
        int64_t column = 0;
        for (int64_t keys : {3, 1, 8, 2, 7, 64, 5}) {
          std::vector<float> scores = normals(keys * lanes, 6);
          const std::vector<float> bias = normals(keys * lanes, 2);
          std::vector<uint64_t> words(static_cast<size_t>(keys));
          for (uint64_t& word : words)
            word = (uint64_t(generator()) << 32 | generator()) | (integer(0, 3) == 0 ? ~0ull : 0);
          // Keys at either end may be declared to be visible to all.
          const int64_t hiddenFrom = integer(0, keys), hiddenEnd = integer(int(hiddenFrom), keys);
          for (int64_t key = 0; key < keys; ++key) {
            if (key < hiddenFrom || key >= hiddenEnd) words[size_t(key)] = ~uint64_t{0};
          }
          const std::vector<float> before = state.reference;
          ScoreTile tile{scores.data(),
                         keys,
                         int(column & 3),
                         hides ? words.data() : nullptr,
                         hiddenFrom,
                         hiddenEnd,
                         biased ? bias.data() : nullptr,
                         capped ? 4.0f : 0.0f,
                         moment};
          const std::vector<float> raw = scores;
          kernels.softmax(tile, lanes, state.softmax(), state.rescale.data());
          for (int lane = 0; lane < lanes; ++lane) {
            const auto at = size_t(lane);
            const double reference = state.reference[at];
            CHECK_EQ(reference, std::ceil(reference));
            CHECK(reference >= before[at]);
            CHECK_EQ(state.rescale[at], float(std::exp2(double(before[at]) - reference)));
            for (int64_t key = 0; key < keys; ++key) {
              const auto place = size_t(key * lanes + lane);
              if (hides && !(words[size_t(key)] >> lane & 1)) {
                CHECK_EQ(scores[place], 0.0f);
                continue;
              }
              double s = raw[place];
              if (capped) s = 4 * std::tanh(s / 4);
              if (biased) s += bias[place] * 1.4426950408889634;
              seen[at].push_back(s);
              // Relative: rounding of s itself and that of the exponential.
              CHECK_NEAR(scores[place], std::exp2(s - reference),
                         std::exp2(s - reference) * kUnit * (4 + 8 * std::abs(s) + std::abs(reference)) + 0x1p-126);
            }
          }
          column += keys;
        }
        for (int lane = 0; lane < lanes; ++lane) {
          const auto at = size_t(lane);
          double sum = 0, first = 0, largest = -INFINITY;
          for (double s : seen[at]) {
            sum += std::exp2(s - state.reference[at]);
            first += std::exp2(s - state.reference[at]) * (s - state.reference[at]);
            largest = std::max(largest, s);
          }
          if (seen[at].empty()) {
            CHECK_EQ(state.sum[at], 0.0f);
            CHECK_EQ(state.reference[at], -FLT_MAX);
            continue;
          }
          CHECK_NEAR(state.sum[at], sum, sum * 1e-5);
          CHECK_NEAR(state.maximum[at], largest, 1e-5 * (1 + std::abs(largest)));
          if (moment) CHECK_NEAR(state.moment[at], first, 1e-4 * (1 + std::abs(first)));
        }
      }
    }
  });
}

TEST(softmax_reference_is_the_ceiling_of_the_largest) {
  forEachTarget([](const Kernels& kernels) {
    State state(kernels.width);
    std::vector<float> scores(size_t(3 * kernels.width));
    for (int lane = 0; lane < kernels.width; ++lane) {
      scores[size_t(lane)] = float(lane) - 2.5f;
      scores[size_t(kernels.width + lane)] = float(lane) - 1.25f;
      scores[size_t(2 * kernels.width + lane)] = float(lane) - 3.0f;
    }
    kernels.softmax({scores.data(), 3, 0, nullptr, 0, 0, nullptr, 0, false}, kernels.width, state.softmax(),
                    state.rescale.data());
    for (int lane = 0; lane < kernels.width; ++lane) {
      CHECK_EQ(state.reference[size_t(lane)], float(lane) - 1.0f);
      CHECK_EQ(state.maximum[size_t(lane)], float(lane) - 1.25f);
    }
  });
}

TEST(softmax_infinite_scores) {
  forEachTarget([](const Kernels& kernels) {
    const int lanes = kernels.width;
    State state(lanes), clean(lanes);
    std::vector<float> scores = normals(6 * lanes), other = scores;
    // Lane 0 sees only -inf, lane 1 one of them, lane 2 a NaN, lane 3 +inf.
    for (int key = 0; key < 6; ++key) scores[size_t(key * lanes)] = -kInfinity;
    scores[size_t(2 * lanes + 1)] = -kInfinity;
    scores[size_t(3 * lanes + 2)] = kNaN;
    scores[size_t(4 * lanes + 3)] = kInfinity;
    kernels.softmax({scores.data(), 6, 0, nullptr, 0, 0, nullptr, 0, true}, lanes, state.softmax(),
                    state.rescale.data());
    kernels.softmax({other.data(), 6, 0, nullptr, 0, 0, nullptr, 0, true}, lanes, clean.softmax(),
                    clean.rescale.data());
    CHECK_EQ(state.sum[0], 0.0f);
    CHECK_EQ(state.reference[0], -FLT_MAX);
    for (int key = 0; key < 6; ++key) CHECK_EQ(scores[size_t(key * lanes)], 0.0f);
    CHECK_EQ(scores[size_t(2 * lanes + 1)], 0.0f);
    CHECK(state.sum[1] > 0 && state.sum[1] < kInfinity);
    CHECK(std::isnan(state.sum[2]));
    CHECK(!std::isfinite(state.sum[3]));
    for (int lane = 4; lane < lanes; ++lane) CHECK(sameBits(state.sum[size_t(lane)], clean.sum[size_t(lane)]));
  });
}

TEST(softmax_exponential_and_softcap_are_accurate) {
  forEachTarget([](const Kernels& kernels) {
    const int lanes = kernels.width;
    double worst = 0, worstCap = 0;
    for (double start = -126; start < 0; start += 0.37) {
      State state(lanes);
      constexpr int64_t keys = 40;
      std::vector<float> scores(static_cast<size_t>(keys * lanes));
      for (float& s : scores) s = float(std::min(0.0, start + 0.4 * double(generator()) / 4294967296.0));
      for (int lane = 0; lane < lanes; ++lane) scores[size_t(lane)] = 0;  // fixes the reference at 0
      const std::vector<float> x = scores;
      kernels.softmax({scores.data(), keys, 0, nullptr, 0, 0, nullptr, 0, false}, lanes, state.softmax(),
                      state.rescale.data());
      for (size_t i = 0; i < x.size(); ++i) {
        worst = std::max(worst, std::abs(scores[i] / std::exp2(double(x[i])) - 1));
        if (x[i] == 0) CHECK_EQ(scores[i], 1.0f);
      }
    }
    const bool fused = kernels.isa != Isa::portable && kernels.isa != Isa::sse4;
    CHECK_NEAR(worst, 0.0, fused ? 1.7e-7 : 1.8e-7);
    for (int round = 0; round < 4000; ++round) {
      const float cap = std::exp2(float(integer(-4, 6))) * (1 + float(generator()) / 4294967296.0f);
      State state(lanes);
      std::vector<float> scores = normals(lanes, cap * std::exp2(float(integer(-12, 5))));
      const std::vector<float> x = scores;
      kernels.softmax({scores.data(), 1, 0, nullptr, 0, 0, nullptr, cap, false}, lanes, state.softmax(),
                      state.rescale.data());
      for (int lane = 0; lane < lanes; ++lane) {
        const double expected = cap * std::tanh(double(x[size_t(lane)]) / cap);
        worstCap = std::max(worstCap, std::abs(state.maximum[size_t(lane)] / expected - 1));
      }
    }
    CHECK_NEAR(worstCap, 0.0, 8 * kUnit);
  });
}

TEST(softmax_below_the_range_is_exactly_zero) {
  forEachTarget([](const Kernels& kernels) {
    const int lanes = kernels.width;
    for (float low : {-126.5f, -127.0f, -1000.0f, -1e30f, -FLT_MAX}) {
      State state(lanes);
      std::vector<float> scores(size_t(2 * lanes), low);
      for (int lane = 0; lane < lanes; ++lane) scores[size_t(lane)] = 0;
      kernels.softmax({scores.data(), 2, 0, nullptr, 0, 0, nullptr, 0, false}, lanes, state.softmax(),
                      state.rescale.data());
      CHECK_EQ(scores[size_t(lanes)], 0.0f);
      CHECK_EQ(state.sum[0], 1.0f);
    }
  });
}

TEST(merge_combines_two_sides) {
  forEachTarget([](const Kernels& kernels) {
    for (int vectors = 1; vectors <= kernels.vectors; ++vectors) {
      const int lanes = vectors * kernels.width;
      const int64_t dim = 5;
      State left(lanes), right(lanes);
      std::vector<float> leftOutput = normals(dim * lanes), rightOutput = normals(dim * lanes);
      for (int lane = 0; lane < lanes; ++lane) {
        for (State* side : {&left, &right}) {
          const auto at = size_t(lane);
          side->reference[at] = float(integer(-20, 20));
          side->sum[at] = std::abs(normal()) + 0.1f;
          side->moment[at] = -std::abs(normal());
          side->maximum[at] = side->reference[at] - 0.5f;
        }
      }
      const auto empty = [&](State& side, std::vector<float>& output, int lane) {
        side.reference[size_t(lane)] = -FLT_MAX;
        side.sum[size_t(lane)] = side.moment[size_t(lane)] = 0;
        side.maximum[size_t(lane)] = -kInfinity;
        for (int64_t d = 0; d < dim; ++d) output[size_t(d * lanes + lane)] = 0;
      };
      empty(left, leftOutput, 0);
      empty(right, rightOutput, 1);
      empty(left, leftOutput, 2);
      empty(right, rightOutput, 2);
      State merged = left;
      std::vector<float> output = leftOutput;
      kernels.merge(output.data(), merged.softmax(), rightOutput.data(), right.softmax(), lanes, dim);
      for (int lane = 0; lane < lanes; ++lane) {
        const auto at = size_t(lane);
        const State* only = lane == 0 ? &right : lane == 1 ? &left : nullptr;
        const std::vector<float>& onlyOutput = lane == 0 ? rightOutput : leftOutput;
        const double reference = std::max(left.reference[at], right.reference[at]);
        CHECK_EQ(merged.reference[at], reference);
        CHECK_EQ(merged.maximum[at], std::max(left.maximum[at], right.maximum[at]));
        const double a = std::exp2(left.reference[at] - reference), b = std::exp2(right.reference[at] - reference);
        const double sum = left.sum[at] * a + right.sum[at] * b;
        CHECK_NEAR(merged.sum[at], sum, 2 * kUnit * sum);
        for (int64_t d = 0; d < dim; ++d) {
          const auto place = size_t(d * lanes + lane);
          const double x = leftOutput[place] * a, y = rightOutput[place] * b;
          CHECK_NEAR(output[place], x + y, 2 * kUnit * (std::abs(x) + std::abs(y)));
          if (only) CHECK_EQ(output[place], onlyOutput[place]);
        }
        if (only) {  // combining with nothing changes nothing
          CHECK_EQ(merged.sum[at], only->sum[at]);
          CHECK_EQ(merged.moment[at], only->moment[at]);
        } else if (lane == 2) {
          CHECK_EQ(merged.sum[at], 0.0f);
          CHECK_EQ(merged.moment[at], 0.0f);
        } else {
          const double moment = a * (left.moment[at] + (left.reference[at] - reference) * left.sum[at]) +
                                b * (right.moment[at] + (right.reference[at] - reference) * right.sum[at]);
          CHECK_NEAR(merged.moment[at], moment, 1e-5 * (1 + std::abs(moment)));
        }
      }
    }
  });
}

}  // namespace
}  // namespace fused_attention
