#include "query_order.h"

#include <algorithm>
#include <limits>

#include "plan.h"

namespace fused_attention {

namespace {

constexpr int kAxes = AxisProduct::kMostAxes;
/// Queries of a box, at most: of several groups where all of them see the same.
constexpr int64_t kMostQueries = 256;
constexpr int64_t kLongest = 64;
/// Keys that would take as long as a group takes besides its keys.
constexpr double kStart = 24;
/// Pieces of an axis that are looked at to tell what one sees: of long axes a sample.
constexpr int64_t kMostLooks = 64;

/// An axis cut in pieces as long as each other, within its first residue class.
struct Cut {
  int64_t pieces = 1;
  double seen = 0;  // places of the axis that a piece sees, on average
};

Range pieceOf(int64_t length, int64_t pieces, int64_t n) { return {n * length / pieces, (n + 1) * length / pieces}; }

int64_t classLength(const AxisProduct::Axis& axis, int64_t residue) {
  return (axis.length - residue - 1) / axis.period + 1;
}

Cut cutOf(const GridKeys& keys, const AxisProduct& grid, int a, int64_t longest) {
  const AxisProduct::Axis& axis = grid.axis[a];
  const int64_t length = classLength(axis, 0);
  Cut cut{ceilDiv(length, longest)};
  const int64_t looks = std::min(cut.pieces, kMostLooks);
  for (int64_t n = 0; n < looks; ++n) {
    const Range piece = pieceOf(length, cut.pieces, n * cut.pieces / looks);
    Range reach{axis.length, 0};
    for (int64_t at = piece.begin; at < piece.end; ++at) {
      const Range seen = keys.seen(a, at * axis.period);
      reach = {std::min(reach.begin, seen.begin), std::max(reach.end, seen.end)};
    }
    if (!reach.empty()) cut.seen += double(reach.end - reach.begin) / double(axis.period);
  }
  cut.seen /= double(looks);
  return cut;
}

struct BoxShape {
  int64_t longest[kAxes] = {1, 1, 1};
};

BoxShape bestShape(const GridKeys& keys, const AxisProduct& grid, const Kernels& kernels) {
  std::vector<Cut> cuts[kAxes];  // by longest piece
  for (int a = 0; a < kAxes; ++a) {
    const int64_t most = a < grid.axes ? std::min(kLongest, classLength(grid.axis[a], 0)) : 1;
    for (int64_t longest = 0; longest <= most; ++longest) {
      cuts[a].push_back(a < grid.axes && longest > 0 ? cutOf(keys, grid, a, longest) : Cut{1, 1});
    }
  }
  BoxShape best;
  double least = std::numeric_limits<double>::infinity();
  BoxShape shape;
  for (shape.longest[0] = 1; shape.longest[0] < int64_t(cuts[0].size()); ++shape.longest[0]) {
    for (shape.longest[1] = 1; shape.longest[1] < int64_t(cuts[1].size()); ++shape.longest[1]) {
      for (shape.longest[2] = 1; shape.longest[2] < int64_t(cuts[2].size()); ++shape.longest[2]) {
        int64_t queries = 1;
        double pieces = 1, seen = 1;
        for (int a = 0; a < kAxes; ++a) {
          const Cut& cut = cuts[a][size_t(shape.longest[a])];
          queries *= shape.longest[a];
          pieces *= double(cut.pieces);
          seen *= cut.seen;
        }
        if (queries > kMostQueries) break;
        const double cost = pieces * (kStart + seen) * timeFor(queries, kernels);
        if (cost < least) least = cost, best = shape;
      }
    }
  }
  return best;
}

}  // namespace

std::vector<int64_t> groupsOf(int64_t queries, const Kernels& kernels) {
  const int64_t vectors = ceilDiv(queries, kernels.width), groups = ceilDiv(vectors, kernels.vectors);
  std::vector<int64_t> begins;
  for (int64_t g = 0; g < groups; ++g) begins.push_back(g * vectors / groups * kernels.width);
  return begins;
}

double timeFor(int64_t queries, const Kernels& kernels) {
  constexpr double each = 0.2;  // of a key in a group, whatever its vectors
  const int64_t vectors = ceilDiv(queries, kernels.width), groups = ceilDiv(vectors, kernels.vectors);
  return each * double(groups) + (1 - each) * double(vectors) / double(kernels.vectors);
}

std::shared_ptr<const QueryOrder> boxesOf(const GridKeys& keys, const AxisProduct& grid, int64_t rows,
                                          const Kernels& kernels) {
  auto order = std::make_shared<QueryOrder>();
  order->rows.reserve(size_t(rows));
  for (int64_t row = 0; row < keys.rowsBefore(); ++row) {
    if (row % kernels.maxLanes() == 0) order->groups.push_back(row);
    order->rows.push_back(row);
  }
  const BoxShape shape = bestShape(keys, grid, kernels);
  int64_t residue[kAxes] = {}, piece[kAxes] = {};
  const auto box = [&] {
    Range part[kAxes] = {{0, 1}, {0, 1}, {0, 1}};
    for (int a = 0; a < grid.axes; ++a) {
      const int64_t length = classLength(grid.axis[a], residue[a]);
      part[a] = pieceOf(length, ceilDiv(length, shape.longest[a]), piece[a]);
    }
    const int64_t first = int64_t(order->rows.size());
    GridKeys::Place place;
    const auto along = [&](int a, const auto& visit) {
      for (int64_t at = part[a].begin; at < part[a].end; ++at) {
        place.at[a] = residue[a] + at * grid.axis[a].period;
        visit();
      }
    };
    static_assert(kAxes == 3);
    along(0, [&] { along(1, [&] { along(2, [&] { order->rows.push_back(keys.rowOf(place)); }); }); });
    for (const int64_t begin : groupsOf(int64_t(order->rows.size()) - first, kernels)) {
      order->groups.push_back(first + begin);
    }
  };
  const auto walk = [&](const auto& self, int depth) -> void {
    if (depth == 2 * grid.axes) return box();
    const int a = depth % grid.axes;
    int64_t& at = depth < grid.axes ? residue[a] : piece[a];
    const int64_t count =
        depth < grid.axes ? grid.axis[a].period : ceilDiv(classLength(grid.axis[a], residue[a]), shape.longest[a]);
    for (at = 0; at < count; ++at) self(self, depth + 1);
  };
  walk(walk, 0);
  order->groups.push_back(rows);
  return order;
}

}  // namespace fused_attention
