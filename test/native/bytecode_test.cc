// Programs run as tile bytecode, on every instruction set that runs here, against the interpreter: bit for bit.
#include "cpu/tile_program.h"
#include "cpu/visible_bits.h"
#include "error.h"
#include "program_interpreter.h"
#include "random_graph.h"

namespace fused_attention {
namespace {

/// Queries on lanes and the keys of a tile, anywhere in a sequence.
struct Bench {
  Place place;
  std::vector<int64_t> row, head;
  Lanes lanes;
  int padded = 0;
  Range keys;
  std::vector<float> scores;  // panel

  explicit Bench(const Kernels& kernels) {
    place.batch = integer(0, 2);
    place.queries = integer(1, 70);
    place.keys = integer(1, 300);
    place.queryStart = integer(0, 1) ? 0 : place.keys - place.queries;
    place.groupSize = integer(1, 3);
    place.headsQ = place.groupSize * integer(1, 2);
    const int count = int(integer(1, kernels.maxLanes()));
    const int64_t first = integer(0, place.queries * place.headsQ - 1);
    for (int64_t t = 0; t < count && first + t < place.queries * place.headsQ; ++t) {
      row.push_back((first + t) % place.queries);
      head.push_back((first + t) / place.queries);
    }
    lanes = {int(row.size()), row.data(), head.data()};
    padded = (lanes.count + kernels.width - 1) / kernels.width * kernels.width;
    keys.begin = integer(0, place.keys - 1);
    keys.end = std::min(place.keys, keys.begin + integer(1, 128));
    scores = normals((keys.end - keys.begin) * padded, 3);
    for (float& x : scores) {
      if (integer(0, 30) == 0) x = integer(0, 1) ? kInfinity : integer(0, 1) ? -kInfinity : kNaN;
    }
  }
  int64_t count() const { return keys.end - keys.begin; }
};

struct Outcome {
  std::vector<float> scores;
  std::vector<uint64_t> words, poison;
};

Outcome runProgram(const Kernels& kernels, const TileProgram& program, const Bench& bench) {
  Outcome out{bench.scores, std::vector<uint64_t>(size_t(bench.count())), std::vector<uint64_t>(size_t(bench.count()))};
  // Exactly as much memory as was asked for, so that a sanitizer sees more.
  std::vector<float> laneVectors(program.laneFloats(bench.padded));
  std::vector<double> scratch((program.scratchBytes(kernels.maxLanes()) + 7) / 8);
  float* scores = out.scores.data();
  std::vector<float*> inputs(program.inputs().size(), scores);
  TileProgram::Tile tile{bench.lanes, bench.padded,  laneVectors.data(), false,
                         bench.keys,  inputs.data(), scratch.data()};
  tile.clamped = program.bind(kernels, bench.lanes, bench.padded, laneVectors.data());
  const bool suspicious = program.run(kernels, tile, out.words.data());
  if (suspicious) {
    std::vector<float> before = bench.scores;
    std::vector<float*> again(program.inputs().size(), before.data());
    tile.inputs = again.data();
    program.poison(kernels, tile, out.poison.data());
    CHECK(std::memcmp(before.data(), bench.scores.data(), before.size() * 4) == 0);
  }
  return out;
}

bool sameNumber(float a, float b) { return sameBits(a, b) || (std::isnan(a) && std::isnan(b)); }

void compare(const Kernels& kernels, const TileProgram& program, const Bench& bench) {
  const Outcome out = runProgram(kernels, program, bench);
  Interpreter oracle(program.program(), bench.place);
  const bool mask = program.program().kind() == ProgramKind::mask;
  for (int64_t key = 0; key < bench.count(); ++key) {
    for (int t = 0; t < bench.lanes.count; ++t) {
      const auto at = size_t(key * bench.padded + t);
      const PairValue expected =
          oracle.result(bench.head[size_t(t)], bench.row[size_t(t)], bench.keys.begin + key, bench.scores[at]);
      CHECK_EQ(bool(out.poison[size_t(key)] >> t & 1), expected.poison);
      if (expected.poison) continue;
      if (mask) {
        CHECK_EQ(out.words[size_t(key)] >> t & 1, uint64_t(expected.cell.integer));
      } else if (const float scaled = expected.cell.real * 1.44269504088896340736f;
                 !sameNumber(out.scores[at], scaled)) {
        FAIL(test::both("score", out.scores[at], scaled));
      }
    }
  }
}

void compareMany(ProgramKind kind, bool readsOutside, int rounds) {
  forEachTarget([&](const Kernels& kernels) {
    int ran = 0;
    for (int round = 0; round < rounds; ++round) {
      const auto program = RandomGraph(kind, readsOutside, 0).make(int(integer(1, 5)));
      const Bench bench(kernels);
      std::shared_ptr<const UnaryValues> unary;
      try {
        unary = std::make_shared<const UnaryValues>(program, bench.place);
      } catch (const CodedError&) {
        continue;  // the analysis could not exclude an overflow
      }
      ++ran;
      const int before = test::failuresHere;
      compare(kernels, TileProgram(unary), bench);
      if (test::failuresHere > before) FAIL("in round " + std::to_string(round));
    }
    CHECK(ran > rounds / 2);
  });
}

TEST(bytecode_random_masks) { compareMany(ProgramKind::mask, false, 400); }
TEST(bytecode_random_scores) { compareMany(ProgramKind::score, false, 400); }
TEST(bytecode_random_masks_that_read_outside) { compareMany(ProgramKind::mask, true, 400); }
TEST(bytecode_random_scores_that_read_outside) { compareMany(ProgramKind::score, true, 400); }

/// One operation on operands of given dependence: 0 query, 1 key, 2 head, 3 query and head, 4 both.
int operandOf(GraphBuilder& g, Type type, int dependence) {
  int x = 0;
  switch (dependence) {
    case 0: x = g.i(); break;
    case 1: x = g.j(); break;
    case 2: x = g.leaf(Op::h); break;
    case 3: x = g.apply(Op::add, {g.i(), g.leaf(Op::h)}); break;
    default: x = g.apply(Op::sub, {g.i(), g.j()});
  }
  x = g.apply(Op::add, {x, g.integer(int32_t(integer(-50, 50)))});
  if (type == Type::integer) return x;
  if (type == Type::boolean) return g.test(Op::eq, {g.apply(Op::bitAnd, {x, g.integer(1)}), g.integer(0)});
  return g.apply(Op::mul, {g.node(Op::toReal, Type::real, {x}), g.real(0.37f)});
}

struct OpCase {
  Op op;
  int arity;
  Type operand;
  Type result;
  double ulps = 0;
};

TEST(bytecode_every_operation_in_every_shape) {
  std::vector<OpCase> cases;
  for (Op op : {Op::add, Op::sub, Op::mul, Op::min, Op::max}) {
    cases.push_back({op, 2, Type::integer, Type::integer});
    cases.push_back({op, 2, Type::real, Type::real});
  }
  for (Op op : {Op::neg, Op::abs, Op::sign}) {
    cases.push_back({op, 1, Type::integer, Type::integer});
    cases.push_back({op, 1, Type::real, Type::real});
  }
  for (Op op : {Op::mod, Op::floorDiv, Op::ceilDiv, Op::truncDiv, Op::bitAnd, Op::bitOr, Op::bitXor, Op::shr}) {
    cases.push_back({op, 2, Type::integer, Type::integer});
  }
  cases.push_back({Op::bitNot, 1, Type::integer, Type::integer});
  for (Op op : {Op::lt, Op::le, Op::eq, Op::ne}) {
    cases.push_back({op, 2, Type::integer, Type::boolean});
    cases.push_back({op, 2, Type::real, Type::boolean});
  }
  for (Op op : {Op::eq, Op::ne, Op::land, Op::lor}) cases.push_back({op, 2, Type::boolean, Type::boolean});
  cases.push_back({Op::lnot, 1, Type::boolean, Type::boolean});
  cases.push_back({Op::toReal, 1, Type::integer, Type::real});
  cases.push_back({Op::div, 2, Type::real, Type::real});
  for (Op op : {Op::floor, Op::ceil, Op::trunc, Op::sqrt}) cases.push_back({op, 1, Type::real, Type::real});
  for (Op op : {Op::exp, Op::log, Op::log2, Op::tanh, Op::sin, Op::cos}) {
    cases.push_back({op, 1, Type::real, Type::real, 3});
  }
  cases.push_back({Op::pow, 2, Type::real, Type::real, 3});
  for (Type type : {Type::boolean, Type::integer, Type::real}) cases.push_back({Op::select, 3, type, type});

  for (const OpCase& each : cases) {
    for (int shapes = 0; shapes < 125; ++shapes) {
      if (each.arity < 3 && shapes >= 25) break;
      if (each.arity < 2 && shapes >= 5) break;
      GraphBuilder g;
      int a[3] = {-1, -1, -1};
      for (int k = 0, rest = shapes; k < each.arity; ++k, rest /= 5) {
        const Type type = each.op == Op::select && k == 0 ? Type::boolean : each.operand;
        a[k] = operandOf(g, type, rest % 5);
      }
      const bool divides =
          each.op == Op::mod || each.op == Op::floorDiv || each.op == Op::ceilDiv || each.op == Op::truncDiv;
      if (divides) a[1] = g.apply(Op::add, {g.apply(Op::abs, {a[1]}), g.integer(1)});
      if (divides && shapes & 1) a[1] = g.apply(Op::neg, {a[1]});
      int x = each.arity == 1   ? g.node(each.op, each.result, {a[0]})
              : each.arity == 2 ? g.node(each.op, each.result, {a[0], a[1]})
                                : g.node(each.op, each.result, {a[0], a[1], a[2]});
      // Whatever it depends on, the result is a panel.
      if (each.result == Type::boolean) x = g.apply(Op::select, {x, g.s(), g.real(7)});
      if (each.result == Type::integer) x = g.node(Op::toReal, Type::real, {x});
      const auto program = g.score(x);
      forEachTarget([&](const Kernels& kernels) {
        const Bench bench(kernels);
        const TileProgram made(std::make_shared<const UnaryValues>(program, bench.place));
        const Outcome out = runProgram(kernels, made, bench);
        Interpreter oracle(*program, bench.place);
        for (int64_t key = 0; key < bench.count(); ++key) {
          for (int t = 0; t < bench.lanes.count; ++t) {
            const auto at = size_t(key * bench.padded + t);
            const float expected =
                oracle.result(bench.head[size_t(t)], bench.row[size_t(t)], bench.keys.begin + key, bench.scores[at])
                    .cell.real *
                1.44269504088896340736f;
            if (sameNumber(out.scores[at], expected)) continue;
            const double off = std::abs(double(out.scores[at]) - double(expected));
            if (each.ulps == 0 || !(off <= each.ulps * 0x1p-23 * std::max(0x1p-126, std::abs(double(expected))))) {
              FAIL("operation " + std::to_string(int(each.op)) + " shapes " + std::to_string(shapes) +
                   test::both(" gives", out.scores[at], expected));
            }
          }
        }
      });
    }
  }
}

TEST(bytecode_several_operations_in_a_sweep) {
  const auto check = [](const std::shared_ptr<const Program>& program, size_t sweeps) {
    if (sweeps > 0) CHECK_EQ(encodeScore(*program, 0).code.size(), sweeps);
    forEachTarget([&](const Kernels& kernels) {
      const Bench bench(kernels);
      compare(kernels, TileProgram(std::make_shared<const UnaryValues>(program, bench.place)), bench);
    });
  };
  const auto distance = [](GraphBuilder& g, int a, int b) {
    return g.node(Op::toReal, Type::real, {g.apply(Op::abs, {g.apply(Op::sub, {a, b})})});
  };
  for (int shapes = 0; shapes < 25; ++shapes) {
    const int first = shapes % 5, second = shapes / 5;
    GraphBuilder d;
    const int between = distance(d, operandOf(d, Type::integer, first), operandOf(d, Type::integer, second));
    check(d.score(d.apply(Op::add, {d.s(), between})), 0);
    for (const bool exchanged : {false, true}) {
      for (const Op op : {Op::add, Op::sub}) {
        for (const bool last : {false, true}) {
          GraphBuilder g;
          const int x = operandOf(g, Type::real, first), y = operandOf(g, Type::real, second);
          const int product = g.apply(Op::mul, {x, y});
          int sum = exchanged ? g.apply(op, {product, g.s()}) : g.apply(op, {g.s(), product});
          if (!last) sum = g.node(Op::abs, Type::real, {sum});
          check(g.score(sum), 0);
        }
      }
    }
  }
  {
    GraphBuilder g;  // ALiBi
    const int far = g.apply(Op::mul, {g.parameter(Type::real, 0.25), distance(g, g.i(), g.j())});
    check(g.score(g.apply(Op::sub, {g.s(), far})), 2);
  }
  {
    GraphBuilder g;  // a product that is used again
    const int square = g.apply(Op::mul, {g.s(), g.s()});
    check(g.score(g.apply(Op::sub, {g.apply(Op::add, {g.s(), square}), square})), 3);
  }
}

TEST(bytecode_softcap_comes_before_the_program) {
  GraphBuilder g;
  const auto program = g.score(g.apply(Op::add, {g.s(), g.real(1)}));
  forEachTarget([&](const Kernels& kernels) {
    const Bench bench(kernels);
    const TileProgram made(std::make_shared<const UnaryValues>(program, bench.place), 4.0);
    const Outcome out = runProgram(kernels, made, bench);
    for (size_t at = 0; at < bench.scores.size(); ++at) {
      const double expected = (4 * std::tanh(double(bench.scores[at]) / 4) + 1) * 1.4426950408889634;
      if (std::isnan(expected)) {
        CHECK(std::isnan(out.scores[at]));
      } else {
        CHECK_NEAR(out.scores[at], expected, 1e-5);
      }
    }
  });
}

TEST(bytecode_values_do_not_depend_on_the_tile) {
  forEachTarget([](const Kernels& kernels) {
    for (int round = 0; round < 100; ++round) {
      const auto program = RandomGraph(ProgramKind::score, false, 0).make(4);
      const Bench bench(kernels);
      std::shared_ptr<const UnaryValues> unary;
      try {
        unary = std::make_shared<const UnaryValues>(program, bench.place);
      } catch (const CodedError&) {
        continue;
      }
      const TileProgram made(unary);
      const Outcome together = runProgram(kernels, made, bench);
      // One pair alone, in a lane and a tile of its own.
      const int64_t key = integer(0, bench.count() - 1);
      const int t = int(integer(0, bench.lanes.count - 1));
      Bench alone = bench;
      alone.row = {bench.row[size_t(t)]};
      alone.head = {bench.head[size_t(t)]};
      alone.lanes = {1, alone.row.data(), alone.head.data()};
      alone.padded = kernels.width;
      alone.keys = {bench.keys.begin + key, bench.keys.begin + key + 1};
      alone.scores.assign(size_t(kernels.width), bench.scores[size_t(key * bench.padded + t)]);
      const Outcome single = runProgram(kernels, made, alone);
      CHECK(sameNumber(single.scores[0], together.scores[size_t(key * bench.padded + t)]));
    }
  });
}

}  // namespace
}  // namespace fused_attention
