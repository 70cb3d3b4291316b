#include "graph.h"

#include <string>

#include "../number_reader.h"

namespace fused_attention {

namespace {

constexpr int64_t kVersion = 1;
constexpr int64_t kMostParameters = 256;
constexpr double kMostInt = 2147483647.0;

[[noreturn]] void wrong(size_t index, const char* expected) {
  throw CodedError("ERR_INVALID_ARG_VALUE", "program.nodes[" + std::to_string(index) + "]", expected, "another");
}

/// What an op takes and gives.
enum class Form : uint8_t {
  leaf,      // no operand
  table,     // as many integers as the table has axes
  same1,     // one operand of the result's type
  same2,     // two
  integer1,  // integers only
  integer2,
  real1,  // reals only
  real2,
  compare,  // two numbers of one type, to a boolean
  equal,    // two operands of any one type, to a boolean
  boolean1,
  boolean2,
  select,
  toReal,
  unknown,
};

Form formOf(Op op) {
  switch (op) {
    case Op::constant:
    case Op::parameter:
    case Op::grid:
    case Op::i:
    case Op::j:
    case Op::row:
    case Op::col:
    case Op::b:
    case Op::h:
    case Op::hkv:
    case Op::nq:
    case Op::nkv:
    case Op::s: return Form::leaf;
    case Op::table: return Form::table;
    case Op::neg:
    case Op::abs:
    case Op::sign: return Form::same1;
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::min:
    case Op::max: return Form::same2;
    case Op::bitNot: return Form::integer1;
    case Op::mod:
    case Op::floorDiv:
    case Op::ceilDiv:
    case Op::truncDiv:
    case Op::bitAnd:
    case Op::bitOr:
    case Op::bitXor:
    case Op::shl:
    case Op::shr:
    case Op::ushr: return Form::integer2;
    case Op::floor:
    case Op::ceil:
    case Op::trunc:
    case Op::exp:
    case Op::log:
    case Op::log2:
    case Op::sqrt:
    case Op::tanh:
    case Op::sin:
    case Op::cos: return Form::real1;
    case Op::div:
    case Op::pow: return Form::real2;
    case Op::lt:
    case Op::le: return Form::compare;
    case Op::eq:
    case Op::ne: return Form::equal;
    case Op::lnot: return Form::boolean1;
    case Op::land:
    case Op::lor: return Form::boolean2;
    case Op::select: return Form::select;
    case Op::toReal: return Form::toReal;
  }
  return Form::unknown;
}

int arityOf(Form form, const Node& node, const Graph& graph) {
  switch (form) {
    case Form::leaf: return 0;
    case Form::table: return graph.tables[size_t(node.value)].rank;
    case Form::same1:
    case Form::integer1:
    case Form::real1:
    case Form::boolean1:
    case Form::toReal: return 1;
    case Form::select: return 3;
    default: return 2;
  }
}

/// The type that a leaf or a table read has; checks the value of the others.
void checkLeaf(size_t index, const Node& node, const Graph& graph) {
  switch (node.op) {
    case Op::constant:
      if (node.type == Type::boolean && node.value != 0 && node.value != 1) wrong(index, "0 or 1");
      if (node.type == Type::integer &&
          !(node.value >= -kMostInt - 1 && node.value <= kMostInt && node.value == std::floor(node.value))) {
        wrong(index, "an int32");
      }
      return;
    case Op::parameter:
      if (node.type != graph.numbers[size_t(node.value)]) wrong(index, "the type of its parameter");
      return;
    case Op::table:
      if (node.type != graph.tables[size_t(node.value)].type) wrong(index, "the type of its table");
      return;
    case Op::grid:
      if (node.type != Type::boolean || graph.kind != ProgramKind::mask) wrong(index, "a boolean of a mask");
      return;
    case Op::s:
      if (node.type != Type::real || graph.kind != ProgramKind::score) wrong(index, "a real of a score");
      return;
    default:
      if (node.type != Type::integer) wrong(index, "an integer");
  }
}

void checkTypes(size_t index, const Node& node, Form form, const Graph& graph) {
  const auto type = [&](int argument) { return graph.nodes[size_t(node.args[argument])].type; };
  const bool mask = graph.kind == ProgramKind::mask;
  bool fits = true;
  switch (form) {
    case Form::leaf: checkLeaf(index, node, graph); break;
    case Form::table:
      checkLeaf(index, node, graph);
      for (int axis = 0; axis < node.arity; ++axis) fits &= type(axis) == Type::integer;
      break;
    case Form::same1:
    case Form::same2:
      fits = node.type != Type::boolean && !(mask && node.type == Type::real);
      for (int k = 0; k < node.arity; ++k) fits &= type(k) == node.type;
      break;
    case Form::integer1: fits = node.type == Type::integer && type(0) == Type::integer; break;
    case Form::integer2:
      fits = node.type == Type::integer && type(0) == Type::integer && type(1) == Type::integer;
      break;
    case Form::real1: fits = !mask && node.type == Type::real && type(0) == Type::real; break;
    case Form::real2: fits = !mask && node.type == Type::real && type(0) == Type::real && type(1) == Type::real; break;
    case Form::compare: fits = node.type == Type::boolean && type(0) == type(1) && type(0) != Type::boolean; break;
    case Form::equal: fits = node.type == Type::boolean && type(0) == type(1); break;
    case Form::boolean1: fits = node.type == Type::boolean && type(0) == Type::boolean; break;
    case Form::boolean2:
      fits = node.type == Type::boolean && type(0) == Type::boolean && type(1) == Type::boolean;
      break;
    case Form::select: fits = type(0) == Type::boolean && type(1) == node.type && type(2) == node.type; break;
    case Form::toReal: fits = !mask && node.type == Type::real && type(0) == Type::integer; break;
    case Form::unknown: fits = false;
  }
  if (!fits) wrong(index, "operands of the types that its operation takes");
}

uint8_t ownDependence(Op op) {
  switch (op) {
    case Op::i:
    case Op::row: return onQuery;
    case Op::j:
    case Op::col: return onKey;
    case Op::h:
    case Op::hkv: return onHead;
    case Op::s: return onScore | onQuery | onKey | onHead;
    case Op::grid: return onGrid | onQuery | onKey | onHead;
    default: return 0;
  }
}

bool namesParameter(Op op) { return op == Op::parameter || op == Op::table || op == Op::grid; }

Node readNode(NumberReader& numbers, size_t index, const Graph& graph) {
  const std::string name = "program.nodes[" + std::to_string(index) + "]";
  Node node;
  node.op = static_cast<Op>(numbers.integer(name, 0, 255));
  const Form form = formOf(node.op);
  if (form == Form::unknown) wrong(index, "a known operation");
  node.type = static_cast<Type>(numbers.integer(name, 0, 2));
  for (int& argument : node.args) argument = int(numbers.integer(name, -1, int64_t(index) - 1));
  node.value = numbers.number();
  if (namesParameter(node.op)) {
    const int64_t count = node.op == Op::parameter ? int64_t(graph.numbers.size())
                          : node.op == Op::table   ? int64_t(graph.tables.size())
                                                   : graph.grids;
    if (!(node.value >= 0 && node.value < double(count)) || node.value != std::floor(node.value)) {
      wrong(index, "the index of a parameter");
    }
  }
  node.arity = arityOf(form, node, graph);
  for (int k = 0; k < 3; ++k) {
    if ((node.args[k] >= 0) != (k < node.arity)) wrong(index, "as many operands as its operation takes");
  }
  checkTypes(index, node, form, graph);
  return node;
}

}  // namespace

Graph readGraph(NumberReader& numbers) {
  Graph graph;
  numbers.integer("program.version", kVersion, kVersion);
  graph.kind = static_cast<ProgramKind>(numbers.integer("program.kind", 0, 1));
  const int64_t nodes = numbers.integer("program.nodes", 1, kMostNodes);
  graph.result = int(numbers.integer("program.result", 0, nodes - 1));
  const int64_t numberCount = numbers.integer("program.numbers", 0, kMostParameters);
  const int64_t tableCount = numbers.integer("program.tables", 0, kMostParameters);
  graph.grids = int(numbers.integer("program.grids", 0, kMostParameters));
  for (int64_t k = 0; k < numberCount; ++k) {
    graph.numbers.push_back(static_cast<Type>(numbers.integer("program.numbers", 1, 2)));
  }
  for (int64_t k = 0; k < tableCount; ++k) {
    TableShape table;
    table.type = static_cast<Type>(numbers.integer("program.tables", 1, 2));
    table.rank = int(numbers.integer("program.tables", 1, 3));
    graph.tables.push_back(table);
  }
  graph.nodes.reserve(size_t(nodes));
  for (size_t index = 0; index < size_t(nodes); ++index) {
    graph.nodes.push_back(readNode(numbers, index, graph));
    const Node& node = graph.nodes.back();
    uint8_t depends = ownDependence(node.op);
    for (int k = 0; k < node.arity; ++k) depends |= graph.depends[size_t(node.args[k])];
    graph.depends.push_back(depends);
  }
  const Type result = graph.nodes[size_t(graph.result)].type;
  if (result != (graph.kind == ProgramKind::mask ? Type::boolean : Type::real)) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "program.result", "a boolean of a mask, a real of a score", "another");
  }
  return graph;
}

}  // namespace fused_attention
