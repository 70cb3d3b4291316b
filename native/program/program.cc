#include "program.h"

#include <atomic>
#include <cmath>
#include <cstring>
#include <string>

#include "../number_reader.h"

namespace fused_attention {

namespace {

uint64_t nextId() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

Cell cellOf(Type type, double value) {
  Cell cell{};
  if (type == Type::real) {
    cell.real = float(value);
  } else {
    cell.integer = int32_t(value);
  }
  return cell;
}

/// Bounds of all cells, by which reads are judged whose index is not known.
void measure(Table& table) {
  bool any = false;
  for (const Cell cell : table.cells) {
    if (table.type == Type::real) {
      if (std::isnan(cell.real)) {
        table.hasNaN = true;
        continue;
      }
      if (!any || cell.real < table.least.real) table.least = cell;
      if (!any || cell.real > table.most.real) table.most = cell;
    } else {
      if (!any || cell.integer < table.least.integer) table.least = cell;
      if (!any || cell.integer > table.most.integer) table.most = cell;
    }
    any = true;
  }
}

Table readTable(NumberReader& numbers, const TableShape& shape, const Buffer& buffer, size_t index) {
  const std::string name = "program.tables[" + std::to_string(index) + "]";
  Table table;
  table.type = shape.type;
  table.rank = shape.rank;
  int64_t count = 1;
  for (int axis = 0; axis < shape.rank; ++axis) {
    table.shape[axis] = numbers.integer(name, 0, kMostInteger);
    if (table.shape[axis] != 0 && count > kMostInteger / table.shape[axis]) {
      throw CodedError("ERR_OUT_OF_RANGE", name, "a size that memory can hold", "a larger one");
    }
    count *= table.shape[axis];
  }
  if (buffer.bytes != size_t(count) * sizeof(Cell)) {
    throw CodedError("ERR_SHAPE_MISMATCH", name, std::to_string(count) + " elements",
                     std::to_string(buffer.bytes / sizeof(Cell)));
  }
  table.cells.resize(size_t(count));
  if (count > 0) std::memcpy(table.cells.data(), buffer.data, buffer.bytes);
  measure(table);
  return table;
}

AxisProduct readProduct(NumberReader& numbers, const std::vector<Table>& tables) {
  const char* name = "program.product";
  AxisProduct product;
  product.axes = int(numbers.integer(name, 0, AxisProduct::kMostAxes));
  if (product.axes == 0) return product;
  product.origin = numbers.integer(name, 0, INT32_MAX);
  for (int a = 0; a < product.axes; ++a) {
    AxisProduct::Axis& axis = product.axis[a];
    axis.length = numbers.integer(name, 1, INT32_MAX / product.cells());
    axis.period = numbers.integer(name, 1, axis.length);
    for (int* index : {&axis.start, &axis.end}) {
      *index = int(numbers.integer(name, 0, int64_t(tables.size()) - 1));
      const Table& table = tables[size_t(*index)];
      const bool fits = table.type == Type::integer && table.rank == 1 && table.shape[0] == axis.length &&
                        table.least.integer >= 0 && table.most.integer <= axis.length;
      if (!fits) {
        throw CodedError("ERR_INVALID_ARG_VALUE", name, "tables of places on the axis, one for each place", "others");
      }
    }
  }
  return product;
}

}  // namespace

Program::Program(Graph graph, std::vector<Cell> numbers, std::vector<Table> tables, const AxisProduct& product,
                 std::vector<BlockLists> lists)
    : graph_(std::move(graph)),
      numbers_(std::move(numbers)),
      tables_(std::move(tables)),
      product_(product),
      lists_(std::move(lists)),
      id_(nextId()) {}

std::shared_ptr<const Program> decodeProgram(const double* data, size_t count, const std::vector<Buffer>& buffers) {
  NumberReader numbers(data, count);
  Graph graph = readGraph(numbers);
  std::vector<Cell> values;
  for (const Type type : graph.numbers) {
    values.push_back(cellOf(type, type == Type::integer
                                      ? double(numbers.integer("program.numbers", INT32_MIN, INT32_MAX))
                                      : numbers.number()));
  }
  if (buffers.size() < graph.tables.size()) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "program.tables", std::to_string(graph.tables.size()) + " buffers",
                     std::to_string(buffers.size()));
  }
  std::vector<Table> tables;
  for (size_t k = 0; k < graph.tables.size(); ++k) tables.push_back(readTable(numbers, graph.tables[k], buffers[k], k));
  AxisProduct product;
  if (graph.kind == ProgramKind::mask && !numbers.atEnd()) product = readProduct(numbers, tables);
  const std::span<const Buffer> rest = std::span(buffers).subspan(tables.size());
  std::vector<BlockLists> lists;
  if (graph.kind == ProgramKind::mask && !numbers.atEnd()) {
    lists = readBlockLists(numbers, rest);
  } else if (!rest.empty()) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "program.tables", std::to_string(tables.size()) + " buffers",
                     std::to_string(buffers.size()));
  }
  numbers.finish();
  return std::make_shared<const Program>(std::move(graph), std::move(values), std::move(tables), product,
                                         std::move(lists));
}

}  // namespace fused_attention
