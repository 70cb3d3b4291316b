// A program with its parameters, immutable: what lib/program makes once, and any number of calls use.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "../problem_codec.h"
#include "axis_product.h"
#include "block_lists.h"
#include "graph.h"

namespace fused_attention {

/// 32 bits of an integer, a boolean (0 or 1) or a real, as its node's type says.
union Cell {
  int32_t integer;
  float real;
};

/// A snapshot of the user's values, last axis contiguous.
struct Table {
  Type type = Type::integer;
  int rank = 1;
  int64_t shape[3] = {1, 1, 1};
  std::vector<Cell> cells;
  Cell least{}, most{};  // over all cells that are not NaN
  bool hasNaN = false;
};

class Program {
 public:
  Program(Graph graph, std::vector<Cell> numbers, std::vector<Table> tables, const AxisProduct& product = {},
          std::vector<BlockLists> lists = {});

  const Graph& graph() const { return graph_; }
  ProgramKind kind() const { return graph_.kind; }
  const std::vector<Node>& nodes() const { return graph_.nodes; }
  const Node& node(int index) const { return graph_.nodes[size_t(index)]; }
  uint8_t depends(int index) const { return graph_.depends[size_t(index)]; }
  int result() const { return graph_.result; }
  Cell number(int index) const { return numbers_[size_t(index)]; }
  const Table& table(int index) const { return tables_[size_t(index)]; }
  /// The mask as a product of ranges, where it was given with that form.
  const AxisProduct& product() const { return product_; }
  /// What else has to hold for a pair to be visible, besides what the graph says.
  const std::vector<BlockLists>& lists() const { return lists_; }
  /// Whether the graph of a mask hides nothing.
  bool showsAll() const { return node(result()).op == Op::constant && node(result()).value != 0; }
  /// Tells programs apart while the process runs: plans are kept under it.
  uint64_t id() const { return id_; }

 private:
  Graph graph_;
  std::vector<Cell> numbers_;
  std::vector<Table> tables_;
  AxisProduct product_;
  std::vector<BlockLists> lists_;
  uint64_t id_;
};

/// The numbers of graph.h, then for each number parameter its value, then for each table its sizes, one an axis; then,
/// where a mask has more, those of an AxisProduct: axes (0: it has none), and with axes its origin and for each its
/// length, its period and the tables of its starts and ends; and then, if there is still more, those of block lists
/// (block_lists.h). The buffers are the tables', Int32Array for integers, Float32Array for reals, and the lists'.
/// Everything is copied. Throws CodedError.
std::shared_ptr<const Program> decodeProgram(const double* numbers, size_t count, const std::vector<Buffer>& buffers);

/// The sequence that a program is evaluated for.
struct Place {
  int64_t batch = 0;                  // b
  int64_t queries = 0, keys = 0;      // nq, nkv
  int64_t queryStart = 0;             // position of row 0
  int64_t headsQ = 1, groupSize = 1;  // hkv = h / groupSize
  Gap gap = {};                       // column c stands at position gap.positionOf(c)
};

}  // namespace fused_attention
