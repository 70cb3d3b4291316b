// A program over one box of queries and keys after the other.
#pragma once

#include <vector>

#include "abstract_value.h"
#include "bounds.h"

namespace fused_attention {

/// Boxes of one program, one after the other: what depends on the rows alone is kept while the columns change, and the
/// other way round. Of one thread.
class BoxView {
 public:
  explicit BoxView(const Bounds& bounds, int64_t head = Bounds::kAllHeads);

  void setRows(Range rows);
  void setColumns(Range columns);
  /// Of a mask program. Neither range may be empty.
  Verdict verdict();
  /// Of the box of the last verdict: the node that has the mask's value for each of its pairs, where that goes by the
  /// distance of positions alone; else -1.
  int decidedByDistance() const;
  /// Of that box: whether each of its queries has one value with all of its keys.
  bool keysAlike();

  const AbstractValue& value(int node) const { return values_[size_t(node)]; }
  void evaluateMixed();
  void evaluateNode(int node);

 private:
  void place(const std::vector<int>& nodes, Range range);
  AbstractValue leaf(int n, Range range) const;
  AbstractValue operation(int n) const;
  AbstractValue integers(int n) const;
  AbstractValue compare(int n) const;
  AbstractValue compareReals(int n) const;
  AbstractValue read(int n) const;
  AbstractValue affine(int n) const;
  AbstractValue comparison(int n) const;
  bool independent(int a, int b) const;
  bool withoutGaps(int64_t a, int64_t b) const;
  bool sameForKeys(int n) const;

  const Bounds& bounds_;
  const Program& program_;
  int64_t head_;
  Range rows_, columns_;
  std::vector<AbstractValue> values_;
  std::vector<bool> alike_;  // mixed nodes that all keys of the box have the same values of
  Verdict last_;
  bool changed_ = true;  // since the last verdict
};

}  // namespace fused_attention
