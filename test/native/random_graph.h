// Random programs for native tests: no overflow and no zero divisor by construction, every operation, all three
// dependences, and now and then a table read that leaves its table.
#pragma once

#include "graph_builder.h"
#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

class RandomGraph {
 public:
  /// `exact`: none of the functions that are only right to a few units in the last place.
  RandomGraph(ProgramKind kind, bool readsOutside, int grids)
      : kind_(kind), readsOutside_(readsOutside), grids_(grids) {
    std::vector<int32_t> integers(11);
    for (int32_t& x : integers) x = int32_t(integer(-20, 20));
    std::vector<float> reals(12);
    for (float& x : reals) x = normal();
    integerTable_ = graph_.table(integers, {11});
    realTable_ = graph_.table(reals, {3, 4});
    std::vector<int32_t> cube(24);
    for (int32_t& x : cube) x = int32_t(integer(-5, 5));
    cubeTable_ = graph_.table(cube, {2, 3, 4});
  }

  std::shared_ptr<const Program> make(int depth) {
    return kind_ == ProgramKind::mask ? graph_.mask(truth(depth), grids_) : graph_.score(number(depth));
  }

 private:
  struct Bounded {
    int node;
    int64_t most;  // of its magnitude
  };
  static constexpr int64_t kMost = 1 << 30;

  Bounded leaf() {
    switch (integer(0, 9)) {
      case 0:
      case 1: return {graph_.i(), 2000};
      case 2:
      case 3: return {graph_.j(), 2000};
      case 4: return {graph_.leaf(Op::row), 2000};
      case 5: return {graph_.leaf(Op::col), 2000};
      case 6: return {graph_.leaf(integer(0, 1) ? Op::h : Op::hkv), 64};
      case 7: return {graph_.leaf(integer(0, 1) ? Op::nq : Op::nkv), 2000};
      case 8: return {graph_.leaf(Op::b), 16};
      default: {
        const int64_t x = integer(-9, 9);
        return {graph_.integer(int32_t(x)), std::abs(x)};
      }
    }
  }

  int index(int depth, int size) {
    const int x = whole(depth - 1).node;
    if (readsOutside_ && integer(0, 3) == 0) return x;
    return graph_.apply(Op::mod, {graph_.apply(Op::abs, {x}), graph_.integer(size)});
  }

  Bounded whole(int depth) {
    if (depth <= 0) return leaf();
    const Bounded a = whole(depth - 1);
    switch (integer(0, 15)) {
      case 0:
      case 1:
      case 2: {
        const Bounded b = whole(depth - 1);
        if (a.most + b.most > kMost) return a;
        return {graph_.apply(integer(0, 1) ? Op::add : Op::sub, {a.node, b.node}), a.most + b.most};
      }
      case 3: {
        const Bounded b = whole(depth - 2);
        if (a.most * b.most > kMost) return a;
        return {graph_.apply(Op::mul, {a.node, b.node}), a.most * b.most};
      }
      case 4:
      case 5: {
        static constexpr Op ops[] = {Op::mod, Op::floorDiv, Op::ceilDiv, Op::truncDiv};
        int divisor = graph_.integer(int32_t(integer(1, 40) * (integer(0, 1) ? 1 : -1)));
        if (integer(0, 1)) {
          divisor = graph_.apply(Op::max, {graph_.apply(Op::abs, {whole(depth - 2).node}), graph_.integer(1)});
        }
        return {graph_.apply(ops[integer(0, 3)], {a.node, divisor}), a.most + 1};
      }
      case 6: return {graph_.apply(Op::neg, {a.node}), a.most};
      case 7: return {graph_.apply(Op::abs, {a.node}), a.most};
      case 8: return {graph_.apply(Op::sign, {a.node}), 1};
      case 9: {
        const Bounded b = whole(depth - 1);
        return {graph_.apply(integer(0, 1) ? Op::min : Op::max, {a.node, b.node}), std::max(a.most, b.most)};
      }
      case 10: {
        static constexpr Op ops[] = {Op::bitAnd, Op::bitOr, Op::bitXor};
        const Bounded b = whole(depth - 1);
        return {graph_.apply(ops[integer(0, 2)], {a.node, b.node}), 2 * std::max(a.most, b.most) + 1};
      }
      case 11: return {graph_.apply(Op::bitNot, {a.node}), a.most + 1};
      case 12: {
        const int count = int(integer(0, 3));
        if (integer(0, 2) == 0 && a.most << count <= kMost) {
          return {graph_.apply(Op::shl, {a.node, graph_.integer(count)}), a.most << count};
        }
        const int positive = graph_.apply(Op::abs, {a.node});
        return {graph_.apply(integer(0, 1) ? Op::shr : Op::ushr, {positive, graph_.integer(count)}), a.most};
      }
      case 13: {
        const Bounded b = whole(depth - 1);
        return {graph_.apply(Op::select, {truth(depth - 1), a.node, b.node}), std::max(a.most, b.most)};
      }
      case 14: return {graph_.read(integerTable_, {index(depth, 11)}), 20};
      default: return {graph_.read(cubeTable_, {index(depth, 2), index(depth, 3), index(depth, 4)}), 5};
    }
  }

  int truth(int depth) {
    if (grids_ > 0 && integer(0, 5) == 0)
      return graph_.node(Op::grid, Type::boolean, {}, double(integer(0, grids_ - 1)));
    static constexpr Op compare[] = {Op::lt, Op::le, Op::eq, Op::ne};
    if (depth <= 1 || integer(0, 2) == 0) {
      if (integer(0, 3) == 0 || kind_ == ProgramKind::mask) {
        return graph_.test(compare[integer(0, 3)], {whole(depth - 1).node, whole(depth - 1).node});
      }
      return graph_.test(compare[integer(0, 3)], {number(depth - 1), number(depth - 1)});
    }
    switch (integer(0, 4)) {
      case 0: return graph_.test(Op::lnot, {truth(depth - 1)});
      case 1: return graph_.test(Op::land, {truth(depth - 1), truth(depth - 1)});
      case 2: return graph_.test(Op::lor, {truth(depth - 1), truth(depth - 1)});
      case 3: return graph_.test(integer(0, 1) ? Op::eq : Op::ne, {truth(depth - 1), truth(depth - 1)});
      default: return graph_.test(Op::select, {truth(depth - 1), truth(depth - 1), truth(depth - 1)});
    }
  }

  int number(int depth) {
    if (depth <= 0) {
      switch (integer(0, 3)) {
        case 0: return graph_.real(normal());
        case 1: return graph_.node(Op::toReal, Type::real, {whole(1).node});
        default: return graph_.s();
      }
    }
    const int a = number(depth - 1);
    switch (integer(0, 9)) {
      case 0: return graph_.apply(Op::add, {a, number(depth - 1)});
      case 1: return graph_.apply(Op::sub, {a, number(depth - 1)});
      case 2: return graph_.apply(Op::mul, {a, number(depth - 1)});
      case 3: return graph_.apply(Op::div, {a, number(depth - 1)});
      case 4: return graph_.apply(integer(0, 1) ? Op::min : Op::max, {a, number(depth - 1)});
      case 5: return graph_.apply(Op::select, {truth(depth - 1), a, number(depth - 1)});
      case 6: {
        static constexpr Op ops[] = {Op::neg, Op::abs, Op::sign, Op::floor, Op::ceil, Op::trunc, Op::sqrt};
        return graph_.apply(ops[integer(0, 6)], {a});
      }
      case 7: return graph_.apply(Op::add, {a, graph_.read(realTable_, {index(depth, 3), index(depth, 4)})});
      case 8: return graph_.node(Op::toReal, Type::real, {graph_.apply(Op::sub, {leaf().node, leaf().node})});
      default: return graph_.apply(Op::mul, {a, graph_.node(Op::toReal, Type::real, {whole(depth - 1).node})});
    }
  }

  GraphBuilder graph_;
  ProgramKind kind_;
  bool readsOutside_;
  int grids_, integerTable_, realTable_, cubeTable_;
};

}  // namespace
}  // namespace fused_attention
