// Whole calls through the backend against the formula in double, each tensor in memory of exactly its size, so that
// sanitizers see what strays. And the chunk tree: one shape, however its leaves are handed out.
#include <algorithm>
#include <optional>

#include "cpu/chunk_tree.h"
#include "error.h"
#include "program_interpreter.h"
#include "random_graph.h"
#include "tiles/visibility.h"

namespace fused_attention {
namespace {

struct Scene {
  Problem problem;
  std::vector<float> query, key, value, output, lse, bias, sinks;
  std::vector<std::vector<uint8_t>> masks;
  std::vector<double> lengthsQ, lengthsKv;
  std::vector<Sequence> sequences;

  Pointers pointers() {
    Pointers p;
    p.query = query.data();
    p.key = key.data();
    p.value = value.data();
    p.output = output.data();
    p.lse = lse.data();
    p.bias = bias.data();
    p.sinks = sinks.data();
    for (const auto& mask : masks) p.masks.push_back(mask.data());
    return p;
  }
};

std::vector<double> cumulative(int64_t batch, int64_t most, int64_t& total) {
  std::vector<double> ends{0};
  for (int64_t b = 0; b < batch; ++b) ends.push_back(ends.back() + double(integer(0, most)));
  total = int64_t(ends.back());
  return ends;
}

Layout layoutFor(Lengths lengths, int64_t heads, int64_t rows, int64_t dim) {
  if (lengths == Lengths::cumulative) return {Dtype::float32, 0, 0, dim, heads * dim};
  return {Dtype::float32, 0, heads * rows * dim, rows * dim, dim};
}

/// Score programs that are smooth in the score, so that rounding stays rounding: the formula in double tells whether
/// they are right.
std::shared_ptr<const Program> smoothScore(int64_t headsQ) {
  GraphBuilder g;
  const int distance = g.node(Op::toReal, Type::real, {g.apply(Op::sub, {g.i(), g.j()})});
  const int table = g.table(normals(headsQ * 7), {headsQ, 7});
  const int bucket = g.apply(Op::mod, {g.apply(Op::abs, {g.apply(Op::sub, {g.i(), g.j()})}), g.integer(7)});
  const int read = g.read(table, {g.leaf(Op::h), bucket});
  switch (integer(0, 6)) {
    case 0: return g.score(g.apply(Op::sub, {g.s(), g.apply(Op::mul, {g.real(0.01f), distance})}));
    case 1: return g.score(g.apply(Op::add, {g.s(), read}));
    case 2: return g.score(g.apply(Op::mul, {g.node(Op::tanh, Type::real, {g.s()}), g.real(2)}));
    case 3: return g.score(g.apply(Op::mul, {g.s(), read}));
    case 4: return g.score(g.apply(Op::min, {g.s(), g.real(0.5f)}));
    case 5: {  // -infinity is the same as masked
      const int hides = g.test(Op::eq, {bucket, g.integer(3)});
      return g.score(g.apply(Op::select, {hides, g.real(-kInfinity), g.s()}));
    }
    default: return g.score(read);
  }
}

Scene randomScene(Isa isa) {
  Scene scene;
  Problem& p = scene.problem;
  p.isa = isa;
  p.threads = int32_t(integer(1, 3));
  p.batch = integer(1, 3);
  p.headsKv = integer(1, 2);
  p.headsQ = p.headsKv * integer(1, 3);
  p.dimQk = integer(1, 40);
  p.dimV = integer(1, 40);
  p.queries = integer(0, 60);
  p.keys = integer(0, 3) == 0 ? integer(500, 1100) : integer(0, 160);
  p.scale = 1 / std::sqrt(double(p.dimQk));
  p.align = integer(0, 1) ? Align::topLeft : Align::bottomRight;
  p.lengths = Lengths(integer(0, 2));
  p.lse = true;
  if (p.lengths == Lengths::cumulative) {
    scene.lengthsQ = cumulative(p.batch, p.queries, p.queries);
    scene.lengthsKv = cumulative(p.batch, p.keys, p.keys);
  } else if (p.lengths == Lengths::padded) {
    for (int64_t b = 0; b < p.batch; ++b) {
      scene.lengthsQ.push_back(double(integer(0, p.queries)));
      scene.lengthsKv.push_back(double(integer(0, p.keys)));
    }
  }
  const bool ragged = p.lengths == Lengths::cumulative;
  for (int64_t b = 0; b < p.batch; ++b) {
    const auto at = size_t(b);
    if (ragged) {
      scene.sequences.push_back({0, int64_t(scene.lengthsQ[at]), int64_t(scene.lengthsQ[at + 1] - scene.lengthsQ[at]),
                                 int64_t(scene.lengthsKv[at]), int64_t(scene.lengthsKv[at + 1] - scene.lengthsKv[at])});
    } else {
      const bool padded = p.lengths == Lengths::padded;
      scene.sequences.push_back(
          {b, 0, padded ? int64_t(scene.lengthsQ[at]) : p.queries, 0, padded ? int64_t(scene.lengthsKv[at]) : p.keys});
    }
  }
  const int64_t entries = ragged ? 1 : p.batch;
  p.query = layoutFor(p.lengths, p.headsQ, p.queries, p.dimQk);
  p.key = layoutFor(p.lengths, p.headsKv, p.keys, p.dimQk);
  p.value = layoutFor(p.lengths, p.headsKv, p.keys, p.dimV);
  p.output = layoutFor(p.lengths, p.headsQ, p.queries, p.dimV);
  scene.query = normals(entries * p.headsQ * p.queries * p.dimQk);
  scene.key = normals(entries * p.headsKv * p.keys * p.dimQk);
  scene.value = normals(entries * p.headsKv * p.keys * p.dimV);
  scene.output.assign(size_t(entries * p.headsQ * p.queries * p.dimV), kNaN);
  scene.lse.assign(size_t(entries * p.headsQ * p.queries), kNaN);
  p.hasSinks = integer(0, 2) == 0;
  scene.sinks = normals(p.headsQ);
  if (!ragged && integer(0, 1)) {
    for (int64_t m = integer(1, 2); m > 0; --m) {
      p.masks.push_back({Dtype::boolean, 0, p.queries * p.keys, 0, p.keys, 1});
      scene.masks.emplace_back(size_t(p.batch * p.queries * p.keys));
      for (uint8_t& cell : scene.masks.back()) cell = integer(0, 4) > 0;
    }
  }
  if (integer(0, 1)) {
    const int grids = int(integer(0, int64_t(p.masks.size())));
    p.mask = RandomGraph(ProgramKind::mask, false, grids).make(int(integer(1, 4)));
  }
  if (integer(0, 1)) p.score = smoothScore(p.headsQ);
  if (integer(0, 3) == 0) p.softcap = 3;
  if (!ragged && integer(0, 1)) {
    p.hasBias = true;
    p.bias = {Dtype::float32, 0, 0, p.queries * p.keys, p.keys, 1};
    scene.bias = normals(p.headsQ * p.queries * p.keys);
  }
  return scene;
}

Place placeOf(const Problem& p, const Sequence& s, int64_t index) {
  return {index, s.queries, s.keys, queryStart(p, s), p.headsQ, p.groupSize()};
}

/// Output and lse of one row, in double.
void checkRow(const Scene& scene, size_t index, int64_t head, int64_t row) {
  const Problem& p = scene.problem;
  const Sequence& s = scene.sequences[index];
  const auto allows = [&](size_t m, int64_t key) {
    return scene.masks[m][size_t((s.batch * p.queries + row) * p.keys + key)] != 0;
  };
  std::optional<Interpreter> mask, program;
  if (p.mask) {
    mask.emplace(*p.mask, placeOf(p, s, int64_t(index)));
    mask->grid = [&](int m, int64_t, int64_t, int64_t key) { return allows(size_t(m), key); };
  }
  if (p.score) program.emplace(*p.score, placeOf(p, s, int64_t(index)));
  const int64_t kvHead = head / p.groupSize();
  const auto start = [](const Layout& l, int64_t batch, int64_t h, int64_t r) {
    return batch * l.batch + h * l.head + r * l.row;
  };
  std::vector<double> scores, weights, sum(size_t(p.dimV), 0.0);
  std::vector<int64_t> seen;
  for (int64_t key = 0; key < s.keys; ++key) {
    bool visible = !mask || mask->result(head, row, key).cell.integer;
    for (size_t m = p.mask ? size_t(p.mask->graph().grids) : 0; m < p.masks.size(); ++m) visible &= allows(m, key);
    if (!visible) continue;
    double score = 0;
    for (int64_t d = 0; d < p.dimQk; ++d) {
      score += double(scene.query[size_t(start(p.query, s.batch, head, s.rowQ + row) + d)]) *
               scene.key[size_t(start(p.key, s.batch, kvHead, s.rowKv + key) + d)];
    }
    score *= p.scale;
    if (p.softcap > 0) score = p.softcap * std::tanh(score / p.softcap);
    if (program) score = program->result(head, row, key, float(score)).cell.real;
    if (p.hasBias) score += scene.bias[size_t((head * p.queries + row) * p.keys + key)];
    scores.push_back(score);
    seen.push_back(key);
  }
  double total = p.hasSinks ? std::exp(double(scene.sinks[size_t(head)])) : 0;
  for (double score : scores) total += std::exp(score);
  for (size_t n = 0; n < seen.size(); ++n) {
    for (int64_t d = 0; d < p.dimV; ++d) {
      sum[size_t(d)] += (total == 0 ? 0 : std::exp(scores[n]) / total) *
                        scene.value[size_t(start(p.value, s.batch, kvHead, s.rowKv + seen[n]) + d)];
    }
  }
  const int64_t out = start(p.output, s.batch, head, s.rowQ + row);
  for (int64_t d = 0; d < p.dimV; ++d) CHECK_NEAR(scene.output[size_t(out + d)], sum[size_t(d)], 2e-5);
  const float lse = scene.lse[size_t((s.batch * p.headsQ + head) * p.queries + s.rowQ + row)];
  if (total == 0) {
    CHECK_EQ(lse, -kInfinity);
  } else {
    CHECK_NEAR(lse, std::log(total), 2e-5);
  }
}

TEST(forward_whole_calls_equal_the_formula) {
  for (Isa isa : cpuInfo().usable) {
    for (int round = 0; round < 120; ++round) {
      Scene scene = randomScene(isa);
      const CancelFlag cancel;
      const auto plan = cpuBackend().plan(scene.problem, scene.lengthsQ.empty() ? nullptr : scene.lengthsQ.data(),
                                          scene.lengthsKv.empty() ? nullptr : scene.lengthsKv.data());
      cpuBackend().run(*std::get<0>(plan), scene.pointers(), cancel);
      for (size_t b = 0; b < scene.sequences.size(); ++b) {
        for (int64_t head = 0; head < scene.problem.headsQ; ++head) {
          for (int64_t row = 0; row < scene.sequences[b].queries; ++row) checkRow(scene, b, head, row);
        }
      }
      // Nothing is left unwritten, padding included.
      for (float x : scene.output) CHECK(!std::isnan(x));
      for (float x : scene.lse) CHECK(!std::isnan(x));
    }
  }
}

TEST(forward_a_raised_flag_cancels) {
  Scene scene = randomScene(Isa::automatic);
  const auto seesKeys = [](const Problem& p) {
    return p.lengths == Lengths::none && !p.mask && p.queries > 0 && p.keys > 0;
  };
  while (!seesKeys(scene.problem)) scene = randomScene(Isa::automatic);
  CancelFlag cancel;
  cancel.raise();
  const auto plan = cpuBackend().plan(scene.problem, nullptr, nullptr);
  bool cancelled = false;
  try {
    cpuBackend().run(*std::get<0>(plan), scene.pointers(), cancel);
  } catch (const Cancelled&) {
    cancelled = true;
  }
  CHECK(cancelled);
}

// --- chunk tree ----------------------------------------------------------------------------------------------------

constexpr int64_t kDim = 3;

struct Leaf {
  std::vector<float> memory;
  explicit Leaf(int lanes) : memory(size_t((kDim + 4) * lanes)) {}
  BlockState state(int lanes) { return BlockState(memory.data(), kDim, lanes); }
};

Leaf randomLeaf(int lanes) {
  Leaf leaf(lanes);
  for (float& x : leaf.memory) x = normal();
  const SoftmaxState softmax = leaf.state(lanes).softmax(0);
  for (int lane = 0; lane < lanes; ++lane) {
    softmax.reference[lane] = float(integer(-9, 9));
    softmax.sum[lane] = std::abs(normal()) + 0.01f;
  }
  return leaf;
}

/// The tree over leaves [first, first + size) written down as its definition: halves at powers of two.
Leaf byDefinition(const Kernels& kernels, std::vector<Leaf>& leaves, int64_t first, int64_t size, int lanes) {
  if (size == 1) {
    if (size_t(first) < leaves.size()) return leaves[size_t(first)];
    Leaf empty(lanes);
    empty.state(lanes).clear(0);
    return empty;
  }
  Leaf left = byDefinition(kernels, leaves, first, size / 2, lanes);
  Leaf right = byDefinition(kernels, leaves, first + size / 2, size / 2, lanes);
  kernels.merge(left.state(lanes).output(0), left.state(lanes).softmax(0), right.state(lanes).output(0),
                right.state(lanes).softmax(0), lanes, kDim);
  return left;
}

TEST(chunk_tree_equals_its_definition_bit_for_bit) {
  forEachTarget([](const Kernels& kernels) {
    const int lanes = kernels.width;
    for (int64_t count = 1; count <= 33; ++count) {
      std::vector<Leaf> leaves;
      for (int64_t i = 0; i < count; ++i) leaves.push_back(randomLeaf(lanes));
      // Some leaves that nobody sees: empty by definition, left out of the pushes.
      std::vector<bool> pushed(size_t(count), true);
      for (int64_t i = 0; i < count; ++i) {
        if (integer(0, 4) == 0) leaves[size_t(i)].state(lanes).clear(0), pushed[size_t(i)] = false;
      }
      int64_t size = 1;
      while (size < count) size *= 2;
      Leaf expected = byDefinition(kernels, leaves, 0, size, lanes);

      std::vector<Leaf> memory(8, Leaf(lanes));
      BlockState states[ChunkTree::kMaxDepth];
      for (size_t i = 0; i < memory.size(); ++i) states[i] = memory[i].state(lanes);
      ChunkTree tree(kernels.merge, states, &lanes, 1, kDim);
      for (int64_t i = 0; i < count; ++i) {
        if (!pushed[size_t(i)]) continue;
        std::copy(leaves[size_t(i)].memory.begin(), leaves[size_t(i)].memory.end(), tree.next().output(0));
        tree.push(i);
      }
      const BlockState& got = tree.collapse();
      for (int64_t i = 0; i < (kDim + 4) * lanes; ++i) {
        if (got.output(0)[i] != expected.memory[size_t(i)]) FAIL("element " + std::to_string(i));
      }
    }
  });
}

}  // namespace
}  // namespace fused_attention
