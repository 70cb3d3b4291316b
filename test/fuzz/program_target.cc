// Fuzzes encoded programs: the graph's decoder, its binding to the places of a call, the analysis of tiles, the
// bytecode, and runs of it over a call's tiles.
//   two bytes: places and shapes of the call, from a table below
//   list: the numbers of native/program/program.h
//   count in a byte, then so many buffers, the tables
#include "program/program.h"
#include "run_call.h"

using namespace fused_attention;
using namespace fused_attention::fuzz;

namespace {

struct Shape {
  int batch, headsQ, headsKv, queries, keys, dim, align, lengths;
};

/// Few and many queries, no query and no key, more queries than keys, several sequences, tails of every kind.
constexpr Shape kShapes[] = {
    {1, 1, 1, 33, 70, 4, 0, 0}, {1, 4, 2, 1, 150, 8, 0, 0},   {2, 2, 1, 17, 17, 4, 1, 0},   {3, 2, 2, 40, 64, 4, 0, 1},
    {4, 2, 1, 60, 90, 4, 0, 2}, {1, 2, 1, 80, 20, 4, 0, 0},   {1, 1, 1, 3, 0, 4, 0, 0},     {1, 1, 1, 0, 5, 4, 0, 0},
    {1, 8, 1, 2, 65, 4, 1, 0},  {1, 1, 1, 130, 260, 4, 0, 0}, {1, 2, 2, 64, 128, 16, 1, 0}, {2, 1, 1, 5, 700, 4, 0, 1},
};

/// A call of that shape in the form of native/problem_codec.h, with `grids` mask tensors.
struct EncodedCall {
  std::vector<double> numbers;
  std::vector<Input::Content> contents{13};

  EncodedCall(const Shape& s, int grids, int threads) {
    const bool ragged = s.lengths == 2;
    const int rowsQ = s.queries, rowsKv = s.keys, sequences = ragged ? 1 : s.batch;
    numbers = {1,
               0,
               double(threads),
               double(s.batch),
               double(s.headsQ),
               double(s.headsKv),
               double(rowsQ),
               double(rowsKv),
               double(s.dim),
               double(s.dim),
               0.5,
               0,
               double(s.align),
               double(s.lengths),
               1};
    const auto tensor = [&](size_t slot, int heads, int rows) {
      numbers.insert(numbers.end(),
                     {0, 0, ragged ? 0.0 : double(heads * rows * s.dim), double(rows * s.dim), double(s.dim)});
      give(slot, 4 * size_t(sequences * heads * rows * s.dim), {0, 0, 0, 63, 0, 0, 0, 191, 0, 0, 64, 62});
    };
    tensor(0, s.headsQ, rowsQ);
    tensor(1, s.headsKv, rowsKv);
    tensor(2, s.headsKv, rowsKv);
    tensor(3, s.headsQ, rowsQ);
    give(4, 4 * size_t(sequences * s.headsQ * rowsQ), {});
    numbers.push_back(grids);
    for (int grid = 0; grid < grids; ++grid) {
      numbers.insert(numbers.end(), {3, 0, 0, 0, double(rowsKv), 1});
      contents.emplace_back();
      give(size_t(13 + grid), size_t(rowsQ * rowsKv), {1, 0, 1, 1, 0});
    }
    if (s.lengths == 1) {
      giveNumbers(11, std::vector<double>(size_t(s.batch), rowsQ / 2));
      giveNumbers(12, std::vector<double>(size_t(s.batch), rowsKv));
    }
    if (ragged) {
      giveNumbers(11, partition(s.batch, rowsQ));
      giveNumbers(12, partition(s.batch, rowsKv));
    }
  }

 private:
  static std::vector<double> partition(int parts, int rows) {
    std::vector<double> ends{0};
    for (int part = 1; part <= parts; ++part) ends.push_back(rows * part / parts);
    return ends;
  }
  void give(size_t slot, size_t bytes, std::vector<uint8_t> pattern) {
    contents[slot].present = true;
    contents[slot].size = bytes;
    contents[slot].pattern = std::move(pattern);
  }
  void giveNumbers(size_t slot, const std::vector<double>& values) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    give(slot, values.size() * 8, {bytes, bytes + values.size() * 8});
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input(data, size);
  const Shape& shape = kShapes[input.byte() % std::size(kShapes)];
  const int threads = 1 + input.byte() % 2;
  const std::vector<double> numbers = input.list();
  const GuardedBuffers tables(input.contents());
  try {
    const auto program = decodeProgram(numbers.data(), numbers.size(), tables.buffers());
    const bool isMask = program->kind() == ProgramKind::mask;
    const EncodedCall call(shape, std::min(program->graph().grids, 32), threads);
    GuardedBuffers memory(call.contents);
    Programs programs;
    (isMask ? programs.mask : programs.score) = program;
    runCall(call.numbers, memory, programs);
  } catch (const CodedError&) {
    return 0;
  }
  return 0;
}
