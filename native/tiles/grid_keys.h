// What groups of queries see of the keys of a grid, where a mask is a product of ranges along its axes: no box is
// halved and no program run to find it.
#pragma once

#include <vector>

#include "../cpu/lanes.h"
#include "../program/program.h"
#include "visibility.h"

namespace fused_attention {

class GridKeys {
 public:
  /// Whether the rows of a sequence are the cells of its mask's grid, with or without the positions before the first.
  static bool fit(const Problem& problem, const Sequence& sequence);

  GridKeys(const Problem& problem, const Sequence& sequence);

  /// Positions before the grid that are queries, too.
  int64_t rowsBefore() const { return rowsBefore_; }

  struct Place {
    int64_t at[AxisProduct::kMostAxes] = {};
  };
  /// Of a row from rowsBefore() on.
  Place placeOf(int64_t row) const;
  int64_t rowOf(const Place& place) const;

  /// What a place on an axis sees of it, and of it as many places.
  Range seen(int axis, int64_t at) const;

  /// The queries of a group: all of them before the grid, or all cells of one residue class.
  struct Group {
    int64_t lanes = 0;
    double pairs = 0;                                     // that the group sees
    bool all = false;                                     // they see every key
    Range reach[AxisProduct::kMostAxes];                  // places that some of them see, from the first to the last
    std::vector<uint64_t> words[AxisProduct::kMostAxes];  // of each place in reach, which lanes see it
  };
  void bind(const Lanes& lanes, Group& group) const;

  /// Whether two groups see the same, if not at the same place: runs from the grid's origin on are as far apart as
  /// their origins, and have the same bits.
  static bool alike(const Group& group, const Group& other);
  /// The cell of the grid where the group's reach begins.
  int64_t originOf(const Group& group) const;

  /// Appends the runs of all keys that the group sees.
  void runs(const Group& group, std::vector<Run>& out) const;
  /// The bits of one run, a word a key.
  void bits(const Group& group, const Run& run, uint64_t* words) const;

 private:
  void place(const Lanes& lanes, Place* places) const;

  AxisProduct product_;
  const Cell* starts_[AxisProduct::kMostAxes] = {};
  const Cell* ends_[AxisProduct::kMostAxes] = {};
  int64_t rowsBefore_ = 0, keys_ = 0;
};

}  // namespace fused_attention
