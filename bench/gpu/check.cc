#include "check.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace fused_attention::bench {

namespace {

// Half the distance of neighbours at 1, of float32 and of the tensors' type. Tensor cores truncate where they add.
constexpr double kUnit = 0x1p-24, kOfHardware = 2;
double unitOf(Dtype dtype) { return dtype == Dtype::float16 ? 0x1p-11 : dtype == Dtype::bfloat16 ? 0x1p-8 : 0; }

class Row {
 public:
  Row(const Call& call, int64_t batch, int64_t head, int64_t row)
      : call_(call), dim_(call.what().dim), keys_(seen(call.what(), row)) {
    const Case& c = call.what();
    at_ = (batch * c.headsQ + head) * c.queries + row;
    firstKey_ = (batch * c.headsKv + head / (c.headsQ / c.headsKv)) * c.keys;
    weigh();
  }

  /// The largest error over its bound.
  double error() const {
    const double inner = (std::sqrt(double(dim_)) * magnitude_ + std::sqrt(double(keys_)) + 8) * kOfHardware * kUnit;
    double worst = over(call_.lse.at(at_), lse_, inner + kUnit * std::fabs(lse_));
    for (int64_t d = 0; d < dim_; ++d) {
      double sum = 0, spread = 0;
      for (int64_t j = 0; j < keys_; ++j) {
        const double v = call_.value.at((firstKey_ + j) * dim_ + d);
        sum += weights_[size_t(j)] * v;
        spread += weights_[size_t(j)] * std::fabs(v);
      }
      // Weights are rounded to the type, and so is the result, which may be less than normal.
      const double unit = unitOf(call_.what().dtype);
      const double bound = inner * spread + unit * (spread + std::fabs(sum)) + (unit == 0 ? 0x1p-126 : kUnit);
      worst = std::max(worst, over(call_.output.at(at_ * dim_ + d), sum, bound));
    }
    return worst;
  }

 private:
  static int64_t seen(const Case& c, int64_t row) {
    return c.causal ? std::clamp<int64_t>(row + 1 + c.keys - c.queries, 0, c.keys) : c.keys;
  }

  /// A NaN is as wrong as can be.
  static double over(double actual, double expected, double bound) {
    if (actual == expected) return 0;
    const double error = std::fabs(actual - expected) / bound;
    return error < std::numeric_limits<double>::infinity() ? error : std::numeric_limits<double>::infinity();
  }

  void weigh() {
    double largest = -std::numeric_limits<double>::infinity(), sum = 0;
    for (int64_t j = 0; j < keys_; ++j) {
      double score = 0, absolute = 0;
      for (int64_t d = 0; d < dim_; ++d) {
        const double product = call_.query.at(at_ * dim_ + d) * call_.key.at((firstKey_ + j) * dim_ + d);
        score += product;
        absolute += std::fabs(product);
      }
      weights_.push_back(score * call_.problem().scale);
      largest = std::max(largest, weights_.back());
      magnitude_ = std::max(magnitude_, absolute * call_.problem().scale);
    }
    for (double& weight : weights_) sum += weight = std::exp(weight - largest);
    for (double& weight : weights_) weight /= sum;
    lse_ = keys_ == 0 ? largest : largest + std::log(sum);
  }

  const Call& call_;
  const int64_t dim_, keys_;
  int64_t at_ = 0, firstKey_ = 0;
  std::vector<double> weights_;  // scores, before
  double magnitude_ = 0, lse_ = 0;
};

}  // namespace

double worstError(const Call& call, int64_t rows) {
  const Case& c = call.what();
  const int64_t all = c.batch * c.headsQ * c.queries, step = std::max<int64_t>(1, all / rows | 1);
  double worst = 0;
  for (int64_t n = 0; n < all; n += step) {
    worst = std::max(worst, Row(call, n / c.queries / c.headsQ, n / c.queries % c.headsQ, n % c.queries).error());
  }
  return worst;
}

}  // namespace fused_attention::bench
