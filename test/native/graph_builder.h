// Programs for native tests, written as nested calls:
//   GraphBuilder g;
//   auto program = g.mask(g.le(g.j(), g.i()));
#pragma once

#include <initializer_list>
#include <vector>

#include "program/program.h"

namespace fused_attention {
namespace {

class GraphBuilder {
 public:
  int node(Op op, Type type, std::initializer_list<int> args = {}, double value = 0) {
    double operands[3] = {-1, -1, -1};
    int k = 0;
    for (const int argument : args) operands[k++] = argument;
    nodes_.insert(nodes_.end(), {double(op), double(type), operands[0], operands[1], operands[2], value});
    types_.push_back(type);
    return int(types_.size()) - 1;
  }
  int integer(int32_t value) { return node(Op::constant, Type::integer, {}, value); }
  int real(float value) { return node(Op::constant, Type::real, {}, value); }
  int i() { return node(Op::i, Type::integer); }
  int j() { return node(Op::j, Type::integer); }
  int s() { return node(Op::s, Type::real); }
  int leaf(Op op) { return node(op, Type::integer); }
  /// An operation whose result has the type of its last operand: arithmetic, select.
  int apply(Op op, std::initializer_list<int> args) { return node(op, types_[size_t(*(args.end() - 1))], args); }
  /// One with a boolean result.
  int test(Op op, std::initializer_list<int> args) { return node(op, Type::boolean, args); }
  int le(int a, int b) { return test(Op::le, {a, b}); }
  int eq(int a, int b) { return test(Op::eq, {a, b}); }
  int land(int a, int b) { return test(Op::land, {a, b}); }

  int parameter(Type type, double value) {
    numberTypes_.push_back(double(type));
    numbers_.push_back(value);
    return node(Op::parameter, type, {}, double(numbers_.size() - 1));
  }
  /// An integer table; read it with node(Op::table, ...).
  int table(std::vector<int32_t> values, std::vector<int64_t> shape) {
    integers_.push_back(std::move(values));
    reals_.emplace_back();
    return addTable(Type::integer, shape);
  }
  int table(std::vector<float> values, std::vector<int64_t> shape) {
    reals_.push_back(std::move(values));
    integers_.emplace_back();
    return addTable(Type::real, shape);
  }
  int read(int table, std::initializer_list<int> indices) {
    return node(Op::table, tableTypes_[size_t(table)], indices, table);
  }

  std::shared_ptr<const Program> mask(int result, int grids = 0) { return decode(ProgramKind::mask, result, grids); }
  /// The same, with the numbers of its form as a product (program.h).
  std::shared_ptr<const Program> product(int result, std::vector<double> form) {
    product_ = std::move(form);
    return mask(result);
  }
  /// The same with lists of blocks: the numbers of block_lists.h from their number on, and starts and blocks of each.
  std::shared_ptr<const Program> listed(int result, std::vector<double> form,
                                        std::vector<std::vector<int32_t>> buffers) {
    product_ = {0};
    product_.insert(product_.end(), form.begin(), form.end());
    lists_ = std::move(buffers);
    return mask(result);
  }
  std::shared_ptr<const Program> score(int result) { return decode(ProgramKind::score, result, 0); }

 private:
  int addTable(Type type, const std::vector<int64_t>& shape) {
    tableTypes_.push_back(type);
    tableShapes_.push_back(shape);
    return int(tableTypes_.size()) - 1;
  }

  std::shared_ptr<const Program> decode(ProgramKind kind, int result, int grids) {
    std::vector<double> numbers{1,
                                double(kind),
                                double(types_.size()),
                                double(result),
                                double(numbers_.size()),
                                double(tableTypes_.size()),
                                double(grids)};
    numbers.insert(numbers.end(), numberTypes_.begin(), numberTypes_.end());
    for (size_t k = 0; k < tableTypes_.size(); ++k) {
      numbers.push_back(double(tableTypes_[k]));
      numbers.push_back(double(tableShapes_[k].size()));
    }
    numbers.insert(numbers.end(), nodes_.begin(), nodes_.end());
    numbers.insert(numbers.end(), numbers_.begin(), numbers_.end());
    std::vector<Buffer> buffers;
    for (size_t k = 0; k < tableTypes_.size(); ++k) {
      for (const int64_t size : tableShapes_[k]) numbers.push_back(double(size));
      if (tableTypes_[k] == Type::integer) {
        buffers.push_back({integers_[k].data(), integers_[k].size() * 4});
      } else {
        buffers.push_back({reals_[k].data(), reals_[k].size() * 4});
      }
    }
    numbers.insert(numbers.end(), product_.begin(), product_.end());
    for (auto& list : lists_) buffers.push_back({list.data(), list.size() * 4});
    return decodeProgram(numbers.data(), numbers.size(), buffers);
  }

  std::vector<double> nodes_, numberTypes_, numbers_, product_;
  std::vector<Type> types_, tableTypes_;
  std::vector<std::vector<int64_t>> tableShapes_;
  std::vector<std::vector<int32_t>> integers_, lists_;
  std::vector<std::vector<float>> reals_;
};

}  // namespace
}  // namespace fused_attention
