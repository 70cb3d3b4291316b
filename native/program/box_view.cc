#include "box_view.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace fused_attention {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

int64_t floorDiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
int64_t ceilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0 && (a < 0) == (b < 0)); }

}  // namespace

BoxView::BoxView(const Bounds& bounds, int64_t head)
    : bounds_(bounds), program_(bounds.values_.program()), head_(head), values_(bounds.parts_.size()) {
  const int64_t heads = bounds.values_.place().headsQ;
  for (const int n : bounds.fixed_) {
    const bool varies = program_.depends(n) & onHead;
    const Type type = program_.node(n).type;
    const int64_t first = varies && head_ >= 0 ? head_ : 0;
    const int64_t end = varies && head_ < 0 ? heads : first + 1;
    AbstractValue& value = values_[size_t(n)];
    bool poison = false;
    for (int64_t h = first; h < end; ++h) {
      poison |= bounds.values_.uncertain(n) && bounds.values_.scalarPoison(n, h);
      const Cell cell = bounds.values_.scalar(n, h);
      AbstractValue one;
      if (type == Type::real) {
        one.low = one.high = std::isnan(cell.real) ? 0 : double(cell.real);
        one.nan = std::isnan(cell.real);
      } else {
        one = exactly(cell.integer);
      }
      value = h == first ? one : either(value, one, type);
    }
    // Several heads: their values all occur, though not with every pair.
    if (value.hasSet || value.least == value.most) value.ends = true;
    value.poison = poison;
  }
}

void BoxView::setRows(Range rows) {
  rows_ = rows;
  place(bounds_.query_, rows);
}

void BoxView::setColumns(Range columns) {
  columns_ = columns;
  place(bounds_.key_, columns);
}

void BoxView::place(const std::vector<int>& nodes, Range range) {
  changed_ |= bounds_.positions_;
  for (const int n : nodes) {
    AbstractValue& value = values_[size_t(n)];
    const ExtremesPyramid* pyramid = bounds_.pyramids_[size_t(n)].get();
    if (!pyramid || program_.node(n).type == Type::real) {
      value = leaf(n, range);
      changed_ = true;
      continue;
    }
    // The common case, field by field: most boxes of one side hold the values that the last one held.
    const Extremes found = pyramid->over(range);
    const int64_t least = found.least.integer, most = found.most.integer;
    const bool hasSet = pyramid->hasSets() || least == most;
    const uint64_t set = pyramid->hasSets() ? found.set >> (least - pyramid->base()) : uint64_t(hasSet);
    if (value.ends && value.hasSet == hasSet && value.least == least && value.most == most && value.set == set &&
        value.poison == found.poison) {
      continue;
    }
    value.least = least;
    value.most = most;
    value.set = set;
    value.hasSet = hasSet;
    value.ends = true;
    value.contiguous = hasSet ? (set & (set + 1)) == 0 : pyramid->gapless();
    value.poison = found.poison;
    changed_ = true;
  }
}

Verdict BoxView::verdict() {
  if (!changed_) return last_;
  changed_ = false;
  evaluateMixed();
  const AbstractValue& result = values_.back();
  last_ = result.poison ? Verdict{} : Verdict{result.least == 0, result.most == 1, result.ends};
  return last_;
}

int BoxView::decidedByDistance() const {
  int n = program_.result();
  if (values_[size_t(n)].poison) return -1;
  while (!bounds_.ofDistance_[size_t(n)]) {
    const Node& node = program_.node(n);
    const bool joins = node.op == Op::land || node.op == Op::lor;
    if (!joins || bounds_.parts_[size_t(n)] != Bounds::Part::mixed) return -1;
    // One operand is what leaves the other the say.
    const int idle = node.op == Op::land;
    const auto leaves = [&](int k) {
      const AbstractValue& v = values_[size_t(node.args[k])];
      return !v.poison && v.least == idle && v.most == idle;
    };
    if (!leaves(0) && !leaves(1)) return -1;
    n = node.args[leaves(0) ? 1 : 0];
  }
  return n;
}

bool BoxView::keysAlike() {
  // What poison there is below a result without it has been decided against.
  if (values_.back().poison) return false;
  alike_.resize(values_.size());
  for (const int n : bounds_.mixed_) alike_[size_t(n)] = sameForKeys(n);
  return bounds_.parts_.back() != Bounds::Part::key && (bounds_.mixed_.empty() || alike_.back());
}

bool BoxView::sameForKeys(int n) const {
  if (isSingle(values_[size_t(n)])) return true;
  const Node& node = program_.node(n);
  const std::vector<Bounds::Form>& forms = bounds_.forms_;
  if (forms[size_t(n)].is) return forms[size_t(n)].b == 0;
  if (bounds_.byForms(n)) return forms[size_t(node.args[0])].b == forms[size_t(node.args[1])].b;
  bool all = node.op != Op::grid && node.op != Op::s;
  for (int k = 0; k < node.arity && all; ++k) {
    const int operand = node.args[k];
    switch (bounds_.parts_[size_t(operand)]) {
      case Bounds::Part::key: all = isSingle(values_[size_t(operand)]); break;
      case Bounds::Part::mixed: all = alike_[size_t(operand)]; break;
      default: break;
    }
  }
  return all;
}

void BoxView::evaluateMixed() {
  for (const int n : bounds_.mixed_) evaluateNode(n);
}

void BoxView::evaluateNode(int n) { values_[size_t(n)] = operation(n); }

/// A node of one side over a range of its positions: a sum of them, or reals.
AbstractValue BoxView::leaf(int n, Range range) const {
  const Bounds::Form& form = bounds_.forms_[size_t(n)];
  if (form.is) {
    const int64_t step = form.a + form.b;  // one of them is 0
    const int64_t first = step * range.begin + form.c, last = step * (range.end - 1) + form.c;
    return between(std::min(first, last), std::max(first, last), true, std::abs(step) <= 1);
  }
  const Extremes found = bounds_.pyramids_[size_t(n)]->over(range);
  AbstractValue v;
  v.low = found.any ? double(found.least.real) : kInfinity;
  v.high = found.any ? double(found.most.real) : -kInfinity;
  v.nan = found.nan;
  v.ends = found.any;
  v.poison = found.poison;
  return v;
}

/// Whether any value of one goes with any value of the other.
bool BoxView::independent(int a, int b) const {
  if (isSingle(values_[size_t(a)]) || isSingle(values_[size_t(b)])) return true;
  uint8_t shared = program_.depends(a) & program_.depends(b);
  if (head_ >= 0) shared &= uint8_t(~onHead);
  return shared == 0;
}

AbstractValue BoxView::affine(int n) const {
  const Bounds::Form& form = bounds_.forms_[size_t(n)];
  const auto ends = [](int64_t factor, Range range) {
    const int64_t first = factor * range.begin, last = factor * (range.end - 1);
    return std::pair{std::min(first, last), std::max(first, last)};
  };
  const auto [rowLeast, rowMost] = ends(form.a, rows_);
  const auto [columnLeast, columnMost] = ends(form.b, columns_);
  const int64_t least = rowLeast + columnLeast + form.c, most = rowMost + columnMost + form.c;
  return between(least, most, true, withoutGaps(form.a, form.b));
}

/// Whether a * row + b * column takes each integer of its range: steps of 1 on one side fill the gaps of the other
/// when they reach that far.
bool BoxView::withoutGaps(int64_t a, int64_t b) const {
  const int64_t rows = rows_.end - rows_.begin, columns = columns_.end - columns_.begin;
  a = rows == 1 ? 0 : std::abs(a);
  b = columns == 1 ? 0 : std::abs(b);
  return (a == 1 && rows >= b) || (b == 1 && columns >= a) || (a <= 1 && b <= 1);
}

AbstractValue BoxView::operation(int n) const {
  const Node& node = program_.node(n);
  if (bounds_.forms_[size_t(n)].is) return affine(n);
  const auto operand = [&](int k) -> const AbstractValue& { return values_[size_t(node.args[k])]; };
  switch (node.op) {
    case Op::grid: return anything(Type::boolean);
    case Op::s: return anything(Type::real);
    case Op::table: return read(n);
    case Op::lnot: {
      const AbstractValue& a = operand(0);
      AbstractValue v = truth(a.most == 1, a.least == 0, a.ends);
      v.poison = a.poison;
      return v;
    }
    case Op::land:
    case Op::lor: {
      const AbstractValue &a = operand(0), &b = operand(1);
      const bool either = node.op == Op::lor;
      const auto always = [](const AbstractValue& v, bool is) {
        return !v.poison && v.least == int(is) && v.most == int(is);
      };
      if (always(a, either) || always(b, either)) return exactly(either);
      if (always(a, !either)) return b;
      if (always(b, !either)) return a;
      // Of two independent ones every combination occurs.
      const bool certain = a.ends && b.ends && independent(node.args[0], node.args[1]);
      AbstractValue v = either ? truth(a.least == 0 && b.least == 0, a.most == 1 || b.most == 1, certain)
                               : truth(a.least == 0 || b.least == 0, a.most == 1 && b.most == 1, certain);
      v.poison = a.poison || b.poison;
      return v;
    }
    case Op::select: {
      const AbstractValue& condition = operand(0);
      AbstractValue v;
      if (condition.least == 1) {
        v = operand(1);
      } else if (condition.most == 0) {
        v = operand(2);
      } else {
        v = either(operand(1), operand(2), node.type);
        v.poison = operand(1).poison || operand(2).poison;
        if (node.type != Type::real && v.least != v.most) v.ends = v.contiguous = false;
      }
      v.poison |= condition.poison;
      return v;
    }
    default: break;
  }
  AbstractValue v = node.type == Type::boolean ? comparison(n)
                    : node.type == Type::real  ? anything(Type::real)
                                               : integers(n);
  for (int k = 0; k < node.arity; ++k) v.poison |= operand(k).poison;
  return v;
}

AbstractValue BoxView::comparison(int n) const {
  const bool reals = program_.node(program_.node(n).args[0]).type == Type::real;
  return reals ? compareReals(n) : compare(n);
}

AbstractValue BoxView::integers(int n) const {
  const Node& node = program_.node(n);
  const AbstractValue a = values_[size_t(node.args[0])];
  const AbstractValue b = node.arity > 1 ? values_[size_t(node.args[1])] : AbstractValue{};
  const bool fixed = node.arity > 1 && b.least == b.most;
  const bool free = node.arity > 1 && independent(node.args[0], node.args[1]);
  switch (node.op) {
    case Op::add:
      return between(a.least + b.least, a.most + b.most, free && a.ends && b.ends,
                     (fixed && a.contiguous) || (a.least == a.most && b.contiguous));
    case Op::sub:
      return between(a.least - b.most, a.most - b.least, free && a.ends && b.ends,
                     (fixed && a.contiguous) || (a.least == a.most && b.contiguous));
    case Op::mul: {
      const int64_t corners[] = {a.least * b.least, a.least * b.most, a.most * b.least, a.most * b.most};
      return between(*std::min_element(corners, corners + 4), *std::max_element(corners, corners + 4),
                     free && a.ends && b.ends);
    }
    case Op::mod:
      if (b.least <= 0 && b.most >= 0) return anything(Type::integer);
      return remainder(a, b);
    case Op::floorDiv:
      if (b.least <= 0 && b.most >= 0) return anything(Type::integer);
      return quotient(a, b, floorDiv);
    case Op::ceilDiv:
      if (b.least <= 0 && b.most >= 0) return anything(Type::integer);
      return quotient(a, b, ceilDiv);
    case Op::truncDiv:
      if (b.least <= 0 && b.most >= 0) return anything(Type::integer);
      return quotient(a, b, [](int64_t x, int64_t y) { return x / y; });
    case Op::neg: return negated(a);
    case Op::abs:
      if (a.least >= 0) return a;
      if (a.most <= 0) return negated(a);
      return between(0, std::max(-a.least, a.most), a.contiguous, a.contiguous);
    case Op::min: {
      const bool kept = fixed && a.contiguous;
      return between(std::min(a.least, b.least), std::min(a.most, b.most), free && a.ends && b.ends, kept);
    }
    case Op::max: {
      const bool kept = fixed && a.contiguous;
      return between(std::max(a.least, b.least), std::max(a.most, b.most), free && a.ends && b.ends, kept);
    }
    case Op::sign: {
      const auto sign = [](int64_t x) { return int64_t(x > 0) - int64_t(x < 0); };
      return between(sign(a.least), sign(a.most), a.ends, a.contiguous);
    }
    case Op::bitAnd:
    case Op::bitOr:
    case Op::bitXor: return bitwise(node.op, a, b);
    case Op::bitNot: return between(~a.most, ~a.least, a.ends, a.contiguous);
    case Op::shl: {
      if (!fixed) return anything(Type::integer);
      if (isSingle(a)) return exactly(int32_t(uint32_t(a.least) << (b.least & 31)));
      const int64_t factor = int64_t{1} << (b.least & 31);
      const int64_t least = a.least * factor, most = a.most * factor;
      // Bits that leave int32 are lost, as in JavaScript.
      if (least < kIntLeast || most > kIntMost) return anything(Type::integer);
      return between(least, most, a.ends);
    }
    case Op::shr:
      if (!fixed) return between(a.least < 0 ? a.least : 0, a.most < 0 ? -1 : a.most);
      return between(a.least >> (b.least & 31), a.most >> (b.least & 31), a.ends, a.contiguous);
    case Op::ushr: {
      if (isSingle(a) && fixed) return exactly(int64_t(uint32_t(a.least) >> (b.least & 31)));
      if (a.least >= 0 && fixed)
        return between(a.least >> (b.least & 31), a.most >> (b.least & 31), a.ends, a.contiguous);
      if (a.least >= 0) return between(0, a.most);
      const int64_t shift = fixed ? b.least & 31 : 0;
      return between(0, int64_t(~uint32_t{0}) >> shift);
    }
    default: return anything(node.type);
  }
}

AbstractValue BoxView::compare(int n) const {
  const Node& node = program_.node(n);
  const int left = node.args[0], right = node.args[1];
  const Bounds::Form &f = bounds_.forms_[size_t(left)], &g = bounds_.forms_[size_t(right)];
  const bool equality = node.op == Op::eq || node.op == Op::ne;
  if (f.is && g.is) {
    // By the difference, whose ends occur at corners of the box.
    const int64_t a = f.a - g.a, b = f.b - g.b, c = f.c - g.c;
    const auto ends = [](int64_t factor, Range range) {
      const int64_t first = factor * range.begin, last = factor * (range.end - 1);
      return std::pair{std::min(first, last), std::max(first, last)};
    };
    const auto [rowLeast, rowMost] = ends(a, rows_);
    const auto [columnLeast, columnMost] = ends(b, columns_);
    const int64_t least = rowLeast + columnLeast + c, most = rowMost + columnMost + c;
    if (node.op == Op::lt) return truth(most >= 0, least < 0, true);
    if (node.op == Op::le) return truth(most > 0, least <= 0, true);
    const int64_t step = std::gcd(a, b);
    const bool may = least <= 0 && most >= 0 && (step == 0 ? c == 0 : c % step == 0);
    const bool must = least == 0 && most == 0;
    const bool dense = withoutGaps(a, b);
    return node.op == Op::eq ? truth(!must, may, dense) : truth(may, !must, dense);
  }
  const AbstractValue &x = values_[size_t(left)], &y = values_[size_t(right)];
  const bool occur = x.ends && y.ends && independent(left, right);
  if (!equality) {
    const bool strict = node.op == Op::lt;
    const bool mayBeTrue = strict ? x.least < y.most : x.least <= y.most;
    const bool mayBeFalse = strict ? x.most >= y.least : x.most > y.least;
    return truth(mayBeFalse, mayBeTrue, occur);
  }
  bool may = x.least <= y.most && y.least <= x.most;
  const bool must = x.least == x.most && y.least == y.most && x.least == y.least;
  bool certain = false;
  if (may && !must) {
    const int64_t base = std::min(x.least, y.least);
    uint64_t p, q;
    if (membersFrom(x, base, p) && membersFrom(y, base, q)) {
      may = (p & q) != 0;
      certain = occur && (x.hasSet || x.contiguous) && (y.hasSet || y.contiguous);
    } else if (occur) {
      // One value against an interval: it occurs when it is an end, or when all of the interval does.
      const AbstractValue &one = x.least == x.most ? x : y, &many = x.least == x.most ? y : x;
      certain = one.least == one.most && (many.contiguous || one.least == many.least || one.least == many.most);
      certain |= x.contiguous && y.contiguous;
    }
  }
  return node.op == Op::eq ? truth(!must, may, certain) : truth(may, !must, certain);
}

AbstractValue BoxView::compareReals(int n) const {
  const Node& node = program_.node(n);
  const AbstractValue &x = values_[size_t(node.args[0])], &y = values_[size_t(node.args[1])];
  const bool nan = x.nan || y.nan, numbers = x.low <= x.high && y.low <= y.high;
  const bool occur = x.ends && y.ends && independent(node.args[0], node.args[1]);
  switch (node.op) {
    case Op::lt: return truth(nan || x.high >= y.low, numbers && x.low < y.high, occur && !nan);
    case Op::le: return truth(nan || x.high > y.low, numbers && x.low <= y.high, occur && !nan);
    default: {
      const bool may = numbers && x.low <= y.high && y.low <= x.high;
      const bool must = !nan && may && x.low == x.high && y.low == y.high;
      return node.op == Op::eq ? truth(!must, may, false) : truth(may, !must, false);
    }
  }
}

/// A table read at a box of indices: cell by cell where they are few.
AbstractValue BoxView::read(int n) const {
  const Node& node = program_.node(n);
  const Table& table = program_.table(int(node.value));
  constexpr int64_t few = 256;
  const AbstractValue* index[3] = {};
  AbstractValue clamped[3];
  int64_t count = 1;
  bool all = true, poison = false;
  for (int k = 0; k < node.arity; ++k) {
    index[k] = &values_[size_t(node.args[k])];
    poison |= index[k]->poison;
    const int64_t last = std::max<int64_t>(table.shape[k] - 1, 0);
    if (index[k]->least < 0 || index[k]->most > last) {
      // Read at the nearest element, as kernels do; what hangs on it is open.
      poison = true;
      clamped[k] = between(std::clamp<int64_t>(index[k]->least, 0, last), std::clamp<int64_t>(index[k]->most, 0, last));
      index[k] = &clamped[k];
    }
    count = std::min(count * (index[k]->most - index[k]->least + 1), few + 1);
    all &= index[k]->contiguous || (index[k]->hasSet && index[k]->ends);
    for (int other = 0; other < k; ++other) all &= independent(node.args[k], node.args[other]);
  }
  AbstractValue v;
  if (table.cells.empty()) {
    if (node.type != Type::real) v = exactly(0);
    v.poison = true;
    return v;
  }
  if (count > few) {
    if (table.type == Type::real) {
      v.low = table.least.real;
      v.high = table.most.real;
      v.nan = table.hasNaN;
    } else {
      v = between(table.least.integer, table.most.integer);
    }
    v.poison = poison;
    return v;
  }
  bool first = true;
  const auto member = [](const AbstractValue& value, int64_t x) {
    return !value.hasSet || (x - value.least < 64 && (value.set >> (x - value.least) & 1));
  };
  const auto take = [&](int64_t place) {
    const Cell cell = table.cells[size_t(place)];
    AbstractValue one;
    if (table.type == Type::real) {
      one.nan = std::isnan(cell.real);
      one.low = one.nan ? kInfinity : double(cell.real);
      one.high = one.nan ? -kInfinity : double(cell.real);
    } else {
      one = exactly(cell.integer);
    }
    v = first ? one : either(v, one, table.type);
    first = false;
  };
  // Three axes for all: those that the table lacks are of length 1.
  const AbstractValue only = exactly(0);
  const AbstractValue& x = *index[0];
  const AbstractValue& y = node.arity > 1 ? *index[1] : only;
  const AbstractValue& z = node.arity > 2 ? *index[2] : only;
  const int64_t ySize = node.arity > 1 ? table.shape[1] : 1, zSize = node.arity > 2 ? table.shape[2] : 1;
  for (int64_t a = x.least; a <= x.most; ++a) {
    if (!member(x, a)) continue;
    for (int64_t b = y.least; b <= y.most; ++b) {
      if (!member(y, b)) continue;
      for (int64_t c = z.least; c <= z.most; ++c) {
        if (member(z, c)) take((a * ySize + b) * zSize + c);
      }
    }
  }
  v.ends = all || isSingle(v);
  v.poison = poison;
  return v;
}

}  // namespace fused_attention
