// What lanes of a warp tell each other: shuffles, votes, matches and reductions.
#include <algorithm>
#include <bit>

#include "decoder.h"
#include "lanes.h"

namespace fused_attention::ptx {

namespace {

// Every lane that executes is a member, and every member executes.
void checkMembers(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t members = source<uint32_t>(warp, i.refs[i.membership])[std::countr_zero(mask)];
  if (const uint32_t strangers = mask & ~members) {
    warp.report(FindingKind::DeadLane, "a lane executes that the member mask does not name",
                std::countr_zero(strangers));
  }
  if (const uint32_t gone = members & warp.exited()) {
    warp.report(FindingKind::DeadLane, "the member mask names a lane that has exited", std::countr_zero(gone));
  } else if (const uint32_t missing = members & warp.live() & ~mask) {
    warp.report(FindingKind::DeadLane, "the member mask names a lane that a guard keeps away",
                std::countr_zero(missing));
  }
}

enum class Shuffle { Up, Down, Butterfly, Index };

// refs: d, p (absent when not given), a, b, c, members.
void shuffle(Warp& warp, const Instruction& i, uint32_t mask) {
  checkMembers(warp, i, mask);
  const uint32_t *a = source<uint32_t>(warp, i.refs[2]), *b = source<uint32_t>(warp, i.refs[3]),
                 *c = source<uint32_t>(warp, i.refs[4]);
  uint32_t values[32], inRange = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const int segment = c[lane] >> 8 & 31, clamp = c[lane] & 31, by = b[lane] & 31;
    const int first = lane & segment, last = first | (clamp & ~segment & 31);
    int from = lane;
    bool valid = true;
    switch (static_cast<Shuffle>(i.mode)) {
      case Shuffle::Up:
        from = lane - by;
        valid = from >= last;
        break;
      case Shuffle::Down:
        from = lane + by;
        valid = from <= last;
        break;
      case Shuffle::Butterfly:
        from = lane ^ by;
        valid = from <= last;
        break;
      case Shuffle::Index:
        from = first | (by & ~segment & 31);
        valid = from <= last;
        break;
    }
    if (!valid) from = lane;
    if (!(mask >> from & 1)) {
      warp.report(FindingKind::DeadLane, "reads lane " + std::to_string(from) + ", which does not take part", lane);
    }
    values[lane] = a[from];
    inRange |= static_cast<uint32_t>(valid) << lane;
  }
  eachLane(destination<uint32_t>(warp, i.refs[0]), mask, [&](int lane) { return values[lane]; });
  setPredicate(warp, i.refs[1], mask, inRange);
}

void beCollective(Decoder& d) {
  d.out.collective = true;
  d.out.membership = d.out.count - 1;
}

void decodeShfl(Decoder& d) {
  if (!d.has("sync") || d.operands() != 5) return;
  const Operand& target = d.operand(0);
  if (target.kind == Operand::Pair) {
    d.add(target.parts[0], Type::B32);
    d.add(target.parts[1], Type::Pred);
  } else {
    d.add(target, Type::B32);
    d.add(Operand(), Type::Pred);
  }
  for (int k = 1; k < 5; ++k) d.add(d.operand(k), Type::B32);
  d.out.mode = static_cast<int>(d.has("up")     ? Shuffle::Up
                                : d.has("down") ? Shuffle::Down
                                : d.has("bfly") ? Shuffle::Butterfly
                                                : Shuffle::Index);
  beCollective(d);
  d.setHandler(shuffle, InstructionClass::Shuffle);
}

enum class Vote { All, Any, Uniform, Ballot };

// refs: d, a, members.
void vote(Warp& warp, const Instruction& i, uint32_t mask) {
  checkMembers(warp, i, mask);
  const uint32_t yes = predicate(warp, i.refs[1]) & mask;
  if (static_cast<Vote>(i.mode) == Vote::Ballot) {
    return eachLane(destination<uint32_t>(warp, i.refs[0]), mask, [&](int) { return yes; });
  }
  const bool result = static_cast<Vote>(i.mode) == Vote::All   ? yes == mask
                      : static_cast<Vote>(i.mode) == Vote::Any ? yes != 0
                                                               : yes == 0 || yes == mask;
  setPredicate(warp, i.refs[0], mask, result ? allLanes : 0);
}

void decodeVote(Decoder& d) {
  if (!d.has("sync") || d.operands() != 3) return;
  d.add(d.operand(0), d.has("ballot") ? Type::B32 : Type::Pred);
  d.add(d.operand(1), Type::Pred);
  d.add(d.operand(2), Type::B32);
  d.out.mode = static_cast<int>(d.has("all")   ? Vote::All
                                : d.has("any") ? Vote::Any
                                : d.has("uni") ? Vote::Uniform
                                               : Vote::Ballot);
  beCollective(d);
  d.setHandler(vote, InstructionClass::Vote);
}

void activemask(Warp& warp, const Instruction& i, uint32_t mask) {
  eachLane(destination<uint32_t>(warp, i.refs[0]), mask, [&](int) { return mask; });
}

void decodeActivemask(Decoder& d) {
  d.addAll(Type::B32);
  d.setHandler(activemask, InstructionClass::Vote);
}

// refs: d, p (absent when not given), a, members.
void match(Warp& warp, const Instruction& i, uint32_t mask) {
  checkMembers(warp, i, mask);
  uint32_t equal[32], uniform = 0;
  for (int lane = 0; lane < 32; ++lane) {
    equal[lane] = 0;
    if (!(mask >> lane & 1)) continue;
    for (int other = 0; other < 32; ++other) {
      const bool same = (mask >> other & 1) && laneBits(warp, i.refs[2], other) == laneBits(warp, i.refs[2], lane);
      equal[lane] |= static_cast<uint32_t>(same) << other;
    }
    if (equal[lane] == mask) uniform = allLanes;
  }
  eachLane(destination<uint32_t>(warp, i.refs[0]), mask,
           [&](int lane) { return i.mode != 0 ? uniform & mask : equal[lane]; });
  setPredicate(warp, i.refs[1], mask, uniform);
}

void decodeMatch(Decoder& d) {
  if (!d.has("sync") || d.operands() != 3) return;
  const Operand& target = d.operand(0);
  const bool pair = target.kind == Operand::Pair;
  d.add(pair ? target.parts[0] : target, Type::B32);
  d.add(pair ? target.parts[1] : Operand(), Type::Pred);
  d.add(d.operand(1), d.type());
  d.add(d.operand(2), Type::B32);
  d.out.mode = d.has("all");
  beCollective(d);
  d.setHandler(match, InstructionClass::Vote);
}

template <class T, class F>
void reduce(Warp& warp, const Instruction& i, uint32_t mask) {
  checkMembers(warp, i, mask);
  const uint32_t* a = source<uint32_t>(warp, i.refs[1]);
  const int first = std::countr_zero(mask);
  T total = static_cast<T>(a[first]);
  for (int lane = first + 1; lane < 32; ++lane) {
    if (mask >> lane & 1) total = F{}(total, static_cast<T>(a[lane]));
  }
  eachLane(destination<uint32_t>(warp, i.refs[0]), mask, [&](int) { return static_cast<uint32_t>(total); });
}
struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b));
  }
};
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct And {
  template <class T>
  T operator()(T a, T b) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return a ^ b;
  }
};

void decodeRedux(Decoder& d) {
  if (!d.has("sync") || d.operands() != 3 || isFloat(d.type())) return;
  d.addAll(Type::B32);
  beCollective(d);
  const bool negative = isSigned(d.type());
  d.setHandler(d.has("add")   ? reduce<uint32_t, Add>
               : d.has("min") ? (negative ? reduce<int32_t, Min> : reduce<uint32_t, Min>)
               : d.has("max") ? (negative ? reduce<int32_t, Max> : reduce<uint32_t, Max>)
               : d.has("and") ? reduce<uint32_t, And>
               : d.has("or")  ? reduce<uint32_t, Or>
                              : reduce<uint32_t, Xor>,
               InstructionClass::Shuffle);
}

}  // namespace

void addExchangeDecoders(Decoders& list) {
  list["shfl"] = decodeShfl;
  list["vote"] = decodeVote;
  list["activemask"] = decodeActivemask;
  list["match"] = decodeMatch;
  list["redux"] = decodeRedux;
}

}  // namespace fused_attention::ptx
