#include "call.h"

#include <cmath>
#include <cstring>
#include <random>
#include <utility>

#include "cpu/half.h"
#include "error.h"
#include "program/program.h"

namespace fused_attention::bench {

namespace {

std::shared_ptr<const Program> causal() {
  const auto op = [](Op which) { return double(which); };
  const std::vector<double> numbers{1,          0, 3,  2,  0,  0, 0,  //
                                    op(Op::j),  1, -1, -1, -1, 0,     //
                                    op(Op::i),  1, -1, -1, -1, 0,     //
                                    op(Op::le), 0, 0,  1,  -1, 0};
  return decodeProgram(numbers.data(), numbers.size(), {});
}

Problem problemOf(const Case& c) {
  const auto layout = [&](int64_t heads, int64_t rows) {
    return Layout{c.dtype, 0, heads * rows * c.dim, rows * c.dim, c.dim};
  };
  Problem p;
  p.device = DeviceKind::cuda;
  p.batch = c.batch;
  p.headsQ = c.headsQ;
  p.headsKv = c.headsKv;
  p.queries = c.queries;
  p.keys = c.keys;
  p.dimQk = p.dimV = c.dim;
  p.scale = 1 / std::sqrt(double(c.dim));
  p.query = p.output = layout(c.headsQ, c.queries);
  p.key = p.value = layout(c.headsKv, c.keys);
  p.lse = true;
  if (c.causal) p.mask = causal();
  return p;
}

void copy(const Buffer& from, const Buffer& to) { transfer({from, to, {}}, CancelFlag()); }

}  // namespace

void HostTensor::draw(uint64_t seed) {
  // A large tensor takes its values from a list of normal ones: drawing each would take longer than what is timed.
  constexpr size_t kDrawn = 1 << 16;
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const size_t size = size_t(sizeOf(dtype_));
  std::vector<unsigned char> list(kDrawn * size);
  for (size_t n = 0; n < kDrawn; ++n) {
    const float x = normal(random);
    const uint16_t half = dtype_ == Dtype::float16 ? floatToFloat16(x) : floatToBfloat16(x);
    std::memcpy(&list[n * size], dtype_ == Dtype::float32 ? static_cast<const void*>(&x) : &half, size);
  }
  for (size_t at = 0; at < bytes_.size(); at += size) {
    std::memcpy(&bytes_[at], &list[random() % kDrawn * size], size);
  }
}

double HostTensor::at(int64_t element) const {
  const unsigned char* const from = &bytes_[size_t(element * sizeOf(dtype_))];
  if (dtype_ == Dtype::float32) {
    float x;
    std::memcpy(&x, from, sizeof x);
    return x;
  }
  uint16_t half;
  std::memcpy(&half, from, sizeof half);
  return dtype_ == Dtype::float16 ? float16ToFloat(half) : bfloat16ToFloat(half);
}

Call::Call(const Case& c)
    : query(c.dtype, c.batch * c.headsQ * c.queries * c.dim),
      key(c.dtype, c.batch * c.headsKv * c.keys * c.dim),
      value(c.dtype, c.batch * c.headsKv * c.keys * c.dim),
      output(c.dtype, c.batch * c.headsQ * c.queries * c.dim),
      lse(Dtype::float32, c.batch * c.headsQ * c.queries),
      case_(c),
      problem_(problemOf(c)) {
  auto planned = cudaBackend().plan(problem_, nullptr, nullptr);
  if (const Refusal* refusal = std::get_if<Refusal>(&planned)) {
    throw CodedError(refusal->code, refusal->argument, "a call that the kernels take", refusal->reason);
  }
  plan_ = std::get<std::shared_ptr<const Plan>>(std::move(planned));
  uint64_t seed = 1;
  for (HostTensor* const tensor : {&query, &key, &value}) tensor->draw(seed++);
  HostTensor* const all[] = {&query, &key, &value, &output, &lse};
  for (size_t n = 0; n < std::size(all); ++n) {
    onDevice_[n] = allocateOn(problem_.ordinal, all[n]->buffer().bytes);
    if (n < 3) copy(all[n]->buffer(), onDevice_[n]->buffer());
  }
  pointers_.onDevice = true;
  pointers_.query = onDevice_[0]->buffer().data;
  pointers_.key = onDevice_[1]->buffer().data;
  pointers_.value = onDevice_[2]->buffer().data;
  pointers_.output = onDevice_[3]->buffer().data;
  pointers_.lse = static_cast<float*>(onDevice_[4]->buffer().data);
}

void Call::run() const { cudaBackend().run(*plan_, pointers_, CancelFlag()); }

void Call::fetch() {
  copy(onDevice_[3]->buffer(), output.buffer());
  copy(onDevice_[4]->buffer(), lse.buffer());
}

}  // namespace fused_attention::bench
