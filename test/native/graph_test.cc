// Encoded programs: what decodes, and that nothing wrong does.
#include "error.h"
#include "graph_builder.h"
#include "number_reader.h"
#include "test.h"

namespace fused_attention {
namespace {

TEST(graphDependences) {
  GraphBuilder g;
  const int i = g.i(), j = g.j();
  const int difference = g.apply(Op::sub, {i, j});
  const int ids = g.table(std::vector<int32_t>{1, 2, 5}, {3});
  const int sameId = g.eq(g.read(ids, {i}), g.read(ids, {j}));
  const int near = g.le(difference, g.parameter(Type::integer, 7));
  const int byHead = g.eq(g.leaf(Op::h), g.integer(0));
  const auto program = g.mask(g.land(g.land(sameId, near), byHead));
  CHECK(program->depends(difference) == (onQuery | onKey));
  CHECK(program->depends(byHead) == onHead);
  CHECK(program->depends(program->result()) == (onQuery | onKey | onHead));
  CHECK(program->number(0).integer == 7);
  CHECK(program->table(ids).least.integer == 1 && program->table(ids).most.integer == 5);
  GraphBuilder other;
  CHECK(other.mask(other.le(other.j(), other.i()))->id() != program->id());
}

bool refused(const std::vector<double>& numbers) {
  try {
    NumberReader reader(numbers.data(), numbers.size());
    readGraph(reader);
    reader.finish();
    return false;
  } catch (const CodedError&) {
    return true;
  }
}

const std::vector<double> causalNumbers{1, 0, 3,  2,  0,  0, 0,  9, 1, -1, -1, -1, 0,
                                        8, 1, -1, -1, -1, 0, 49, 0, 0, 1,  -1, 0};

TEST(graphRefusals) {
  CHECK(!refused(causalNumbers));
  for (size_t length = 0; length < causalNumbers.size(); ++length) {
    CHECK(refused(std::vector<double>(causalNumbers.begin(), causalNumbers.begin() + long(length))));
  }
  // Any single number replaced: decoded or refused, never a crash; and these must be refused.
  for (size_t place = 0; place < causalNumbers.size(); ++place) {
    for (const double value : {-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 50.0, 1e9, 1e300, std::nan("")}) {
      std::vector<double> numbers = causalNumbers;
      numbers[place] = value;
      refused(numbers);
    }
  }
  const auto with = [](size_t place, double value) {
    std::vector<double> numbers = causalNumbers;
    numbers[place] = value;
    return numbers;
  };
  CHECK(refused(with(0, 2)));     // version
  CHECK(refused(with(1, 1)));     // a score with a boolean result
  CHECK(refused(with(3, 0)));     // an integer for a result
  CHECK(refused(with(21, 2)));    // an operand that comes later
  CHECK(refused(with(20, 0.5)));  // no index
  CHECK(refused(with(23, 0)));    // one operand too many
  CHECK(refused(with(19, 200)));  // no such operation
  CHECK(refused(with(20, -1)));   // one too few
  CHECK(refused(with(13, 17)));   // the score in a mask
}

}  // namespace
}  // namespace fused_attention
