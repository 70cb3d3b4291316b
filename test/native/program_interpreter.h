// What a program means, one pair at a time: integers in 64 bits, each operation of reals rounded to float32, functions
// through double. The oracle of everything that computes programs fast.
#pragma once

#include <cmath>
#include <functional>

#include "program/program.h"

namespace fused_attention {
namespace {

struct PairValue {
  Cell cell{};
  bool poison = false;  // hangs on a read outside a table
};

class Interpreter {
 public:
  Interpreter(const Program& program, const Place& place) : program_(program), place_(place) {}

  /// Mask tensors read by the program: whether (grid, head, row, column) is true.
  std::function<bool(int, int64_t, int64_t, int64_t)> grid;

  PairValue result(int64_t head, int64_t row, int64_t column, float score = 0) {
    return node(program_.result(), head, row, column, score);
  }

  PairValue node(int last, int64_t head, int64_t row, int64_t column, float score = 0) {
    head_ = head, row_ = row, column_ = column, score_ = score;
    values_.resize(size_t(last) + 1);
    for (int n = 0; n <= last; ++n) values_[size_t(n)] = evaluate(program_.node(n));
    return values_[size_t(last)];
  }

 private:
  static PairValue integer(int64_t x) {
    PairValue v;
    v.cell.integer = int32_t(x);
    return v;
  }
  static PairValue real(float x) {
    PairValue v;
    v.cell.real = x;
    return v;
  }

  PairValue evaluate(const Node& node) {
    switch (node.op) {
      case Op::constant: return node.type == Type::real ? real(float(node.value)) : integer(int64_t(node.value));
      case Op::parameter: return {program_.number(int(node.value)), false};
      case Op::grid: return integer(grid(int(node.value), head_, row_, column_));
      case Op::i: return integer(place_.queryStart + row_);
      case Op::j: return integer(place_.gap.positionOf(column_));
      case Op::row: return integer(row_);
      case Op::col: return integer(place_.gap.positionOf(column_));
      case Op::b: return integer(place_.batch);
      case Op::h: return integer(head_);
      case Op::hkv: return integer(head_ / place_.groupSize);
      case Op::nq: return integer(place_.queries);
      case Op::nkv: return integer(place_.keys + place_.gap.positions);
      case Op::s: return real(score_);
      case Op::table: return read(node);
      default: break;
    }
    const PairValue a = values_[size_t(node.args[0])];
    const PairValue b = node.arity > 1 ? values_[size_t(node.args[1])] : PairValue{};
    const PairValue c = node.arity > 2 ? values_[size_t(node.args[2])] : PairValue{};
    const Type type = program_.node(node.args[0]).type;
    PairValue v;
    if (node.op == Op::select) {
      v = a.cell.integer ? b : c;
      v.poison = a.poison || v.poison;
      return v;
    }
    if (node.op == Op::land || node.op == Op::lor) {
      const int deciding = node.op == Op::lor;
      v.cell.integer = deciding ? a.cell.integer | b.cell.integer : a.cell.integer & b.cell.integer;
      const bool decided = (!a.poison && a.cell.integer == deciding) || (!b.poison && b.cell.integer == deciding);
      v.poison = (a.poison || b.poison) && !decided;
      return v;
    }
    v = type == Type::real ? ofReals(node.op, a.cell.real, b.cell.real)
                           : ofIntegers(node.op, a.cell.integer, b.cell.integer);
    v.poison = a.poison || b.poison;
    return v;
  }

  PairValue read(const Node& node) {
    const Table& table = program_.table(int(node.value));
    PairValue v;
    int64_t at = 0;
    for (int k = 0; k < table.rank; ++k) {
      const PairValue index = values_[size_t(node.args[k])];
      v.poison |= index.poison || index.cell.integer < 0 || index.cell.integer >= table.shape[k];
      const int64_t last = std::max<int64_t>(0, table.shape[k] - 1);
      at = at * table.shape[k] + std::min<int64_t>(std::max<int64_t>(0, index.cell.integer), last);
    }
    if (!table.cells.empty()) v.cell = table.cells[size_t(at)];
    return v;
  }

  static int64_t floorDiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }

  static PairValue ofIntegers(Op op, int64_t a, int64_t b) {
    switch (op) {
      case Op::add: return integer(a + b);
      case Op::sub: return integer(a - b);
      case Op::mul: return integer(a * b);
      case Op::mod: return integer(a % b);
      case Op::floorDiv: return integer(floorDiv(a, b));
      case Op::ceilDiv: return integer(-floorDiv(-a, b));
      case Op::truncDiv: return integer(a / b);
      case Op::neg: return integer(-a);
      case Op::abs: return integer(a < 0 ? -a : a);
      case Op::min: return integer(std::min(a, b));
      case Op::max: return integer(std::max(a, b));
      case Op::sign: return integer((a > 0) - (a < 0));
      case Op::bitAnd: return integer(a & b);
      case Op::bitOr: return integer(a | b);
      case Op::bitXor: return integer(a ^ b);
      case Op::bitNot: return integer(~a);
      case Op::shl: return integer(int32_t(uint32_t(a) << (b & 31)));
      case Op::shr: return integer(int32_t(a) >> (b & 31));
      case Op::ushr: return integer(int32_t(uint32_t(a) >> (b & 31)));
      case Op::lt: return integer(a < b);
      case Op::le: return integer(a <= b);
      case Op::eq: return integer(a == b);
      case Op::ne: return integer(a != b);
      case Op::lnot: return integer(!a);
      case Op::toReal: return real(float(a));
      default: std::abort();
    }
  }

  static float least(float a, float b) {
    if (std::isnan(a) || std::isnan(b)) return NAN;
    return a < b || (a == b && std::signbit(a)) ? a : b;
  }

  static PairValue ofReals(Op op, float a, float b) {
    const double x = a, y = b;
    switch (op) {
      case Op::add: return real(a + b);
      case Op::sub: return real(a - b);
      case Op::mul: return real(a * b);
      case Op::div: return real(a / b);
      case Op::neg: return real(-a);
      case Op::abs: return real(std::fabs(a));
      case Op::min: return real(least(a, b));
      case Op::max: return real(-least(-a, -b));
      case Op::sign: return real(a > 0 ? 1.0f : a < 0 ? -1.0f : a);
      case Op::lt: return integer(a < b);
      case Op::le: return integer(a <= b);
      case Op::eq: return integer(a == b);
      case Op::ne: return integer(a != b);
      case Op::floor: return real(std::floor(a));
      case Op::ceil: return real(std::ceil(a));
      case Op::trunc: return real(std::trunc(a));
      case Op::exp: return real(float(std::exp(x)));
      case Op::log: return real(float(std::log(x)));
      case Op::log2: return real(float(std::log2(x)));
      case Op::sqrt: return real(float(std::sqrt(x)));
      case Op::tanh: return real(float(std::tanh(x)));
      case Op::sin: return real(float(std::sin(x)));
      case Op::cos: return real(float(std::cos(x)));
      case Op::pow:
        if (std::isnan(b) || (std::isinf(b) && std::fabs(a) == 1)) return real(NAN);
        return real(float(std::pow(x, y)));
      default: std::abort();
    }
  }

  const Program& program_;
  const Place place_;
  std::vector<PairValue> values_;
  int64_t head_ = 0, row_ = 0, column_ = 0;
  float score_ = 0;
};

}  // namespace
}  // namespace fused_attention
