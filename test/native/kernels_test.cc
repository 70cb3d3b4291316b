// Products of tiles with queries and weights, on every instruction set that runs here, against float64 and against each
// other's lanes.
#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

TEST(targets_the_table_says_what_it_is) {
  forEachTarget([](const Kernels& kernels) {
    CHECK(kernels.isa != Isa::automatic);
    CHECK(kernels.maxLanes() <= 64);
  });
  CHECK(cpuInfo().usable.back() == Isa::portable);
}

TEST(scores_of_every_tail) {
  forEachTarget([](const Kernels& kernels) {
    for (int vectors = 1; vectors <= kernels.vectors; ++vectors) {
      const int lanes = vectors * kernels.width;
      for (int64_t dim : {1, 2, 3, 7, 8, 31, 63, 64, 65, 128, 130, 1024}) {
        const std::vector<float> panel = normals(dim * lanes);
        for (int64_t keys : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 17, 23, 25}) {
          const Rows rows(keys, dim);
          std::vector<float> scores(size_t(keys * lanes) + 1, -7.0f);
          kernels.scores(scores.data(), panel.data(), lanes, dim, rows.rows.data(), keys, {});
          CHECK_EQ(scores.back(), -7.0f);
          for (int64_t key = 0; key < keys; ++key) {
            for (int lane = 0; lane < lanes; ++lane) {
              double expected = 0, absolute = 0;
              for (int64_t d = 0; d < dim; ++d) {
                const double term = double(panel[size_t(d * lanes + lane)]) * rows.rows[size_t(key)][d];
                expected += term;
                absolute += std::abs(term);
              }
              CHECK_NEAR(scores[size_t(key * lanes + lane)], expected, kUnit * (std::sqrt(double(dim)) + 2) * absolute);
            }
          }
        }
      }
    }
  });
}

TEST(scores_a_lane_does_not_know_its_neighbours) {
  forEachTarget([](const Kernels& kernels) {
    for (int64_t dim : {5, 64, 100}) {
      const int most = kernels.maxLanes();
      const std::vector<float> panel = normals(dim * most);
      const Rows rows(21, dim);
      std::vector<float> together(size_t(21 * most));
      kernels.scores(together.data(), panel.data(), most, dim, rows.rows.data(), 21, {});
      for (int lane = 0; lane < most; ++lane) {
        const int narrow = kernels.width, place = int(integer(0, narrow - 1));
        std::vector<float> single(size_t(dim * narrow), kNaN);
        for (int64_t d = 0; d < dim; ++d) single[size_t(d * narrow + place)] = panel[size_t(d * most + lane)];
        for (int64_t key = 0; key < 21; ++key) {
          std::vector<float> alone(static_cast<size_t>(narrow));
          kernels.scores(alone.data(), single.data(), narrow, dim, &rows.rows[size_t(key)], 1, {});
          CHECK(sameBits(alone[size_t(place)], together[size_t(key * most + lane)]));
        }
      }
    }
  });
}

TEST(accumulate_every_tail_and_with_care) {
  forEachTarget([](const Kernels& kernels) {
    for (int vectors = 1; vectors <= kernels.vectors; ++vectors) {
      const int lanes = vectors * kernels.width;
      for (int64_t dim : {1, 2, 3, 5, 7, 8, 9, 12, 17, 65}) {
        for (int64_t keys : {1, 2, 5, 16}) {
          const Rows values(keys, dim);
          std::vector<float> weights = normals(keys * lanes), rescale = normals(lanes);
          for (float& weight : weights) weight = integer(0, 2) == 0 ? 0 : std::abs(weight);
          const std::vector<float> before = normals(dim * lanes);
          std::vector<float> plain = before, careful = before;
          kernels.accumulate(plain.data(), lanes, dim, rescale.data(), weights.data(), values.rows.data(), keys, false,
                             {});
          kernels.accumulate(careful.data(), lanes, dim, rescale.data(), weights.data(), values.rows.data(), keys, true,
                             {});
          for (int64_t d = 0; d < dim; ++d) {
            for (int lane = 0; lane < lanes; ++lane) {
              const auto at = size_t(d * lanes + lane);
              double expected = double(before[at]) * rescale[size_t(lane)], absolute = std::abs(expected);
              for (int64_t key = 0; key < keys; ++key) {
                const double term = double(weights[size_t(key * lanes + lane)]) * values.rows[size_t(key)][d];
                expected += term;
                absolute += std::abs(term);
              }
              CHECK_NEAR(plain[at], expected, kUnit * (double(keys) + 3) * absolute);
              CHECK_EQ(plain[at], careful[at]);
            }
          }
        }
      }
    }
  });
}

TEST(accumulate_with_care_never_touches_hidden_values) {
  forEachTarget([](const Kernels& kernels) {
    const int lanes = kernels.maxLanes();
    const int64_t dim = 11, keys = 9;
    Rows values(keys, dim), poisoned = values;
    for (size_t i = 0; i < poisoned.rows.size(); ++i) poisoned.rows[i] = poisoned.memory[i].data();
    values.rows.clear();
    for (const auto& row : values.memory) values.rows.push_back(row.data());
    for (float& x : poisoned.memory[4]) x = integer(0, 1) ? kNaN : kInfinity;
    std::vector<float> weights(size_t(keys * lanes), 0.5f), rescale(size_t(lanes), 1.0f);
    for (int lane = 1; lane < lanes; ++lane) weights[size_t(4 * lanes + lane)] = 0;  // only lane 0 sees key 4
    std::vector<float> output(size_t(dim * lanes), 0.0f), clean = output;
    kernels.accumulate(output.data(), lanes, dim, rescale.data(), weights.data(), poisoned.rows.data(), keys, true, {});
    kernels.accumulate(clean.data(), lanes, dim, rescale.data(), weights.data(), values.rows.data(), keys, true, {});
    CHECK(kernels.hasNaN(output.data(), dim * lanes) || !std::isfinite(output[0]));
    for (int64_t d = 0; d < dim; ++d) {
      CHECK(!std::isfinite(output[size_t(d * lanes)]));
      for (int lane = 1; lane < lanes; ++lane) {
        CHECK(sameBits(output[size_t(d * lanes + lane)], clean[size_t(d * lanes + lane)]));
      }
    }
  });
}

TEST(hasNaN_finds_one_anywhere) {
  forEachTarget([](const Kernels& kernels) {
    const int64_t count = 5 * kernels.width;
    std::vector<float> panel = normals(count);
    panel[0] = kInfinity;
    CHECK(!kernels.hasNaN(panel.data(), count));
    for (int64_t at = 0; at < count; ++at) {
      const float kept = panel[size_t(at)];
      panel[size_t(at)] = kNaN;
      CHECK(kernels.hasNaN(panel.data(), count));
      panel[size_t(at)] = kept;
    }
  });
}

}  // namespace
}  // namespace fused_attention
