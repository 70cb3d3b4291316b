#include "block_map.h"

#include <algorithm>
#include <string>

#include "../error.h"
#include "../program/box_view.h"

namespace fused_attention {

namespace {

constexpr int64_t kMostTiles = int64_t{1} << 26;

class Mapper {
 public:
  Mapper(const Bounds& bounds, int64_t head, const Place& place, int64_t tileQueries, int64_t tileKeys)
      : view_(bounds, head),
        place_(place),
        tileQueries_(tileQueries),
        tileKeys_(tileKeys),
        columns_((place.keys + tileKeys - 1) / tileKeys),
        states_(size_t((place.queries + tileQueries - 1) / tileQueries * columns_)) {}

  std::vector<TileState> map(bool diagonals) {
    const int64_t rows = int64_t(states_.size()) / columns_;
    if (diagonals && tileQueries_ == tileKeys_) {
      alongDiagonals(rows);
    } else {
      divide({0, rows}, {0, columns_});
    }
    return std::move(states_);
  }

 private:
  static Range halves(Range range, int which) {
    const int64_t middle = (range.begin + range.end) / 2;
    return which == 0 ? Range{range.begin, middle} : Range{middle, range.end};
  }

  /// Tiles along a diagonal are alike; but for shorter ones at the ends.
  void alongDiagonals(int64_t rows) {
    const int64_t fullRows = place_.queries / tileQueries_, fullColumns = place_.keys / tileKeys_;
    if (fullRows > 0 && fullColumns > 0) {
      // states[column - row + fullRows - 1]
      std::vector<TileState> states(size_t(fullRows + fullColumns - 1));
      for (int64_t at = 0; at < int64_t(states.size()); ++at) {
        const int64_t distance = at - (fullRows - 1);
        const int64_t row = std::max<int64_t>(0, -distance);
        states[size_t(at)] = stateOf(row, row + distance);
      }
      for (int64_t row = 0; row < fullRows; ++row) {
        std::copy_n(states.begin() + (fullRows - 1 - row), fullColumns, states_.begin() + row * columns_);
      }
    }
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t column = row < fullRows ? fullColumns : 0; column < columns_; ++column) {
        states_[size_t(row * columns_ + column)] = stateOf(row, column);
      }
    }
  }

  TileState stateOf(int64_t row, int64_t column) {
    const Range rows{row * tileQueries_, std::min((row + 1) * tileQueries_, place_.queries)};
    const Range columns{column * tileKeys_, std::min((column + 1) * tileKeys_, place_.keys)};
    return stateOf(ask(rows, columns), rows, columns);
  }

  TileState stateOf(const Verdict& verdict, Range rows, Range columns) {
    if (verdict.never()) return TileState::none;
    if (verdict.always()) return TileState::full;
    const bool pair = rows.end - rows.begin == 1 && columns.end - columns.begin == 1;
    return verdict.certain || pair ? TileState::partial : settle(rows, columns);
  }

  Verdict ask(Range rows, Range columns) {
    setRows(rows);
    view_.setColumns(columns);
    return view_.verdict();
  }

  void setRows(Range rows) {
    if (rows.begin == rows_.begin && rows.end == rows_.end) return;
    view_.setRows(rows_ = rows);
  }

  void fill(Range tilesQ, Range tilesK, TileState state) {
    for (int64_t row = tilesQ.begin; row < tilesQ.end; ++row) {
      std::fill(states_.begin() + row * columns_ + tilesK.begin, states_.begin() + row * columns_ + tilesK.end, state);
    }
  }

  void divide(Range tilesQ, Range tilesK) {
    const Range rows{tilesQ.begin * tileQueries_, std::min(tilesQ.end * tileQueries_, place_.queries)};
    const Range columns{tilesK.begin * tileKeys_, std::min(tilesK.end * tileKeys_, place_.keys)};
    const Verdict verdict = ask(rows, columns);
    if (verdict.never()) return;  // as the states are to begin with
    if (verdict.always()) return fill(tilesQ, tilesK, TileState::full);
    const int64_t down = tilesQ.end - tilesQ.begin, across = tilesK.end - tilesK.begin;
    constexpr int64_t few = 4;
    if (down <= few && across <= few) {
      // Row by row, so that a row's values are looked up once.
      for (int64_t row = tilesQ.begin; row < tilesQ.end; ++row) {
        for (int64_t column = tilesK.begin; column < tilesK.end; ++column) {
          TileState& state = states_[size_t(row * columns_ + column)];
          state = down == 1 && across == 1 ? stateOf(verdict, rows, columns) : stateOf(row, column);
        }
      }
      return;
    }
    if (down >= across) {
      for (int which = 0; which < 2; ++which) divide(halves(tilesQ, which), tilesK);
    } else {
      for (int which = 0; which < 2; ++which) divide(tilesQ, halves(tilesK, which));
    }
  }

  /// A tile that may be mixed: split until a hidden and a visible pair have shown, or all of it is known.
  TileState settle(Range rows, Range columns) {
    hidden_ = visible_ = false;
    search(rows, columns);
    return hidden_ && visible_ ? TileState::partial : visible_ ? TileState::full : TileState::none;
  }

  void search(Range rows, Range columns) {
    const int64_t down = rows.end - rows.begin, across = columns.end - columns.begin;
    for (int which = 0; which < 2 && !(hidden_ && visible_); ++which) {
      const Range r = down > 1 && down >= across ? halves(rows, which) : rows;
      const Range c = down > 1 && down >= across ? columns : halves(columns, which);
      const Verdict verdict = ask(r, c);
      const bool pair = r.end - r.begin == 1 && c.end - c.begin == 1;
      if (verdict.never() || verdict.always() || verdict.certain || pair) {
        hidden_ |= verdict.mayHide;
        visible_ |= verdict.mayShow;
      } else {
        search(r, c);
      }
    }
  }

  BoxView view_;
  const Place& place_;
  int64_t tileQueries_, tileKeys_, columns_;
  Range rows_{-1, -1};
  bool hidden_ = false, visible_ = false;
  std::vector<TileState> states_;
};

/// What lists of blocks say of tiles: of each as many pairs as they list.
std::vector<TileState> listedTiles(const BlockLists& list, const Place& place, int64_t head, int64_t tileQueries,
                                   int64_t tileKeys) {
  const int64_t across = (place.keys + tileKeys - 1) / tileKeys;
  const int64_t down = (place.queries + tileQueries - 1) / tileQueries;
  std::vector<TileState> states(size_t(down * across), TileState::none);
  std::vector<int64_t> seen(static_cast<size_t>(across));
  for (int64_t tile = 0; tile < down; ++tile) {
    std::fill(seen.begin(), seen.end(), 0);
    const Range rows{tile * tileQueries, std::min((tile + 1) * tileQueries, place.queries)};
    for (int64_t row = rows.begin; row < rows.end;) {
      const int64_t start = list.byRow ? 0 : place.queryStart;
      const int64_t block = row + start < 0 ? -1 : (row + start) / list.sizeQ;
      const int64_t end = std::min(rows.end, (block + 1) * list.sizeQ - start);
      if (block >= 0 && block < list.rows) {
        for (const int32_t column : list.line(list.lineOf(place.batch, head, block))) {
          const Range keys{column * list.sizeK, std::min((column + 1) * list.sizeK, place.keys)};
          for (int64_t at = keys.begin; at < keys.end;) {
            const int64_t stop = std::min(keys.end, (at / tileKeys + 1) * tileKeys);
            seen[size_t(at / tileKeys)] += (stop - at) * (end - row);
            at = stop;
          }
        }
      }
      row = end;
    }
    for (int64_t t = 0; t < across; ++t) {
      const int64_t all = (rows.end - rows.begin) * (std::min((t + 1) * tileKeys, place.keys) - t * tileKeys);
      TileState& state = states[size_t(tile * across + t)];
      state = seen[size_t(t)] == all ? TileState::full : seen[size_t(t)] > 0 ? TileState::partial : TileState::none;
    }
  }
  return states;
}

void requireBetween(const char* argument, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return;
  throw CodedError("ERR_OUT_OF_RANGE", argument,
                   "an integer from " + std::to_string(least) + " to " + std::to_string(most), std::to_string(value));
}

}  // namespace

std::vector<TileState> blockMap(const Problem& problem, int64_t batch, int64_t head, int64_t tileQueries,
                                int64_t tileKeys) {
  requireBetween("options.b", batch, 0, problem.batch - 1);
  requireBetween("options.h", head, 0, problem.headsQ - 1);
  requireBetween("options.block", tileQueries, 1, int64_t{1} << 31);
  requireBetween("options.block", tileKeys, 1, int64_t{1} << 31);
  const Sequence sequence{batch, 0, problem.queries, 0, problem.keys};
  const int64_t down = (sequence.queries + tileQueries - 1) / tileQueries;
  const int64_t across = (sequence.keys + tileKeys - 1) / tileKeys;
  if (across != 0) requireBetween("options.block", down, 0, kMostTiles / across);
  std::vector<TileState> states(size_t(down * across), TileState::full);
  if (states.empty()) return states;

  const bool tensors = problem.masks.size() > (problem.mask ? size_t(problem.mask->graph().grids) : 0);
  if (problem.mask) {
    const Place place{batch,          sequence.queries,    sequence.keys, queryStart(problem, sequence),
                      problem.headsQ, problem.groupSize(), problem.gap};
    for (const BlockLists& list : problem.mask->lists()) {
      if ((list.heads > 1 && head >= list.heads) || (list.batches > 1 && batch >= list.batches)) {
        throw CodedError("ERR_OUT_OF_RANGE", head >= list.heads ? "options.h" : "options.b",
                         "a head and a sequence of the block layout", std::to_string(std::max(head, batch)));
      }
    }
    const UnaryValues values(problem.mask, place);
    states = Mapper(values.bounds(), head, place, tileQueries, tileKeys).map(values.bounds().onlyDistance());
    for (const BlockLists& list : problem.mask->lists()) {
      const std::vector<TileState> listed = listedTiles(list, place, head, tileQueries, tileKeys);
      for (size_t n = 0; n < states.size(); ++n) states[n] = std::min(states[n], listed[n]);
    }
  }
  if (tensors) {
    for (TileState& state : states) state = std::min(state, TileState::partial);
  }
  return states;
}

}  // namespace fused_attention
