// What a node of a program can be over a box: an interval, a set where it takes few values, and what of both is known
// to occur. Abstract interpretation (Cousot & Cousot 1977) of the operations of graph.h on integers and booleans.
#pragma once

#include <cstdint>
#include <limits>

#include "graph.h"

namespace fused_attention {

inline constexpr int64_t kIntLeast = std::numeric_limits<int32_t>::min();
inline constexpr int64_t kIntMost = std::numeric_limits<int32_t>::max();

/// What may come out of a node.
struct AbstractValue {
  union {
    int64_t least = 0;  // integers; booleans 0 and 1
    double low;         // reals
  };
  union {
    int64_t most = 0;
    double high;
  };
  uint64_t set = 0;  // bit v - least, where known
  bool hasSet = false;
  bool ends = false;        // least and most occur, and so does every member of the set
  bool contiguous = false;  // all integers from least to most occur
  bool nan = false;
  bool poison = false;  // may hang on a read outside its table: then it is what the nearest elements make of it
};

AbstractValue exactly(int64_t x);
AbstractValue between(int64_t least, int64_t most, bool ends = false, bool contiguous = false);
AbstractValue anything(Type type);
/// A boolean that may be false, may be true; `certain` when each that it may be occurs.
AbstractValue truth(bool mayBeFalse, bool mayBeTrue, bool certain);

/// The members of a value as bits from `base` on; nothing when they are not known, or lie elsewhere.
bool membersFrom(const AbstractValue& v, int64_t base, uint64_t& bits);
AbstractValue fromMembers(int64_t base, uint64_t bits, bool occur);
/// One integer or boolean, of all pairs.
inline bool isSingle(const AbstractValue& v) { return v.hasSet && v.least == v.most; }

/// a or b, whichever.
AbstractValue either(const AbstractValue& a, const AbstractValue& b, Type type);
/// Quotients of an interval by a divisor without 0 in its interval: monotone in each operand, so corners decide.
AbstractValue quotient(const AbstractValue& a, const AbstractValue& b, int64_t (*divide)(int64_t, int64_t));
/// With the sign of x, as in JavaScript; 0 is not in the divisor's interval.
AbstractValue remainder(const AbstractValue& x, const AbstractValue& divisor);
AbstractValue negated(const AbstractValue& v);
/// bitAnd, bitOr or bitXor.
AbstractValue bitwise(Op op, const AbstractValue& a, const AbstractValue& b);

}  // namespace fused_attention
