// The operations for few queries, with components across lanes, on every instruction set that runs here, against
// float64. Rows are memory of their own: a sanitizer sees a read past any of them.
#include "cpu/half.h"
#include "cpu/rows_ahead.h"
#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

/// Rows of a type: what is stored, and what it means.
struct TypedRows {
  std::vector<std::vector<uint16_t>> halves;
  Rows values;
  std::vector<const void*> rows;

  TypedRows(int64_t count, int64_t dim, Dtype dtype) : values(count, dim) {
    for (auto& row : values.memory) {
      if (dtype == Dtype::float32) {
        rows.push_back(row.data());
        continue;
      }
      halves.emplace_back();
      for (float& x : row) {
        halves.back().push_back(dtype == Dtype::float16 ? floatToFloat16(x) : floatToBfloat16(x));
        x = dtype == Dtype::float16 ? float16ToFloat(halves.back().back()) : bfloat16ToFloat(halves.back().back());
      }
    }
    for (const auto& row : halves) rows.push_back(row.data());
  }
};

constexpr Dtype kTypes[] = {Dtype::float32, Dtype::float16, Dtype::bfloat16};

int64_t strideOf(const Kernels& kernels, int64_t dim) {
  return (dim + kernels.width - 1) / kernels.width * kernels.width;
}

TEST(few_scores_of_every_tail) {
  forEachTarget([](const Kernels& kernels) {
    const int width = kernels.width;
    for (const Dtype dtype : kTypes) {
      for (int count = 1; count <= width; ++count) {
        for (const int64_t dim : {17, 24, 64, 65, 100}) {
          for (const int64_t keys : {1, 2, 3, 7, 8, 9, 17}) {
            const TypedRows queries(count, dim, dtype), rows(keys, dim, dtype);
            const double scale = 0.3;
            std::vector<float> panel(size_t((count + 3) * strideOf(kernels, dim)), kNaN);
            kernels.packFewQueries(panel.data(), queries.rows.data(), count, dtype, dim, scale);
            std::vector<float> scores(size_t(keys * width) + 1, -7.0f);
            kernels.fewScores(scores.data(), panel.data(), count, dim, rows.rows.data(), dtype, keys, {width, 1}, {});
            CHECK_EQ(scores.back(), -7.0f);
            for (int64_t key = 0; key < keys; ++key) {
              for (int t = 0; t < count; ++t) {
                double expected = 0, absolute = 0;
                for (int64_t d = 0; d < dim; ++d) {
                  const double term =
                      scale * queries.values.memory[size_t(t)][size_t(d)] * rows.values.memory[size_t(key)][size_t(d)];
                  expected += term;
                  absolute += std::abs(term);
                }
                CHECK_NEAR(scores[size_t(key * width + t)], expected, kUnit * (std::sqrt(double(dim)) + 2) * absolute);
              }
              for (int t = count; t < width; ++t) CHECK(std::isfinite(scores[size_t(key * width + t)]));
            }
          }
        }
      }
    }
  });
}

/// Rows and panels differ in where things lie, and in no bit.
TEST(few_rows_are_panels_the_other_way_round) {
  forEachTarget([](const Kernels& kernels) {
    const int width = kernels.width;
    constexpr int64_t dim = 64, most = 128;
    const auto same = [](float a, float b) { return sameBits(a, b) || (a != a && b != b); };
    for (const bool capped : {false, true}) {
      for (int count = 1; count <= width; ++count) {
        State panelState(width), rowState(width);
        int64_t column = 0, wrong = 0;
        for (const int64_t keys : {3, 128, 1, 64, 97, 2}) {
          const TypedRows queries(count, dim, Dtype::float32), rows(keys, dim, Dtype::float32);
          std::vector<float> packed(size_t((count + 3) * strideOf(kernels, dim)), kNaN);
          // Once scores so large that the reference is moved.
          const double scale = keys == 97 ? 1e6 : 0.7;
          kernels.packFewQueries(packed.data(), queries.rows.data(), count, Dtype::float32, dim, scale);
          std::vector<float> panel(size_t(keys * width)), lying(size_t((width + 3) * most), kNaN);
          const FewLayout byKey{width, 1}, byQuery{1, most};
          const void* const* at = rows.rows.data();
          kernels.fewScores(panel.data(), packed.data(), count, dim, at, Dtype::float32, keys, byKey, {});
          kernels.fewScores(lying.data(), packed.data(), count, dim, at, Dtype::float32, keys, byQuery, {});
          ScoreTile tile{panel.data(), keys, int(column & 3), nullptr, 0, 0, nullptr, capped ? 4.0f : 0.0f, false};
          kernels.softmax(tile, width, panelState.softmax(), panelState.rescale.data());
          tile.scores = lying.data();
          kernels.fewSoftmax(tile, count, most, rowState.softmax(), rowState.rescale.data());
          std::vector<float> output(size_t(count * dim), 1.0f), other = output;
          kernels.fewAccumulate(output.data(), count, dim, panelState.rescale.data(), panel.data(), at, Dtype::float32,
                                keys, byKey, false, {});
          kernels.fewAccumulate(other.data(), count, dim, rowState.rescale.data(), lying.data(), at, Dtype::float32,
                                keys, byQuery, false, {});
          for (int t = 0; t < count; ++t) {
            const auto lane = size_t(t);
            wrong += !same(panelState.reference[lane], rowState.reference[lane]);
            wrong += !same(panelState.sum[lane], rowState.sum[lane]);
            wrong += !same(panelState.maximum[lane], rowState.maximum[lane]);
            wrong += !same(panelState.rescale[lane], rowState.rescale[lane]);
            for (int64_t key = 0; key < keys; ++key) {
              wrong += !same(panel[size_t(key * width + t)], lying[size_t(t * most + key)]);
            }
          }
          for (size_t n = 0; n < output.size(); ++n) wrong += !same(output[n], other[n]);
          column += keys;
        }
        CHECK_EQ(wrong, 0);
      }
    }
  });
}

TEST(few_outputs_of_every_tail_and_with_care) {
  forEachTarget([](const Kernels& kernels) {
    const int width = kernels.width;
    for (const Dtype dtype : kTypes) {
      for (int count = 1; count <= width; ++count) {
        for (const int64_t dim : {8, 17, 64, 65, 104, 130}) {
          for (const int64_t keys : {1, 15, 16, 33}) {
            const int64_t stride = strideOf(kernels, dim);
            TypedRows values(keys, dim, dtype);
            std::vector<float> weights = normals(keys * width);
            for (float& weight : weights) weight = integer(0, 2) == 0 ? 0 : std::abs(weight);
            const std::vector<float> rescale = normals(width), before = normals(count * stride);
            std::vector<float> plain = before, careful = before;
            plain.push_back(-7), careful.push_back(-7);
            const auto run = [&](std::vector<float>& output, bool care) {
              kernels.fewAccumulate(output.data(), count, dim, rescale.data(), weights.data(), values.rows.data(),
                                    dtype, keys, {width, 1}, care, {});
              CHECK_EQ(output.back(), -7.0f);
            };
            run(plain, false);
            run(careful, true);
            for (int t = 0; t < count; ++t) {
              for (int64_t d = 0; d < dim; ++d) {
                const auto at = size_t(t * stride + d);
                double expected = double(before[at]) * rescale[size_t(t)], absolute = std::abs(expected);
                for (int64_t key = 0; key < keys; ++key) {
                  const double term =
                      double(weights[size_t(key * width + t)]) * values.values.memory[size_t(key)][size_t(d)];
                  expected += term;
                  absolute += std::abs(term);
                }
                CHECK_NEAR(plain[at], expected, kUnit * (double(keys) + 3) * absolute);
                CHECK_EQ(plain[at], careful[at]);
              }
            }
            // A value that no query looks at may be anything.
            for (int t = 0; t < width; ++t) weights[size_t(t)] = 0;
            const auto poison = dtype == Dtype::float16 ? uint16_t(0x7e00) : uint16_t(0x7fc0);
            if (dtype == Dtype::float32) {
              values.values.memory[0].assign(size_t(dim), kNaN);
            } else {
              values.halves[0].assign(size_t(dim), poison);
            }
            values.rows[0] = dtype == Dtype::float32 ? static_cast<const void*>(values.values.memory[0].data())
                                                     : values.halves[0].data();
            std::vector<float> clean = before;
            clean.push_back(-7);
            run(clean, true);
            for (int t = 0; t < count; ++t) {
              for (int64_t d = 0; d < dim; ++d) CHECK(std::isfinite(clean[size_t(t * stride + d)]));
            }
          }
        }
      }
    }
  });
}

TEST(few_results_are_combined_and_finished_like_those_of_lanes) {
  forEachTarget([](const Kernels& kernels) {
    const int width = kernels.width;
    for (const int64_t dim : {8, 17, 64, 65}) {
      const int64_t stride = strideOf(kernels, dim);
      for (int count = 1; count <= width; ++count) {
        State left(width), right(width), leftLanes(width), rightLanes(width);
        for (int t = 0; t < width; ++t) {
          left.reference[size_t(t)] = float(integer(-9, 9)), right.reference[size_t(t)] = float(integer(-9, 9));
          left.sum[size_t(t)] = std::abs(normal()) + 0.5f, right.sum[size_t(t)] = std::abs(normal()) + 0.5f;
        }
        leftLanes = left, rightLanes = right;
        std::vector<float> few = normals(width * stride), fewRight = normals(width * stride);
        std::vector<float> lanes(size_t(dim * width)), lanesRight(size_t(dim * width));
        for (int64_t d = 0; d < dim; ++d) {
          for (int t = 0; t < width; ++t) {
            lanes[size_t(d * width + t)] = few[size_t(t * stride + d)];
            lanesRight[size_t(d * width + t)] = fewRight[size_t(t * stride + d)];
          }
        }
        kernels.fewMerge(few.data(), left.softmax(), fewRight.data(), right.softmax(), count, dim);
        kernels.merge(lanes.data(), leftLanes.softmax(), lanesRight.data(), rightLanes.softmax(), width, dim);
        CHECK(left.sum == leftLanes.sum);
        CHECK(left.reference == leftLanes.reference);

        std::vector<float> factor(size_t(width), 0.5f), denominator = left.sum;
        if (count > 1) denominator[1] = 0;
        for (const Dtype dtype : kTypes) {
          const auto bytes = size_t(dim * sizeOf(dtype));
          std::vector<std::vector<char>> memory(size_t(2 * count), std::vector<char>(bytes));
          std::vector<void*> rows;
          for (auto& row : memory) rows.push_back(row.data());
          kernels.fewFinish(few.data(), dim, factor.data(), denominator.data(), rows.data(), count, dtype);
          kernels.finish(lanes.data(), width, dim, factor.data(), denominator.data(), rows.data() + count, count,
                         dtype);
          for (int t = 0; t < count; ++t) CHECK(memory[size_t(t)] == memory[size_t(count + t)]);
        }
      }
    }
  });
}

/// Two calls over keys and values ask for every row of the stream that lies `distance` behind its start, once and in
/// order, however few rows follow.
TEST(rows_of_a_stream_are_asked_for_once) {
  for (const int64_t rows : {1, 3, 128}) {
    for (const int64_t distance : {1, 2, 64}) {
      for (const int64_t following : {int64_t{0}, int64_t{1}, distance, distance + 8}) {
        const std::vector<float> memory(size_t(2 * rows + following));
        std::vector<const void*> stream(memory.size());
        for (int64_t n = 0; n < 2 * rows; ++n) stream[size_t(n)] = &memory[size_t(n)];
        RowsAhead ahead(stream.data() + 2 * rows, following);
        for (int64_t n = 0; n <= following; ++n) {  // the last finds no room
          const void* const row = memory.data() + 2 * rows + n;
          ahead.add(&row, 1, 4);
        }
        ahead.share(2, stream.data(), 2 * rows, distance);
        int64_t expected = std::min(distance, 2 * rows + following);
        for (int call = 0; call < 2; ++call) {
          const Ahead part = ahead.next();
          for (int64_t n = 0; n < part.count; ++n) CHECK(part.rows[n] == &memory[size_t(expected++)]);
        }
        CHECK_EQ(expected, 2 * rows + following);
        CHECK_EQ(ahead.next().count, 0);
      }
    }
  }
}

}  // namespace
}  // namespace fused_attention
