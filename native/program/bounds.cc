#include "bounds.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "../error.h"

namespace fused_attention {

namespace {

using Value = BoxView::Value;

constexpr int64_t kIntLeast = std::numeric_limits<int32_t>::min(), kIntMost = std::numeric_limits<int32_t>::max();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

Value exactly(int64_t x) {
  Value v;
  v.least = v.most = x;
  v.set = 1;
  v.hasSet = v.ends = v.contiguous = true;
  return v;
}

Value between(int64_t least, int64_t most, bool ends = false, bool contiguous = false) {
  Value v;
  v.least = least;
  v.most = most;
  v.ends = ends;
  v.contiguous = contiguous;
  return least == most ? exactly(least) : v;
}

Value anything(Type type) {
  Value v;
  if (type == Type::boolean) {
    v.most = 1;
  } else if (type == Type::integer) {
    v.least = kIntLeast;
    v.most = kIntMost;
  } else {
    v.low = -kInfinity;
    v.high = kInfinity;
    v.nan = true;
  }
  return v;
}

/// A boolean that may be false, may be true; `certain` when each that it may be occurs.
Value truth(bool mayBeFalse, bool mayBeTrue, bool certain) {
  if (!mayBeFalse) return exactly(1);
  if (!mayBeTrue) return exactly(0);
  return between(0, 1, certain, certain);
}

int64_t floorDiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
int64_t ceilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0 && (a < 0) == (b < 0)); }

/// The members of a value as bits from `base` on; nothing when they are not known, or lie elsewhere.
bool membersFrom(const Value& v, int64_t base, uint64_t& bits) {
  if (v.least < base || v.most - base >= 64) return false;
  if (v.hasSet) {
    bits = v.set << (v.least - base);
  } else {
    const int64_t count = v.most - v.least + 1;
    bits = (count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1) << (v.least - base);
  }
  return true;
}

Value fromMembers(int64_t base, uint64_t bits, bool occur) {
  const int low = std::countr_zero(bits), high = 63 - std::countl_zero(bits);
  Value v = between(base + low, base + high);
  v.set = bits >> low;
  v.hasSet = true;
  v.ends = v.ends || occur;
  const int64_t count = high - low + 1;
  v.contiguous = v.contiguous || (occur && v.set == (count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1));
  return v;
}

/// One integer or boolean, of all pairs.
bool isSingle(const Value& v) { return v.hasSet && v.least == v.most; }

/// a or b, whichever.
Value either(const Value& a, const Value& b, Type type) {
  Value v;
  if (type == Type::real) {
    v.low = std::min(a.low, b.low);
    v.high = std::max(a.high, b.high);
    v.nan = a.nan || b.nan;
    return v;
  }
  v = between(std::min(a.least, b.least), std::max(a.most, b.most));
  uint64_t x, y;
  if (membersFrom(a, v.least, x) && membersFrom(b, v.least, y)) {
    v.set = x | y;
    v.hasSet = true;
  }
  return v;
}

/// Quotients of an interval by a divisor without 0 in its interval: monotone in each operand, so corners decide.
template <class Divide>
Value quotient(const Value& a, const Value& b, const Divide& divide) {
  const int64_t corners[] = {divide(a.least, b.least), divide(a.least, b.most), divide(a.most, b.least),
                             divide(a.most, b.most)};
  int64_t least = *std::min_element(corners, corners + 4), most = *std::max_element(corners, corners + 4);
  // A quotient towards a divisor of small magnitude inside the interval: the corners of the divisor's ends hold, as the
  // divisor does not change its sign.
  const bool fixed = b.least == b.most;
  return between(least, most, fixed && a.ends, fixed && a.contiguous);
}

/// Remainders of non-negative x by m > 0.
Value positiveRemainder(int64_t least, int64_t most, int64_t m, bool ends, bool contiguous) {
  if (most - least + 1 >= m) return between(0, m - 1, contiguous, contiguous);
  const int64_t low = least % m, high = most % m;
  if (least / m == most / m) return between(low, high, ends, contiguous);
  if (m <= 64) {
    const auto upTo = [](int64_t count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; };
    return fromMembers(0, (upTo(m) & ~upTo(low)) | upTo(high + 1), contiguous);
  }
  return between(0, m - 1, contiguous, false);
}

Value negated(const Value& v) {
  Value n = between(-v.most, -v.least, v.ends, v.contiguous);
  if (v.hasSet && v.most - v.least < 64) {
    uint64_t bits = 0;
    for (uint64_t rest = v.set; rest; rest &= rest - 1) {
      bits |= uint64_t{1} << (v.most - v.least - std::countr_zero(rest));
    }
    n.set = bits;
    n.hasSet = true;
  }
  return n;
}

Value remainder(const Value& x, const Value& divisor) {
  const int64_t least = std::min(std::abs(divisor.least), std::abs(divisor.most));
  const int64_t m = std::max(std::abs(divisor.least), std::abs(divisor.most));
  if (divisor.least != divisor.most) {
    // Any of several divisors.
    if (x.least >= 0 && x.most < least) return between(x.least, x.most, x.ends, x.contiguous);
    return between(x.least < 0 ? std::max(x.least, 1 - m) : 0, x.most > 0 ? std::min(x.most, m - 1) : 0);
  }
  if (x.least >= 0) {
    uint64_t bits;
    if (x.hasSet && !x.contiguous && m <= 64 && membersFrom(x, x.least, bits)) {
      uint64_t residues = 0;
      for (; bits; bits &= bits - 1) residues |= uint64_t{1} << ((x.least + std::countr_zero(bits)) % m);
      return fromMembers(0, residues, x.ends);
    }
    return positiveRemainder(x.least, x.most, m, x.ends, x.contiguous);
  }
  if (x.most <= 0) return negated(positiveRemainder(-x.most, -x.least, m, x.ends, x.contiguous));
  const Value above = positiveRemainder(0, x.most, m, x.contiguous, x.contiguous);
  const Value below = negated(positiveRemainder(0, -x.least, m, x.contiguous, x.contiguous));
  Value v = either(below, above, Type::integer);
  v.ends = v.contiguous = x.contiguous;  // both reach 0 without a gap
  return v;
}

/// Bits that all values of an interval share from the top.
int64_t knownBits(const Value& v, int64_t& bits) {
  if ((v.least < 0) != (v.most < 0)) return 0;
  const uint64_t differing = uint64_t(v.least ^ v.most);
  const int unknown = differing == 0 ? 0 : 64 - std::countl_zero(differing);
  const int64_t known = unknown >= 64 ? 0 : int64_t(~uint64_t{0} << unknown);
  bits = v.least & known;
  return known;
}

Value bitwise(Op op, const Value& a, const Value& b) {
  if (a.least == a.most && b.least == b.most) {
    return exactly(op == Op::bitAnd ? a.least & b.least : op == Op::bitOr ? a.least | b.least : a.least ^ b.least);
  }
  int64_t x = 0, y = 0;
  const int64_t kx = knownBits(a, x), ky = knownBits(b, y);
  int64_t known, value;
  if (op == Op::bitAnd) {
    known = (kx & ky) | (kx & ~x) | (ky & ~y);
    value = x & y & known;
  } else if (op == Op::bitOr) {
    known = (kx & ky) | (kx & x) | (ky & y);
    value = (x | y) & known;
  } else {
    known = kx & ky;
    value = (x ^ y) & known;
  }
  // Unknown bits below the sign as they come; an unknown sign makes it anything.
  if (!(known < 0)) return between(kIntLeast, kIntMost);
  Value v = between(value, value | ~known);
  if (op == Op::bitAnd && a.least >= 0) v = between(std::max<int64_t>(v.least, 0), std::min(v.most, a.most));
  if (op == Op::bitAnd && b.least >= 0) v = between(std::max<int64_t>(v.least, 0), std::min(v.most, b.most));
  return v;
}

const char* argumentOf(const Program& program) {
  return program.kind() == ProgramKind::mask ? "options.mask" : "options.score";
}

std::string interval(const Value& v) { return "from " + std::to_string(v.least) + " to " + std::to_string(v.most); }

}  // namespace

// --- Bounds ----------------------------------------------------------------------------------------------------------

Bounds::Bounds(const UnaryValues& values) : values_(values) {
  const Program& program = values.program();
  const size_t count = size_t(program.result()) + 1;
  forms_.resize(count);
  parts_.resize(count, Part::unused);
  pyramids_.resize(count);
  findForms();
  findParts();
  findDistances();
  for (const auto* nodes : {&query_, &key_, &mixed_}) {
    for (const int n : *nodes) positions_ |= forms_[size_t(n)].is;
  }
  const Place& place = values.place();
  if (place.queries == 0 || place.keys == 0) return;
  for (size_t n = 0; n < count; ++n) {
    if (parts_[n] != Part::query && parts_[n] != Part::key) continue;
    if (forms_[n].is) continue;
    const bool query = parts_[n] == Part::query;
    const Cell* cells = query ? values.byQuery(int(n)) : values.byKey(int(n));
    std::vector<uint8_t> poison;
    const int64_t length = query ? place.queries : place.keys;
    if (values.uncertain(int(n))) {
      for (int64_t t = 0; t < length; ++t) {
        poison.push_back(query ? values.poisonByQuery(int(n))[t] : uint8_t(values.poisonByKey(int(n))[t].integer));
      }
    }
    const Type type = program.node(int(n)).type;
    pyramids_[n] = std::make_unique<const ExtremesPyramid>(cells, std::move(poison), length, type);
  }

  // Over the whole sequence no integer may leave int32, and no divisor be 0.
  BoxView view(*this);
  view.setRows({0, place.queries});
  view.setColumns({0, place.keys});
  const auto check = [&](int n) {
    const Node& node = program.node(n);
    if (node.op == Op::mod || node.op == Op::floorDiv || node.op == Op::ceilDiv || node.op == Op::truncDiv) {
      const Value& divisor = view.value(node.args[1]);
      uint64_t bits = 0;
      const bool zero = divisor.least <= 0 && divisor.most >= 0;
      const bool hole = divisor.hasSet && membersFrom(divisor, divisor.least, bits) &&
                        !(bits >> std::min<int64_t>(63, std::max<int64_t>(0, -divisor.least)) & 1);
      if (zero && !hole) {
        throw CodedError("ERR_OUT_OF_RANGE", argumentOf(program),
                         "divisors that cannot be 0 for the lengths of this call", "one " + interval(divisor));
      }
    }
  };
  for (const int n : mixed_) {
    check(n);
    view.evaluateNode(n);
    const Value& value = view.value(n);
    if (program.node(n).type == Type::integer && (value.least < kIntLeast || value.most > kIntMost)) {
      throw CodedError("ERR_OUT_OF_RANGE", argumentOf(program), "integers within int32 for the lengths of this call",
                       "one that may be " + interval(value));
    }
  }
}

bool Bounds::dependsOnHead() const { return values_.program().depends(values_.program().result()) & onHead; }

size_t Bounds::bytes() const {
  size_t bytes = sizeof(*this);
  for (const auto& pyramid : pyramids_) bytes += pyramid ? pyramid->bytes() : 0;
  return bytes;
}

/// Sums of positions, whatever the box.
void Bounds::findForms() {
  const Program& program = values_.program();
  const Place& place = values_.place();
  for (size_t n = 0; n < forms_.size(); ++n) {
    const Node& node = program.node(int(n));
    if (node.type != Type::integer) continue;
    Form& form = forms_[n];
    const auto operand = [&](int k) -> const Form& { return forms_[size_t(node.args[k])]; };
    switch (node.op) {
      case Op::constant: form = {true, 0, 0, int64_t(node.value)}; break;
      case Op::parameter: form = {true, 0, 0, program.number(int(node.value)).integer}; break;
      case Op::i: form = {true, 1, 0, place.queryStart}; break;
      case Op::row: form = {true, 1, 0, 0}; break;
      case Op::j:
      case Op::col:
        if (place.gap.positions == 0) form = {true, 0, 1, 0};
        break;
      case Op::b: form = {true, 0, 0, place.batch}; break;
      case Op::nq: form = {true, 0, 0, place.queries}; break;
      case Op::nkv: form = {true, 0, 0, place.keys + place.gap.positions}; break;
      case Op::add:
        if (operand(0).is && operand(1).is) {
          form = {true, operand(0).a + operand(1).a, operand(0).b + operand(1).b, operand(0).c + operand(1).c};
        }
        break;
      case Op::sub:
        if (operand(0).is && operand(1).is) {
          form = {true, operand(0).a - operand(1).a, operand(0).b - operand(1).b, operand(0).c - operand(1).c};
        }
        break;
      case Op::neg:
        if (operand(0).is) form = {true, -operand(0).a, -operand(0).b, -operand(0).c};
        break;
      case Op::mul:
        for (int k = 0; k < 2; ++k) {
          const Form &factor = operand(k), &other = operand(1 - k);
          if (!factor.is || !other.is || factor.a != 0 || factor.b != 0) continue;
          form = {true, other.a * factor.c, other.b * factor.c, other.c * factor.c};
        }
        break;
      default: break;
    }
    // What leaves int32 is refused by its interval; a form that large would only overflow here.
    constexpr int64_t most = int64_t{1} << 30;
    if (std::abs(form.a) > most || std::abs(form.b) > most || std::abs(form.c) > most) form = {};
  }
}

/// Which nodes have to be evaluated for a box: the mixed ones, and what they read of either side.
void Bounds::findParts() {
  const Program& program = values_.program();
  std::vector<bool> needed(parts_.size(), false);
  needed.back() = true;
  for (size_t n = parts_.size(); n-- > 0;) {
    if (!needed[n]) continue;
    const uint8_t depends = program.depends(int(n));
    if ((depends & ~onHead) == 0) {
      parts_[n] = Part::fixed;
    } else if (depends == onQuery) {
      parts_[n] = Part::query;
    } else if (depends == onKey) {
      parts_[n] = Part::key;
    } else {
      parts_[n] = Part::mixed;
      const Node& node = program.node(int(n));
      for (int k = 0; k < node.arity; ++k) needed[size_t(node.args[k])] = true;
    }
  }
  for (size_t n = 0; n < parts_.size(); ++n) {
    switch (parts_[n]) {
      case Part::unused: break;
      case Part::fixed: fixed_.push_back(int(n)); break;
      case Part::query: query_.push_back(int(n)); break;
      case Part::key: key_.push_back(int(n)); break;
      case Part::mixed: mixed_.push_back(int(n)); break;
    }
  }
}

void Bounds::findDistances() {
  const Program& program = values_.program();
  std::vector<bool> ofDistance(parts_.size(), false);
  for (const int n : fixed_) ofDistance[size_t(n)] = true;
  for (const int n : mixed_) {
    const Node& node = program.node(n);
    const Form& form = forms_[size_t(n)];
    if (form.is) {
      ofDistance[size_t(n)] = form.a == -form.b;
      continue;
    }
    if (program.node(n).type == Type::boolean && node.arity == 2) {
      const Form &f = forms_[size_t(node.args[0])], &g = forms_[size_t(node.args[1])];
      if (f.is && g.is) {
        ofDistance[size_t(n)] = f.a - g.a == g.b - f.b;
        continue;
      }
    }
    bool all = node.arity > 0;
    for (int k = 0; k < node.arity; ++k) all = all && ofDistance[size_t(node.args[k])];
    ofDistance[size_t(n)] = all;
  }
  onlyDistance_ = ofDistance.back();
}

// --- BoxView ---------------------------------------------------------------------------------------------------------

BoxView::BoxView(const Bounds& bounds, int64_t head)
    : bounds_(bounds), program_(bounds.values_.program()), head_(head), values_(bounds.parts_.size()) {
  const int64_t heads = bounds.values_.place().headsQ;
  for (const int n : bounds.fixed_) {
    const bool varies = program_.depends(n) & onHead;
    const Type type = program_.node(n).type;
    const int64_t first = varies && head_ >= 0 ? head_ : 0;
    const int64_t end = varies && head_ < 0 ? heads : first + 1;
    Value& value = values_[size_t(n)];
    bool poison = false;
    for (int64_t h = first; h < end; ++h) {
      poison |= bounds.values_.uncertain(n) && bounds.values_.scalarPoison(n, h);
      const Cell cell = bounds.values_.scalar(n, h);
      Value one;
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
    Value& value = values_[size_t(n)];
    const ExtremesPyramid* pyramid = bounds_.pyramids_[size_t(n)].get();
    if (!pyramid || !pyramid->hasSets()) {
      value = leaf(n, range);
      changed_ = true;
      continue;
    }
    // The common case, field by field: most boxes of one side hold the values that the last one held.
    const Extremes found = pyramid->over(range);
    const int low = std::countr_zero(found.set);
    const int64_t least = pyramid->base() + low, most = pyramid->base() + 63 - std::countl_zero(found.set);
    const uint64_t set = found.set >> low;
    if (value.hasSet && value.least == least && value.set == set && value.poison == found.poison) continue;
    value.least = least;
    value.most = most;
    value.set = set;
    value.hasSet = value.ends = true;
    value.contiguous = (set & (set + 1)) == 0;
    value.poison = found.poison;
    changed_ = true;
  }
}

Verdict BoxView::verdict() {
  if (!changed_) return last_;
  changed_ = false;
  evaluateMixed();
  const Value& result = values_.back();
  last_ = result.poison ? Verdict{} : Verdict{result.least == 0, result.most == 1, result.ends};
  return last_;
}

void BoxView::evaluateMixed() {
  for (const int n : bounds_.mixed_) evaluateNode(n);
}

void BoxView::evaluateNode(int n) { values_[size_t(n)] = operation(n); }

/// A node of one side over a range of its positions.
Value BoxView::leaf(int n, Range range) const {
  const Bounds::Form& form = bounds_.forms_[size_t(n)];
  if (form.is) {
    const int64_t step = form.a + form.b;  // one of them is 0
    const int64_t first = step * range.begin + form.c, last = step * (range.end - 1) + form.c;
    return between(std::min(first, last), std::max(first, last), true, std::abs(step) <= 1);
  }
  const ExtremesPyramid& pyramid = *bounds_.pyramids_[size_t(n)];
  const Type type = program_.node(n).type;
  const Extremes found = pyramid.over(range);
  Value v;
  if (type == Type::real) {
    v.low = found.any ? double(found.least.real) : kInfinity;
    v.high = found.any ? double(found.most.real) : -kInfinity;
    v.nan = found.nan;
    v.ends = found.any;
  } else if (pyramid.hasSets()) {
    v = fromMembers(pyramid.base(), found.set, true);
  } else {
    v = between(found.least.integer, found.most.integer, true);
  }
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

Value BoxView::affine(int n) const {
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

Value BoxView::operation(int n) const {
  const Node& node = program_.node(n);
  if (bounds_.forms_[size_t(n)].is) return affine(n);
  const auto operand = [&](int k) -> const Value& { return values_[size_t(node.args[k])]; };
  switch (node.op) {
    case Op::grid: return anything(Type::boolean);
    case Op::s: return anything(Type::real);
    case Op::table: return read(n);
    case Op::lnot: {
      const Value& a = operand(0);
      Value v = truth(a.most == 1, a.least == 0, a.ends);
      v.poison = a.poison;
      return v;
    }
    case Op::land:
    case Op::lor: {
      const Value &a = operand(0), &b = operand(1);
      const bool either = node.op == Op::lor;
      const auto always = [](const Value& v, bool is) { return !v.poison && v.least == int(is) && v.most == int(is); };
      if (always(a, either) || always(b, either)) return exactly(either);
      if (always(a, !either)) return b;
      if (always(b, !either)) return a;
      // Of two independent ones every combination occurs.
      const bool certain = a.ends && b.ends && independent(node.args[0], node.args[1]);
      Value v = either ? truth(a.least == 0 && b.least == 0, a.most == 1 || b.most == 1, certain)
                       : truth(a.least == 0 || b.least == 0, a.most == 1 && b.most == 1, certain);
      v.poison = a.poison || b.poison;
      return v;
    }
    case Op::select: {
      const Value& condition = operand(0);
      Value v;
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
  Value v = node.type == Type::boolean ? comparison(n) : node.type == Type::real ? anything(Type::real) : integers(n);
  for (int k = 0; k < node.arity; ++k) v.poison |= operand(k).poison;
  return v;
}

Value BoxView::comparison(int n) const {
  const bool reals = program_.node(program_.node(n).args[0]).type == Type::real;
  return reals ? compareReals(n) : compare(n);
}

Value BoxView::integers(int n) const {
  const Node& node = program_.node(n);
  const Value a = values_[size_t(node.args[0])];
  const Value b = node.arity > 1 ? values_[size_t(node.args[1])] : Value{};
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

Value BoxView::compare(int n) const {
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
  const Value &x = values_[size_t(left)], &y = values_[size_t(right)];
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
      const Value &one = x.least == x.most ? x : y, &many = x.least == x.most ? y : x;
      certain = one.least == one.most && (many.contiguous || one.least == many.least || one.least == many.most);
      certain |= x.contiguous && y.contiguous;
    }
  }
  return node.op == Op::eq ? truth(!must, may, certain) : truth(may, !must, certain);
}

Value BoxView::compareReals(int n) const {
  const Node& node = program_.node(n);
  const Value &x = values_[size_t(node.args[0])], &y = values_[size_t(node.args[1])];
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
Value BoxView::read(int n) const {
  const Node& node = program_.node(n);
  const Table& table = program_.table(int(node.value));
  constexpr int64_t few = 256;
  const Value* index[3] = {};
  Value clamped[3];
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
  Value v;
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
  const auto member = [](const Value& value, int64_t x) {
    return !value.hasSet || (x - value.least < 64 && (value.set >> (x - value.least) & 1));
  };
  const auto take = [&](int64_t place) {
    const Cell cell = table.cells[size_t(place)];
    Value one;
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
  const Value only = exactly(0);
  const Value& x = *index[0];
  const Value& y = node.arity > 1 ? *index[1] : only;
  const Value& z = node.arity > 2 ? *index[2] : only;
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
