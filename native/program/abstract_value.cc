#include "abstract_value.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <limits>

namespace fused_attention {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// Bits that all values of an interval share from the top.
int64_t knownBits(const AbstractValue& v, int64_t& bits) {
  if ((v.least < 0) != (v.most < 0)) return 0;
  const uint64_t differing = uint64_t(v.least ^ v.most);
  const int unknown = differing == 0 ? 0 : 64 - std::countl_zero(differing);
  const int64_t known = unknown >= 64 ? 0 : int64_t(~uint64_t{0} << unknown);
  bits = v.least & known;
  return known;
}

}  // namespace

AbstractValue exactly(int64_t x) {
  AbstractValue v;
  v.least = v.most = x;
  v.set = 1;
  v.hasSet = v.ends = v.contiguous = true;
  return v;
}

AbstractValue between(int64_t least, int64_t most, bool ends, bool contiguous) {
  AbstractValue v;
  v.least = least;
  v.most = most;
  v.ends = ends;
  v.contiguous = contiguous;
  return least == most ? exactly(least) : v;
}

AbstractValue anything(Type type) {
  AbstractValue v;
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

AbstractValue truth(bool mayBeFalse, bool mayBeTrue, bool certain) {
  if (!mayBeFalse) return exactly(1);
  if (!mayBeTrue) return exactly(0);
  return between(0, 1, certain, certain);
}

bool membersFrom(const AbstractValue& v, int64_t base, uint64_t& bits) {
  if (v.least < base || v.most - base >= 64) return false;
  if (v.hasSet) {
    bits = v.set << (v.least - base);
  } else {
    const int64_t count = v.most - v.least + 1;
    bits = (count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1) << (v.least - base);
  }
  return true;
}

AbstractValue fromMembers(int64_t base, uint64_t bits, bool occur) {
  const int low = std::countr_zero(bits), high = 63 - std::countl_zero(bits);
  AbstractValue v = between(base + low, base + high);
  v.set = bits >> low;
  v.hasSet = true;
  v.ends = v.ends || occur;
  const int64_t count = high - low + 1;
  v.contiguous = v.contiguous || (occur && v.set == (count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1));
  return v;
}

AbstractValue either(const AbstractValue& a, const AbstractValue& b, Type type) {
  AbstractValue v;
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

AbstractValue quotient(const AbstractValue& a, const AbstractValue& b, int64_t (*divide)(int64_t, int64_t)) {
  const int64_t corners[] = {divide(a.least, b.least), divide(a.least, b.most), divide(a.most, b.least),
                             divide(a.most, b.most)};
  int64_t least = *std::min_element(corners, corners + 4), most = *std::max_element(corners, corners + 4);
  // A quotient towards a divisor of small magnitude inside the interval: the corners of the divisor's ends hold, as the
  // divisor does not change its sign.
  const bool fixed = b.least == b.most;
  return between(least, most, fixed && a.ends, fixed && a.contiguous);
}

namespace {

/// Remainders of non-negative x by m > 0.
AbstractValue positiveRemainder(int64_t least, int64_t most, int64_t m, bool ends, bool contiguous) {
  if (most - least + 1 >= m) return between(0, m - 1, contiguous, contiguous);
  const int64_t low = least % m, high = most % m;
  if (least / m == most / m) return between(low, high, ends, contiguous);
  if (m <= 64) {
    const auto upTo = [](int64_t count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; };
    return fromMembers(0, (upTo(m) & ~upTo(low)) | upTo(high + 1), contiguous);
  }
  return between(0, m - 1, contiguous, false);
}

}  // namespace

AbstractValue negated(const AbstractValue& v) {
  AbstractValue n = between(-v.most, -v.least, v.ends, v.contiguous);
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

AbstractValue remainder(const AbstractValue& x, const AbstractValue& divisor) {
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
  const AbstractValue above = positiveRemainder(0, x.most, m, x.contiguous, x.contiguous);
  const AbstractValue below = negated(positiveRemainder(0, -x.least, m, x.contiguous, x.contiguous));
  AbstractValue v = either(below, above, Type::integer);
  v.ends = v.contiguous = x.contiguous;  // both reach 0 without a gap
  return v;
}

AbstractValue bitwise(Op op, const AbstractValue& a, const AbstractValue& b) {
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
  AbstractValue v = between(value, value | ~known);
  if (op == Op::bitAnd && a.least >= 0) v = between(std::max<int64_t>(v.least, 0), std::min(v.most, a.most));
  if (op == Op::bitAnd && b.least >= 0) v = between(std::max<int64_t>(v.least, 0), std::min(v.most, b.most));
  return v;
}

}  // namespace fused_attention
