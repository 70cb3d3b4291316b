// What a program can be over a box of queries and keys, by abstract interpretation: always sound, and exact for the
// forms that patterns are made of.
//
// An integer is known by its interval, by a set where it takes few values, and, while it is a sum of positions, by its
// affine form: comparisons act on the difference of forms, so j <= i is decided by the range of j - i. For each value
// it is also known whether the ends of its interval, or all of it, really occur: then a verdict of "some" is certain.
#pragma once

#include <memory>
#include <vector>

#include "../range.h"
#include "extremes.h"
#include "unary.h"

namespace fused_attention {

/// Whether some pair of a box may be hidden, and may be visible.
struct Verdict {
  bool mayHide = true, mayShow = true;
  bool certain = false;  // what may be, is
  bool never() const { return !mayShow; }
  bool always() const { return !mayHide; }
};

class Bounds {
 public:
  static constexpr int64_t kAllHeads = -1;

  /// Throws CodedError ERR_OUT_OF_RANGE where an integer may leave int32, or a divisor be 0, somewhere in the sequence.
  explicit Bounds(const UnaryValues& values);

  bool dependsOnHead() const;
  /// Whether a pair's verdict depends on the distance of its positions alone, so that boxes of one shape along a
  /// diagonal have one verdict.
  bool onlyDistance() const { return ofDistance_.back(); }
  size_t bytes() const;

 private:
  friend class BoxView;

  /// a * row + b * column + c
  struct Form {
    bool is = false;
    int64_t a = 0, b = 0, c = 0;
  };
  enum class Part : uint8_t { unused, fixed, query, key, mixed };

  bool byForms(int n) const;
  void findForms();
  void findParts();
  void findDistances();

  const UnaryValues& values_;
  std::vector<Form> forms_;
  std::vector<Part> parts_;
  std::vector<bool> ofDistance_;                  // nodes that depend on the distance of positions alone
  bool positions_ = false;                        // positions themselves are read, not only vectors
  std::vector<int> fixed_, query_, key_, mixed_;  // nodes to evaluate for a verdict, in order
  std::vector<int> sums_;                         // mixed ones that a verdict takes the form of alone
  std::vector<std::unique_ptr<const ExtremesPyramid>> pyramids_;
};

}  // namespace fused_attention
