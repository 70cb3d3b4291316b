// The parts of a program that depend on the query's position alone, on the key's alone, or on neither: evaluated once
// for a sequence, as vectors. What joins both sides is left to the tile bytecode (cpu/) and to boxes (bounds.h).
#pragma once

#include <memory>
#include <vector>

#include "program.h"

namespace fused_attention {

class Bounds;

class UnaryValues {
 public:
  /// Throws CodedError ERR_OUT_OF_RANGE where an integer leaves int32 or a divisor is 0, or where that cannot be
  /// excluded.
  UnaryValues(std::shared_ptr<const Program> program, const Place& place);
  ~UnaryValues();
  UnaryValues(const UnaryValues&) = delete;
  UnaryValues& operator=(const UnaryValues&) = delete;

  const Program& program() const { return *program_; }
  const Place& place() const { return place_; }

  /// Values by row of a node that depends on the query's position alone, by column of one that depends on the key's;
  /// null for other nodes, and for those that only nodes of the same side use.
  const Cell* byQuery(int node) const { return pointer(byQuery_, node); }
  const Cell* byKey(int node) const { return pointer(byKey_, node); }
  /// Of nodes that depend on nothing, or on the head alone.
  Cell scalar(int node, int64_t head) const { return heads_[size_t(node)][size_t(head)]; }

  /// Whether any value of a node hangs on a read outside its table. The others tell where: 1, else 0.
  bool uncertain(int node) const { return uncertain_[size_t(node)]; }
  const uint8_t* poisonByQuery(int node) const { return poisonByQuery_[size_t(node)].data(); }
  const Cell* poisonByKey(int node) const { return pointer(poisonByKey_, node); }
  int32_t scalarPoison(int node, int64_t head) const { return headPoison_[size_t(node)][size_t(head)]; }

  /// What the program can be over boxes.
  const Bounds& bounds() const { return *bounds_; }

  size_t bytes() const;

 private:
  static const Cell* pointer(const std::vector<std::vector<Cell>>& vectors, int node) {
    const std::vector<Cell>& cells = vectors[size_t(node)];
    return cells.empty() ? nullptr : cells.data();
  }

  std::shared_ptr<const Program> program_;
  Place place_;
  std::vector<std::vector<Cell>> byQuery_, byKey_, heads_, poisonByKey_;
  std::vector<std::vector<uint8_t>> poisonByQuery_, headPoison_;
  std::vector<bool> uncertain_;
  std::unique_ptr<const Bounds> bounds_;
};

}  // namespace fused_attention
