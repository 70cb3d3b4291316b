#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "error.h"
#include "problem_codec.h"
#include "test.h"

using namespace fused_attention;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A call's numbers, written down field by field.
struct Numbers {
  std::vector<double> head = {1, 0, 2, 2, 4, 2, 5, 7, 16, 8, 0.25, 0, 0, 0, 0};
  std::array<std::array<double, 5>, 4> tensors = {{{0, 0, 4 * 5 * 16, 5 * 16, 16},
                                                   {0, 0, 2 * 7 * 16, 7 * 16, 16},
                                                   {0, 0, 2 * 7 * 8, 7 * 8, 8},
                                                   {0, 0, 4 * 5 * 8, 5 * 8, 8}}};
  std::optional<std::array<double, 6>> bias;
  std::vector<std::array<double, 6>> masks;

  std::vector<double> flat() const {
    std::vector<double> all = head;
    for (const auto& tensor : tensors) all.insert(all.end(), tensor.begin(), tensor.end());
    if (bias) all.insert(all.end(), bias->begin(), bias->end());
    all.push_back(double(masks.size()));
    for (const auto& mask : masks) all.insert(all.end(), mask.begin(), mask.end());
    return all;
  }
};
enum Head {
  version,
  isa,
  threads,
  batch,
  headsQ,
  headsKv,
  queries,
  keys,
  dimQk,
  dimV,
  scale,
  softcap,
  align,
  lengths,
  flags
};

/// Buffers of the default call's sizes, apart from each other.
struct Memory {
  std::vector<double> backing = std::vector<double>(4096);
  std::vector<Buffer> buffers = std::vector<Buffer>(13);

  Memory() {
    give(0, 0, 640 * 4);
    give(1, 4096, 448 * 4);
    give(2, 8192, 224 * 4);
    give(3, 12288, 320 * 4);
  }
  void give(int slot, size_t offset, size_t bytes) {
    if (size_t(slot) >= buffers.size()) buffers.resize(size_t(slot) + 1);
    buffers[size_t(slot)] = {reinterpret_cast<char*>(backing.data()) + offset, bytes};
  }
};

Call decode(const Numbers& numbers, const std::vector<Buffer>& buffers) {
  const std::vector<double> flat = numbers.flat();
  return decodeCall(flat.data(), flat.size(), buffers);
}

std::string codeOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const CodedError& error) {
    return error.code + " " + error.argument;
  }
  return "none";
}

std::string refusal(const Numbers& numbers, const std::vector<Buffer>& buffers) {
  return codeOf([&] { decode(numbers, buffers); });
}

}  // namespace

TEST(codec_decodes_a_plain_call) {
  const Memory memory;
  const Call call = decode({}, memory.buffers);
  const Problem& p = call.problem;
  CHECK(p.batch == 2 && p.headsQ == 4 && p.headsKv == 2 && p.queries == 5 && p.keys == 7);
  CHECK(p.dimQk == 16 && p.dimV == 8 && p.groupSize() == 2 && p.threads == 2 && p.scale == 0.25);
  CHECK(!p.mask && !p.score && !p.lse && !p.hasBias && p.masks.empty());
  CHECK(p.value.head == 56 && p.output.row == 8);
  CHECK(call.pointers.query == memory.buffers[0].data && call.pointers.output == memory.buffers[3].data);
  CHECK(call.pointers.lse == nullptr);
  CHECK_EQ(call.ranges.size(), size_t{4});
  for (const MemoryRange& range : call.ranges) {
    const Buffer& buffer = memory.buffers[size_t(range.slot)];
    CHECK(range.begin == buffer.data && range.bytes() == buffer.bytes && range.written == (range.slot == 3));
  }
}

TEST(codec_every_extent_is_tight) {
  // One byte less in any buffer is refused by name.
  Numbers numbers;
  numbers.head[flags] = 1 + 2 + 4 + 16 + 32;
  numbers.bias = {1, 0, 0, 35, 7, 1};
  numbers.masks = {{3, 0, 7, 0, 0, 1}};
  numbers.head[lengths] = 1;
  Memory memory;
  const size_t sizes[] = {2560, 1792, 896, 1280, 160, 160, 160, 0, 0, 16, 280, 16, 16, 14};
  size_t offset = 0;
  for (int slot = 0; slot < 14; ++slot) {
    memory.give(slot, offset, sizes[slot]);
    if (sizes[slot] == 0) memory.buffers[size_t(slot)] = {};
    offset += (sizes[slot] + 15) / 16 * 16;
  }
  CHECK_EQ(decode(numbers, memory.buffers).ranges.size(), size_t{12});
  for (int slot = 0; slot < 14; ++slot) {
    if (sizes[slot] == 0) continue;
    std::vector<Buffer> buffers = memory.buffers;
    buffers[size_t(slot)].bytes -= 1;
    CHECK_EQ(refusal(numbers, buffers), "ERR_SHAPE_MISMATCH " + bufferName(slot));
    buffers[size_t(slot)] = {};
    const bool optional = slot == 11 || slot == 12;  // lengths of a padded batch
    CHECK_EQ(refusal(numbers, buffers), optional ? "none" : "ERR_SHAPE_MISMATCH " + bufferName(slot));
  }
}

TEST(codec_strides) {
  const Memory memory;
  Numbers numbers;
  numbers.tensors[1] = {0, 32, 0, 0, 0};  // one key row for all
  CHECK_EQ(refusal(numbers, memory.buffers), "none");
  numbers.tensors[1] = {0, 448 - 16, -224, -112, -16};  // backwards
  const Call call = decode(numbers, memory.buffers);
  CHECK(call.ranges[1].begin == memory.buffers[1].data && call.ranges[1].bytes() == memory.buffers[1].bytes);
  numbers.tensors[1] = {0, 448 - 17, -224, -112, -16};
  CHECK_EQ(refusal(numbers, memory.buffers), "ERR_OUT_OF_RANGE buffers[1]");
  for (const double stride : {9007199254740992.0, -9007199254740992.0, 1e300, 0.5, std::nan(""), kInfinity}) {
    for (int field = 1; field < 5; ++field) {
      Numbers bad;
      bad.tensors[2][size_t(field)] = stride;
      const std::string code = refusal(bad, memory.buffers);
      CHECK(code == "ERR_OUT_OF_RANGE buffers[2]" || code == "ERR_SHAPE_MISMATCH buffers[2]");
    }
  }
}

TEST(codec_output_needs_a_place_for_every_element) {
  const Memory memory;
  Numbers numbers;
  numbers.tensors[3] = {0, 0, 160, 40, 0};
  CHECK_EQ(refusal(numbers, memory.buffers), "ERR_ALIASING buffers[3]");
  numbers.tensors[3] = {0, 0, 160, 40, 7};
  CHECK_EQ(refusal(numbers, memory.buffers), "ERR_ALIASING buffers[3]");
  numbers.tensors[3] = {0, 0, 160, 8, 32};  // [B, S, H, D]
  CHECK_EQ(refusal(numbers, memory.buffers), "none");
}

TEST(codec_refuses_memory_used_twice) {
  Memory memory;
  Numbers numbers;
  numbers.head[flags] = 1;
  memory.give(4, 16384, 160);
  CHECK_EQ(refusal(numbers, memory.buffers), "none");
  memory.give(2, 4096, 896);  // value inside key: both are read
  CHECK_EQ(refusal(numbers, memory.buffers), "none");
  memory.give(3, 2556, 1280);  // output over the last float of query
  CHECK_EQ(refusal(numbers, memory.buffers), "ERR_ALIASING buffers[3]");
  memory.give(3, 12288, 1280);
  memory.give(4, 12288 + 1276, 160);  // lse over the last float of output
  CHECK_EQ(refusal(numbers, memory.buffers), "ERR_ALIASING buffers[3]");
  memory.give(4, 12288 + 1280, 160);
  CHECK_EQ(refusal(numbers, memory.buffers), "none");
}

TEST(codec_empty_calls_need_no_memory) {
  const std::vector<Buffer> none(13);
  Numbers numbers;
  numbers.head[queries] = 0;
  CHECK_EQ(refusal(numbers, none), "ERR_SHAPE_MISMATCH buffers[1]");  // keys are there, though nobody asks
  numbers.head[keys] = 0;
  numbers.head[batch] = 2147483647;
  CHECK_EQ(decode(numbers, none).problem.batch, 0);
  numbers.head[batch] = 0;
  numbers.head[queries] = 2147483647;
  CHECK_EQ(decode(numbers, none).ranges.size(), size_t{0});
}

TEST(codec_ragged) {
  Memory memory;
  Numbers numbers;
  numbers.head[lengths] = 2;
  numbers.head[batch] = 3;
  numbers.head[flags] = 1;
  for (auto& tensor : numbers.tensors) tensor[2] = 0;
  memory.give(4, 16384, 80);
  memory.give(11, 16640, 32);
  memory.give(12, 16768, 32);
  const Call call = decode(numbers, memory.buffers);
  CHECK(call.problem.batch == 3 && call.pointers.lengthsQ == memory.buffers[11].data);
  CHECK_EQ(call.ranges[0].bytes(), size_t{4 * 5 * 16 * 4});  // over the batch once
  std::vector<Buffer> shorter = memory.buffers;
  shorter[12].bytes = 24;
  CHECK_EQ(refusal(numbers, shorter), "ERR_SHAPE_MISMATCH buffers[12]");
  shorter[12] = {};
  CHECK_EQ(refusal(numbers, shorter), "ERR_SHAPE_MISMATCH buffers[12]");
  Numbers stride = numbers;
  stride.tensors[0][2] = 320;
  CHECK_EQ(refusal(stride, memory.buffers), "ERR_INVALID_ARG_VALUE call");
  numbers.masks = {{3, 0, 0, 0, 0, 1}};
  memory.give(13, 17000, 64);
  CHECK_EQ(refusal(numbers, memory.buffers), "ERR_UNSUPPORTED options.mask");
}

TEST(codec_numbers_out_of_range) {
  const Memory memory;
  const auto with = [&](int field, double value) {
    Numbers numbers;
    numbers.head[size_t(field)] = value;
    return refusal(numbers, memory.buffers);
  };
  CHECK_EQ(with(version, 2), "ERR_OUT_OF_RANGE call.version");
  CHECK_EQ(with(isa, 6), "ERR_OUT_OF_RANGE FUSED_ATTENTION_ISA");
  CHECK_EQ(with(threads, 0), "ERR_OUT_OF_RANGE options.threads");
  CHECK_EQ(with(batch, -1), "ERR_OUT_OF_RANGE query");
  CHECK_EQ(with(headsKv, 3), "ERR_SHAPE_MISMATCH query");
  CHECK_EQ(with(headsKv, 0), "ERR_OUT_OF_RANGE key");
  CHECK_EQ(with(dimQk, 0), "ERR_OUT_OF_RANGE query");
  CHECK_EQ(with(dimV, 1025), "ERR_OUT_OF_RANGE value");
  CHECK_EQ(with(scale, std::nan("")), "ERR_OUT_OF_RANGE options.scale");
  CHECK_EQ(with(softcap, -1), "ERR_OUT_OF_RANGE options.softcap");
  CHECK_EQ(with(flags, 1024), "ERR_OUT_OF_RANGE call.flags");
  CHECK_EQ(with(flags, 64), "ERR_INVALID_ARG_VALUE call");
  CHECK_EQ(with(flags, 1), "ERR_SHAPE_MISMATCH buffers[4]");
  CHECK_EQ(with(flags, 8 + 16), "ERR_UNSUPPORTED options.sinks");

  std::vector<double> flat = Numbers().flat();
  flat.push_back(0);
  CHECK_EQ(codeOf([&] { decodeCall(flat.data(), flat.size(), memory.buffers); }), "ERR_INVALID_ARG_VALUE call");
  for (size_t count = 0; count + 1 < flat.size(); ++count) {
    CHECK_EQ(codeOf([&] { decodeCall(flat.data(), count, memory.buffers); }), "ERR_INVALID_ARG_VALUE call");
  }
  CHECK_EQ(refusal({}, {}), "ERR_SHAPE_MISMATCH buffers[0]");  // buffers past the end are null
  std::vector<Buffer> many(40);
  CHECK_EQ(refusal({}, many), "ERR_INVALID_ARG_VALUE call.buffers");
}

TEST(codec_normalizer) {
  const Memory memory;
  const auto with = [&](int64_t bits, std::vector<double> normalizer) {
    Numbers numbers;
    numbers.head[flags] = double(128 + bits);
    std::vector<double> flat = numbers.flat();
    flat.insert(flat.end(), normalizer.begin(), normalizer.end());
    return codeOf([&] { decodeCall(flat.data(), flat.size(), memory.buffers); });
  };
  const double nan = std::nan(""), infinity = INFINITY;
  CHECK_EQ(with(0, {1, 0, -3.5}), "none");
  CHECK_EQ(with(0, {2, 1, 0}), "none");
  CHECK_EQ(with(0, {3, 0, 0.25}), "none");
  CHECK_EQ(with(0, {}), "ERR_INVALID_ARG_VALUE call");
  CHECK_EQ(with(0, {1, 0}), "ERR_INVALID_ARG_VALUE call");
  CHECK_EQ(with(0, {1, 0, 0, 0}), "ERR_INVALID_ARG_VALUE call");
  for (const double kind : {0.0, 4.0, -1.0, 1.5, nan}) {
    CHECK_EQ(with(0, {kind, 0, 1}), "ERR_OUT_OF_RANGE options.normalizer");
  }
  for (const double byKeys : {2.0, -1.0, nan}) {
    CHECK_EQ(with(0, {1, byKeys, 1}), "ERR_OUT_OF_RANGE options.normalizer");
  }
  for (const double divisor : {0.0, -1.0, nan, infinity}) {
    CHECK_EQ(with(0, {2, 0, divisor}), "ERR_OUT_OF_RANGE options.normalizer");
  }
  CHECK_EQ(with(0, {1, 0, infinity}), "ERR_OUT_OF_RANGE options.normalizer");
  CHECK_EQ(with(1, {2, 0, 1}), "ERR_UNSUPPORTED options.lse");
  CHECK_EQ(with(2, {2, 0, 1}), "ERR_UNSUPPORTED options.entropy");
  CHECK_EQ(with(4, {2, 0, 1}), "ERR_UNSUPPORTED options.rowMax");
  CHECK_EQ(with(8, {2, 0, 1}), "ERR_UNSUPPORTED options.partial");
  CHECK_EQ(with(16, {2, 0, 1}), "ERR_UNSUPPORTED options.sinks");
}

TEST(codec_statistics) {
  Memory memory;
  std::vector<float> room(1 << 16);
  const auto with = [&](int64_t bits, std::vector<double> numbers, int buffers, size_t bytes) {
    Numbers head;
    head.head[flags] = double(256 + bits);
    std::vector<double> flat = head.flat();
    flat.insert(flat.end(), numbers.begin(), numbers.end());
    std::vector<Buffer> given = memory.buffers;
    given.resize(13);
    for (int n = 0; n < buffers; ++n) given.push_back({room.data() + n * 1024, bytes});
    return codeOf([&] { decodeCall(flat.data(), flat.size(), given); });
  };
  const double most = Numbers().head[keys];
  CHECK_EQ(with(0, {3, 0, 0, 0, 0, 0, 0}, 2, 4096), "none");
  CHECK_EQ(with(0, {0, 2, 3, 3, 1, 0, 0}, 3, 4096), "none");
  CHECK_EQ(with(0, {0, 0, 0, 0, 0, 2, 1, 0, 1, 1, 2, 0}, 2, 4096), "none");
  CHECK_EQ(with(0, {3, 0, 0, 0, 0, 0, 0}, 2, 8), "ERR_SHAPE_MISMATCH buffers[13]");
  CHECK_EQ(with(0, {3, 0, 0, 0, 0, 0, 0}, 1, 4096), "ERR_SHAPE_MISMATCH buffers[14]");
  CHECK_EQ(with(0, {}, 0, 0), "ERR_INVALID_ARG_VALUE call");
  CHECK_EQ(with(0, {0, 0, 0, 0, 0, 1, 0, 0}, 1, 4096), "ERR_INVALID_ARG_VALUE call");
  for (const std::vector<double>& numbers : {std::vector<double>{17, 0, 0, 0, 0, 0, 0},
                                             {-1, 0, 0, 0, 0, 0, 0},
                                             {0, 0, 2, 1, 0, 0, 0},
                                             {0, 2, 0, 2, 0, 0, 0},
                                             {0, 2, 2, 4, 0, 0, 0},
                                             {0, 0, 0, 0, 2, 0, 0},
                                             {0, 0, 0, 0, 0, 1, 0, 0, most + 1},
                                             {0, 0, 0, 0, 0, 1, 0, 2, 1},
                                             {0, 0, 0, 0, 0, 2, 0, 0, 2, 1, 3},
                                             {0, 0, 0, 0, 0, 0, 1, most},
                                             {0, 0, 0, 0, 0, 0, 2, 1, 1}}) {
    CHECK_EQ(with(0, numbers, 7, 4096), "ERR_OUT_OF_RANGE options.statistics");
  }
  CHECK_EQ(with(8, {3, 0, 0, 0, 0, 0, 0}, 2, 4096), "ERR_UNSUPPORTED options.statistics");
}

TEST(codec_alignment) {
  Memory memory;
  memory.give(1, 4098, 1792);
  CHECK_EQ(refusal({}, memory.buffers), "ERR_INVALID_ARG_VALUE buffers[1]");
  Numbers half;
  half.tensors[1][0] = 1;
  CHECK_EQ(refusal(half, memory.buffers), "none");
}

TEST(codec_explain_needs_only_lengths) {
  Numbers numbers;
  numbers.head[lengths] = 1;
  std::vector<double> flat = numbers.flat();
  Memory memory;
  std::vector<Buffer> buffers(13);
  CHECK(decodeForExplain(flat.data(), flat.size(), buffers).pointers.lengthsKv == nullptr);
  memory.give(12, 0, 16);
  buffers[12] = memory.buffers[12];
  CHECK(decodeForExplain(flat.data(), flat.size(), buffers).pointers.lengthsKv == memory.backing.data());
  buffers[12].bytes = 8;
  CHECK_EQ(codeOf([&] { decodeForExplain(flat.data(), flat.size(), buffers); }), "ERR_SHAPE_MISMATCH buffers[12]");
}

TEST(codec_merge) {
  std::vector<float> memory(4096);
  const auto at = [&](size_t offset, size_t floats) { return Buffer{memory.data() + offset, floats * 4}; };
  std::vector<double> numbers = {1, 2, 3, 5, 8, 1, 0, 2, 0, 1};
  std::vector<Buffer> buffers = {at(0, 240),    at(256, 30),  at(300, 3), at(512, 240), at(800, 30), at(840, 30),
                                 at(1024, 240), at(1300, 30), {}};
  const auto merge = [&] { return decodeMerge(numbers.data(), numbers.size(), buffers); };
  const MergeCall call = merge();
  CHECK(call.batch == 2 && call.headsQ == 3 && call.queries == 5 && call.dimV == 8 && call.parts.size() == 2);
  CHECK(call.parts[0].kind == MergePart::Kind::softmax && call.parts[0].l == memory.data() + 840);
  CHECK(call.parts[1].kind == MergePart::Kind::finished && call.parts[1].l == nullptr);
  CHECK(call.sinks == memory.data() + 300);
  for (size_t slot = 0; slot + 1 < buffers.size(); ++slot) {
    buffers[slot].bytes -= 4;
    CHECK_EQ(codeOf(merge), "ERR_SHAPE_MISMATCH " + bufferName(int(slot)));
    buffers[slot].bytes += 4;
  }
  numbers[6] = 2;
  buffers[0].bytes = 240 * 2;
  CHECK(merge().dtype == Dtype::bfloat16 && merge().sum == nullptr);
  numbers[6] = 3;
  CHECK_EQ(codeOf(merge), "ERR_OUT_OF_RANGE options.outputDtype");
  numbers[5] = 0;
  buffers[0] = at(0, 240);
  buffers[2] = at(300, 30);
  CHECK(merge().sum == memory.data() + 300 && merge().sinks == nullptr);
  buffers[2] = at(300, 29);
  CHECK_EQ(codeOf(merge), "ERR_SHAPE_MISMATCH buffers[2]");
  numbers[5] = 1, numbers[6] = 0;
  buffers[2] = at(300, 3);
  buffers[0] = at(512 + 239, 240);
  CHECK_EQ(codeOf(merge), "ERR_ALIASING buffers[0]");
  buffers[0] = at(0, 240);
  numbers[1] = 2147483647, numbers[2] = 2147483647, numbers[3] = 2147483647;
  CHECK_EQ(codeOf(merge), "ERR_OUT_OF_RANGE parts[0]");
  numbers[3] = 0;
  buffers.assign(9, {});
  numbers[5] = 0;
  CHECK_EQ(merge().batch, 0);
}

TEST(codec_fuzz) {
  // Whatever passes touches only its buffers: every corner of every block is computed again in long double.
  std::mt19937_64 random(7);
  const double wild[] = {std::nan(""),       kInfinity,          -kInfinity,   -1,           0.5,  1e300, -1e300,
                         9007199254740991.0, 9007199254740993.0, 4294967296.0, 2147483647.0, -0.0, 1e15,  -1e15};
  int passed = 0, refused = 0;
  for (int round = 0; round < 60'000; ++round) {
    Numbers numbers;
    if (random() % 2) numbers.head[flags] = double(random() % 64);
    if (int(numbers.head[flags]) & 32)
      numbers.bias = {double(random() % 3), double(random() % 4), 35, 35 * double(random() % 2), 7, 1};
    for (uint64_t masks = random() % 3; masks > 0; --masks)
      numbers.masks.push_back({3, double(random() % 9), 0, 0, 7, 1});
    std::vector<double> flat = numbers.flat();
    for (uint64_t changes = random() % 4; changes > 0; --changes) {
      double& number = flat[random() % flat.size()];
      switch (random() % 4) {
        case 0: number = wild[random() % std::size(wild)]; break;
        case 1: number = double(random() % 20) - 4; break;
        case 2: number = -number; break;
        default: number = number + double(random() % 3) - 1;
      }
    }
    if (random() % 50 == 0) flat.resize(random() % (flat.size() + 4));
    std::vector<Buffer> buffers(random() % 20 == 0 ? random() % 20 : 13 + numbers.masks.size());
    // Made-up addresses, never read: slots lie 1 MiB apart, now and then two at one place.
    for (size_t slot = 0; slot < buffers.size(); ++slot) {
      if (random() % 12 == 0) continue;
      const uintptr_t place = (random() % 40 == 0 ? random() % (slot + 1) : slot) + 1;
      buffers[slot] = {reinterpret_cast<void*>(place << 20), size_t(random() % 3 == 0 ? random() % 3000 : 8192)};
    }
    Call call;
    try {
      call = decodeCall(flat.data(), flat.size(), buffers);
    } catch (const CodedError& error) {
      CHECK(error.code.rfind("ERR_", 0) == 0 && !error.argument.empty() && !error.expected.empty());
      ++refused;
      continue;
    }
    ++passed;
    const Problem& p = call.problem;
    const auto within = [&](const void* base, size_t slot, long double offset, long double b, long double h,
                            long double r, long double c, long double heads, long double rows, long double width,
                            int64_t bytes) {
      const long double batches = p.lengths == Lengths::cumulative ? 1 : p.batch;
      if (batches * heads * rows * width == 0) return;
      CHECK(base == buffers[slot].data && base != nullptr);
      for (int corner = 0; corner < 16; ++corner) {
        const long double element = offset + (corner & 1 ? b * (batches - 1) : 0) + (corner & 2 ? h * (heads - 1) : 0) +
                                    (corner & 4 ? r * (rows - 1) : 0) + (corner & 8 ? c * (width - 1) : 0);
        CHECK(element >= 0 && (element + 1) * bytes <= static_cast<long double>(buffers[slot].bytes));
      }
    };
    const auto tensor = [&](const void* base, size_t slot, const Layout& l, int64_t heads, int64_t rows,
                            int64_t width) {
      within(base, slot, l.offset, l.batch, l.head, l.row, 1, heads, rows, width, sizeOf(l.dtype));
    };
    tensor(call.pointers.query, 0, p.query, p.headsQ, p.queries, p.dimQk);
    if (p.batch > 0) tensor(call.pointers.key, 1, p.key, p.headsKv, p.keys, p.dimQk);
    if (p.batch > 0) tensor(call.pointers.value, 2, p.value, p.headsKv, p.keys, p.dimV);
    tensor(call.pointers.output, 3, p.output, p.headsQ, p.queries, p.dimV);
    const float* rows[] = {call.pointers.lse, call.pointers.entropy, call.pointers.rowMax, call.pointers.partialMax,
                           call.pointers.partialSum};
    const bool wanted[] = {p.lse, p.entropy, p.rowMax, p.partial, p.partial};
    for (size_t i = 0; i < 5; ++i) {
      if (!wanted[i]) CHECK(rows[i] == nullptr);
      if (wanted[i]) within(rows[i], 4 + i, 0, p.headsQ * p.queries, p.queries, 1, 1, p.headsQ, p.queries, 1, 4);
    }
    if (p.hasBias) {
      const GridLayout& g = p.bias;
      within(call.pointers.bias, 10, g.offset, g.batch, g.head, g.row, g.column, p.headsQ, p.queries, p.keys,
             sizeOf(g.dtype));
    }
    for (size_t i = 0; i < p.masks.size(); ++i) {
      const GridLayout& g = p.masks[i];
      within(call.pointers.masks[i], 13 + i, g.offset, g.batch, g.head, g.row, g.column, p.headsQ, p.queries, p.keys,
             1);
    }
    for (const MemoryRange& a : call.ranges) {
      for (const MemoryRange& b : call.ranges) {
        CHECK(a.slot == b.slot || !(a.written || b.written) || a.end <= b.begin || b.end <= a.begin);
      }
    }
  }
  CHECK(passed > 5000 && refused > 5000);
}
