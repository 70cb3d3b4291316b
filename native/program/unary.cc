#include "unary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "../error.h"
#include "bounds.h"

namespace fused_attention {

namespace {

/// Vectors take 4 bytes a position and node: lengths beyond this are mistakes, and should not be found out by running
/// out of memory.
constexpr int64_t kMostPositions = int64_t{1} << 26;

/// A vector under way: one value a position or head; of integers and booleans also one for all.
struct Column {
  std::vector<Cell> cells;
  std::vector<uint8_t> poison;  // empty: nowhere

  /// Where the cell of the first, second, ... stands.
  struct Cells {
    const Cell* first;
    size_t step;
    Cell operator[](size_t t) const { return first[t * step]; }
  };
  Cells each() const { return {cells.data(), size_t(cells.size() > 1)}; }
};

const char* argumentOf(const Program& program) {
  return program.kind() == ProgramKind::mask ? "options.mask" : "options.score";
}

[[noreturn]] void overflow(const Program& program, int64_t value) {
  throw CodedError("ERR_OUT_OF_RANGE", argumentOf(program), "integers within int32 for the lengths of this call",
                   std::to_string(value));
}

[[noreturn]] void zeroDivisor(const Program& program) {
  throw CodedError("ERR_OUT_OF_RANGE", argumentOf(program), "no division by zero for the lengths of this call",
                   "a divisor of 0");
}

int64_t floorDiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
int64_t ceilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0 && (a < 0) == (b < 0)); }

/// Evaluates nodes over `count` positions of one side, or over the heads.
class Evaluator {
 public:
  Evaluator(const Program& program, const Place& place, int64_t count, std::vector<Column>& columns)
      : program_(program), place_(place), count_(size_t(count)), columns_(columns) {}

  void evaluate(int n) {
    const Node& node = program_.node(n);
    Column out;
    switch (node.op) {
      case Op::constant: return finish(n, same(node, out, constantOf(node)));
      case Op::parameter: return finish(n, same(node, out, program_.number(int(node.value))));
      case Op::b: return finish(n, same(node, out, integerCell(place_.batch)));
      case Op::nq: return finish(n, same(node, out, integerCell(place_.queries)));
      case Op::nkv: return finish(n, same(node, out, integerCell(place_.keys + place_.gap.positions)));
      default: break;
    }
    out.cells.resize(count_);
    switch (node.op) {
      case Op::i: return finish(n, count(out, place_.queryStart, 1));
      case Op::j:
      case Op::col: return finish(n, columns(out));
      case Op::row:
      case Op::h: return finish(n, count(out, 0, 1));
      case Op::hkv: return finish(n, count(out, 0, place_.groupSize));
      case Op::table: read(node, out); return finish(n, out);
      case Op::land:
      case Op::lor: connect(node, out); return finish(n, out);
      case Op::select: choose(node, out); return finish(n, out);
      default: break;
    }
    spread(node, out);
    if (node.type == Type::real) {
      reals(node, out);
    } else if (program_.node(node.args[0]).type == Type::real) {
      compareReals(node, out);
    } else {
      integers(node, out);
    }
    finish(n, out);
  }

 private:
  static Cell integerCell(int64_t value) {
    Cell cell{};
    cell.integer = int32_t(value);
    return cell;
  }

  static Cell constantOf(const Node& node) {
    Cell cell{};
    if (node.type == Type::real) {
      cell.real = float(node.value);
    } else {
      cell.integer = int32_t(node.value);
    }
    return cell;
  }

  void finish(int n, Column& column) { columns_[size_t(n)] = std::move(column); }

  Column& same(const Node& node, Column& out, Cell cell) {
    out.cells.assign(node.type == Type::real ? count_ : 1, cell);
    return out;
  }

  Column& count(Column& out, int64_t first, int64_t share) {
    const int64_t last = first + (int64_t(count_) - 1) / share;
    if (first != int32_t(first)) overflow(program_, first);
    if (count_ > 0 && last != int32_t(last)) overflow(program_, last);
    for (size_t t = 0; t < count_; ++t)
      out.cells[t].integer = int32_t(first + (share == 1 ? int64_t(t) : int64_t(t) / share));
    return out;
  }

  /// Positions of the columns.
  Column& columns(Column& out) {
    count(out, 0, 1);
    const Gap& gap = place_.gap;
    if (gap.positions == 0) return out;
    const int64_t last = gap.positionOf(int64_t(count_) - 1);
    if (last != int32_t(last)) overflow(program_, last);
    for (size_t t = 0; t < count_; ++t) out.cells[t].integer = int32_t(gap.positionOf(int64_t(t)));
    return out;
  }

  const Column& operand(const Node& node, int k) const { return columns_[size_t(node.args[k])]; }

  static bool poisoned(const Column& column, size_t t) { return !column.poison.empty() && column.poison[t]; }

  /// Poison of the result where any operand has it.
  void spread(const Node& node, Column& out) {
    for (int k = 0; k < node.arity; ++k) {
      const Column& from = operand(node, k);
      if (from.poison.empty()) continue;
      out.poison.resize(count_);
      for (size_t t = 0; t < count_; ++t) out.poison[t] |= from.poison[t];
    }
  }

  void read(const Node& node, Column& out) {
    spread(node, out);
    const Table& table = program_.table(int(node.value));
    if (table.cells.empty()) {
      out.poison.assign(count_, 1);
      return;
    }
    if (node.arity == 1) return readRow(table, operand(node, 0), out);
    for (size_t t = 0; t < count_; ++t) {
      int64_t place = 0;
      bool inside = true;
      for (int axis = 0; axis < node.arity; ++axis) {
        const int64_t index = operand(node, axis).each()[t].integer;
        inside &= index >= 0 && index < table.shape[axis];
        place = place * table.shape[axis] + std::clamp<int64_t>(index, 0, table.shape[axis] - 1);
      }
      out.cells[t] = table.cells[size_t(place)];
      if (inside) continue;
      out.poison.resize(count_);
      out.poison[t] = 1;
    }
  }

  /// The same for tables of one axis, which most are.
  void readRow(const Table& table, const Column& index, Column& out) {
    const int64_t size = table.shape[0];
    const Column::Cells indices = index.each();
    bool inside = true;
    for (size_t t = 0; t < count_; ++t) {
      const int64_t at = indices[t].integer;
      inside &= at >= 0 && at < size;
      out.cells[t] = table.cells[size_t(std::clamp<int64_t>(at, 0, size - 1))];
    }
    if (inside) return;
    out.poison.resize(count_);
    for (size_t t = 0; t < count_; ++t) {
      out.poison[t] |= indices[t].integer < 0 || indices[t].integer >= size;
    }
  }

  /// A conjunction with another reason to be false, or a disjunction to be true, does not hang on poison.
  void connect(const Node& node, Column& out) {
    const Column &a = operand(node, 0), &b = operand(node, 1);
    const int32_t deciding = node.op == Op::lor;
    const bool poison = !a.poison.empty() || !b.poison.empty();
    if (poison) out.poison.resize(count_);
    for (size_t t = 0; t < count_; ++t) {
      const int32_t x = a.each()[t].integer, y = b.each()[t].integer;
      out.cells[t].integer = deciding ? x | y : x & y;
      if (!poison) continue;
      const bool px = poisoned(a, t), py = poisoned(b, t);
      const bool decided = (!px && x == deciding) || (!py && y == deciding);
      if (decided) out.cells[t].integer = deciding;
      out.poison[t] = (px || py) && !decided;
    }
  }

  void choose(const Node& node, Column& out) {
    const Column &condition = operand(node, 0), &yes = operand(node, 1), &no = operand(node, 2);
    const bool poison = !condition.poison.empty() || !yes.poison.empty() || !no.poison.empty();
    if (poison) out.poison.resize(count_);
    for (size_t t = 0; t < count_; ++t) {
      const Column& chosen = condition.each()[t].integer ? yes : no;
      out.cells[t] = chosen.each()[t];
      if (poison) out.poison[t] = poisoned(condition, t) || poisoned(chosen, t);
    }
  }

  template <class Operation>
  void eachInteger(const Node& node, Column& out, const Operation& operation) {
    const Column::Cells a = operand(node, 0).each(), b = node.arity > 1 ? operand(node, 1).each() : a;
    bool fits = true;
    const auto all = [&](auto stepA, auto stepB) {
      for (size_t t = 0; t < count_; ++t) {
        const int64_t value = operation(int64_t(a.first[t * stepA].integer), int64_t(b.first[t * stepB].integer));
        out.cells[t].integer = int32_t(value);
        fits &= value == int32_t(value);
      }
    };
    const std::integral_constant<size_t, 0> once;
    const std::integral_constant<size_t, 1> each;
    if (a.step == 1) {
      b.step == 1 ? all(each, each) : all(each, once);
    } else {
      b.step == 1 ? all(once, each) : all(once, once);
    }
    if (fits) return;
    for (size_t t = 0; t < count_; ++t) {
      const int64_t value = operation(int64_t(a[t].integer), int64_t(b[t].integer));
      if (value == int32_t(value)) continue;
      if (!poisoned(out, t)) overflow(program_, value);
      out.cells[t].integer = 0;
    }
  }

  template <class Operation>
  void eachQuotient(const Node& node, Column& out, const Operation& operation) {
    eachInteger(node, out, [&](int64_t a, int64_t b) {
      if (b == 0) zeroDivisor(program_);
      return operation(a, b);
    });
  }

  void integers(const Node& node, Column& out) {
    using I = int64_t;
    switch (node.op) {
      case Op::add: return eachInteger(node, out, [](I a, I b) { return a + b; });
      case Op::sub: return eachInteger(node, out, [](I a, I b) { return a - b; });
      case Op::mul: return eachInteger(node, out, [](I a, I b) { return a * b; });
      case Op::mod: return eachQuotient(node, out, [](I a, I b) { return a % b; });
      case Op::floorDiv: return eachQuotient(node, out, floorDiv);
      case Op::ceilDiv: return eachQuotient(node, out, ceilDiv);
      case Op::truncDiv: return eachQuotient(node, out, [](I a, I b) { return a / b; });
      case Op::neg: return eachInteger(node, out, [](I a, I) { return -a; });
      case Op::abs: return eachInteger(node, out, [](I a, I) { return std::abs(a); });
      case Op::min: return eachInteger(node, out, [](I a, I b) { return std::min(a, b); });
      case Op::max: return eachInteger(node, out, [](I a, I b) { return std::max(a, b); });
      case Op::sign: return eachInteger(node, out, [](I a, I) { return I(a > 0) - I(a < 0); });
      case Op::bitAnd: return eachInteger(node, out, [](I a, I b) { return a & b; });
      case Op::bitOr: return eachInteger(node, out, [](I a, I b) { return a | b; });
      case Op::bitXor: return eachInteger(node, out, [](I a, I b) { return a ^ b; });
      case Op::bitNot: return eachInteger(node, out, [](I a, I) { return ~a; });
      case Op::shl: return eachInteger(node, out, [](I a, I b) { return I(int32_t(uint32_t(a) << (b & 31))); });
      case Op::shr: return eachInteger(node, out, [](I a, I b) { return a >> (b & 31); });
      case Op::ushr: return eachInteger(node, out, [](I a, I b) { return I(uint32_t(a) >> (b & 31)); });
      case Op::lt: return eachInteger(node, out, [](I a, I b) { return I(a < b); });
      case Op::le: return eachInteger(node, out, [](I a, I b) { return I(a <= b); });
      case Op::eq: return eachInteger(node, out, [](I a, I b) { return I(a == b); });
      case Op::ne: return eachInteger(node, out, [](I a, I b) { return I(a != b); });
      case Op::lnot: return eachInteger(node, out, [](I a, I) { return I(!a); });
      default: throw CodedError("ERR_INTERNAL", argumentOf(program_), "an integer operation", "another");
    }
  }

  void compareReals(const Node& node, Column& out) {
    const Cell *a = operand(node, 0).cells.data(), *b = operand(node, 1).cells.data();
    for (size_t t = 0; t < count_; ++t) {
      const float x = a[t].real, y = b[t].real;
      out.cells[t].integer = node.op == Op::lt   ? x < y
                             : node.op == Op::le ? x <= y
                             : node.op == Op::eq ? x == y
                                                 : x != y;
    }
  }

  template <class Operation>
  void eachReal(const Node& node, Column& out, const Operation& operation) {
    const Cell* a = operand(node, 0).cells.data();
    const Cell* b = node.arity > 1 ? operand(node, 1).cells.data() : a;
    for (size_t t = 0; t < count_; ++t) out.cells[t].real = float(operation(a[t].real, b[t].real));
  }

  void reals(const Node& node, Column& out) {
    using F = float;
    switch (node.op) {
      case Op::toReal: {
        const Column::Cells a = operand(node, 0).each();
        for (size_t t = 0; t < count_; ++t) out.cells[t].real = float(a[t].integer);
        return;
      }
      case Op::add: return eachReal(node, out, [](F a, F b) { return a + b; });
      case Op::sub: return eachReal(node, out, [](F a, F b) { return a - b; });
      case Op::mul: return eachReal(node, out, [](F a, F b) { return a * b; });
      case Op::div: return eachReal(node, out, [](F a, F b) { return a / b; });
      case Op::neg: return eachReal(node, out, [](F a, F) { return -a; });
      case Op::abs: return eachReal(node, out, [](F a, F) { return std::fabs(a); });
      // As Math.min and max: NaN wins, and -0 is below 0.
      case Op::min:
        return eachReal(node, out, [](F a, F b) {
          return a != a || b != b ? a + b : a < b || (a == b && std::signbit(a)) ? a : b;
        });
      case Op::max:
        return eachReal(node, out, [](F a, F b) {
          return a != a || b != b ? a + b : a > b || (a == b && !std::signbit(a)) ? a : b;
        });
      case Op::sign: return eachReal(node, out, [](F a, F) { return a > 0 ? F(1) : a < 0 ? F(-1) : a; });
      case Op::floor: return eachReal(node, out, [](F a, F) { return std::floor(a); });
      case Op::ceil: return eachReal(node, out, [](F a, F) { return std::ceil(a); });
      case Op::trunc: return eachReal(node, out, [](F a, F) { return std::trunc(a); });
      case Op::sqrt: return eachReal(node, out, [](F a, F) { return std::sqrt(a); });
      case Op::exp: return eachReal(node, out, [](F a, F) { return std::exp(double(a)); });
      case Op::log: return eachReal(node, out, [](F a, F) { return std::log(double(a)); });
      case Op::log2: return eachReal(node, out, [](F a, F) { return std::log2(double(a)); });
      case Op::tanh: return eachReal(node, out, [](F a, F) { return std::tanh(double(a)); });
      case Op::sin: return eachReal(node, out, [](F a, F) { return std::sin(double(a)); });
      case Op::cos: return eachReal(node, out, [](F a, F) { return std::cos(double(a)); });
      case Op::pow:
        return eachReal(node, out, [](F a, F b) {
          // JavaScript: 1 to the power of NaN or an infinity is NaN.
          if (b != b || (std::fabs(a) == 1 && std::isinf(b))) return std::numeric_limits<double>::quiet_NaN();
          return std::pow(double(a), double(b));
        });
      default: throw CodedError("ERR_INTERNAL", argumentOf(program_), "a real operation", "another");
    }
  }

  const Program& program_;
  const Place& place_;
  size_t count_;
  std::vector<Column>& columns_;
};

enum class Side { head, query, key };

bool belongs(uint8_t depends, Side side) {
  switch (side) {
    case Side::head: return (depends & ~onHead) == 0;
    case Side::query: return depends == onQuery;
    case Side::key: return depends == onKey;
  }
  return false;
}

}  // namespace

UnaryValues::UnaryValues(std::shared_ptr<const Program> program, const Place& place)
    : program_(std::move(program)), place_(place) {
  if (place.queries > kMostPositions || place.keys > kMostPositions) {
    throw CodedError("ERR_OUT_OF_RANGE", argumentOf(*program_),
                     "at most " + std::to_string(kMostPositions) + " queries and keys with a program",
                     std::to_string(std::max(place.queries, place.keys)));
  }
  const int count = program_->result() + 1;
  const size_t size = size_t(count);
  for (auto* vectors : {&byQuery_, &byKey_, &heads_, &poisonByKey_}) vectors->resize(size);
  poisonByQuery_.resize(size);
  headPoison_.resize(size);
  uncertain_.assign(size, false);

  // Nodes that someone on another side reads: the others are only steps on the way.
  std::vector<bool> wanted(size, false);
  wanted[size_t(program_->result())] = true;
  for (int n = 0; n < count; ++n) {
    const Node& node = program_->node(n);
    for (int k = 0; k < node.arity; ++k) {
      if (program_->depends(node.args[k]) != program_->depends(n)) wanted[size_t(node.args[k])] = true;
    }
  }

  std::vector<Column> ofHeads;
  const auto evaluate = [&](Side side, int64_t positions) {
    std::vector<Column> columns(size);
    Evaluator evaluator(*program_, place_, positions, columns);
    for (int n = 0; n < count; ++n) {
      if (belongs(program_->depends(n), side)) {
        evaluator.evaluate(n);
      } else if (program_->depends(n) == 0) {  // known already, of all heads
        const Column& known = ofHeads[size_t(n)];
        const bool real = program_->node(n).type == Type::real;
        columns[size_t(n)].cells.assign(real ? size_t(positions) : 1, known.cells.front());
        if (!known.poison.empty()) columns[size_t(n)].poison.assign(size_t(positions), known.poison.front());
      }
    }
    if (side == Side::head) {
      for (Column& column : columns) {
        if (column.cells.size() == 1) column.cells.resize(size_t(positions), column.cells.front());
      }
      ofHeads = columns;
    }
    for (int n = 0; n < count; ++n) {
      Column& column = columns[size_t(n)];
      if (!belongs(program_->depends(n), side) || !wanted[size_t(n)]) continue;
      if (std::find(column.poison.begin(), column.poison.end(), 1) != column.poison.end()) {
        uncertain_[size_t(n)] = true;
        if (side == Side::query) poisonByQuery_[size_t(n)] = column.poison;
        if (side == Side::head) headPoison_[size_t(n)] = column.poison;
        if (side == Side::key) {
          for (const uint8_t poison : column.poison) {
            Cell cell{};
            cell.integer = poison;
            poisonByKey_[size_t(n)].push_back(cell);
          }
        }
      }
      auto& vectors = side == Side::query ? byQuery_ : side == Side::key ? byKey_ : heads_;
      vectors[size_t(n)] = std::move(column.cells);
    }
  };
  evaluate(Side::head, place_.headsQ);
  evaluate(Side::query, place_.queries);
  evaluate(Side::key, place_.keys);
  bounds_ = std::make_unique<const Bounds>(*this);
}

UnaryValues::~UnaryValues() = default;

size_t UnaryValues::bytes() const {
  size_t bytes = sizeof(*this) + bounds_->bytes();
  for (const auto* vectors : {&byQuery_, &byKey_, &heads_, &poisonByKey_}) {
    for (const auto& cells : *vectors) bytes += cells.size() * sizeof(Cell);
  }
  for (const auto* vectors : {&poisonByQuery_, &headPoison_}) {
    for (const auto& flags : *vectors) bytes += flags.size();
  }
  return bytes;
}

}  // namespace fused_attention
