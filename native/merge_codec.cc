#include <limits>

#include "error.h"
#include "extents.h"
#include "number_reader.h"
#include "problem_codec.h"

namespace fused_attention {

namespace {

constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostParts = 1 << 20;
constexpr int kFirstPart = 3, kBuffersOfPart = 3;
constexpr int64_t kPartialResult = 3;  // in the place of the output's dtype

std::string partName(int64_t part) { return "parts[" + std::to_string(part) + "]"; }

}  // namespace

MergeCall decodeMerge(const double* data, size_t count, const std::vector<Buffer>& buffers) {
  NumberReader numbers(data, count);
  MergeCall call;
  numbers.integer("call.version", kCodecVersion, kCodecVersion);
  call.batch = numbers.integer(partName(0), 0, kMostRows);
  call.headsQ = numbers.integer(partName(0), 1, kMostRows);
  call.queries = numbers.integer(partName(0), 0, kMostRows);
  call.dimV = numbers.integer(partName(0), 1, 1024);
  const bool withSinks = numbers.integer("options.sinks", 0, 1) == 1;
  const int64_t result = numbers.integer("options.outputDtype", 0, withSinks ? kPartialResult - 1 : kPartialResult);
  const bool partial = result == kPartialResult;
  if (!partial) call.dtype = static_cast<Dtype>(result);
  const int64_t parts = numbers.integer("parts", 1, kMostParts);
  for (int64_t i = 0; i < parts; ++i) {
    call.parts.emplace_back().kind = static_cast<MergePart::Kind>(numbers.integer(partName(i), 0, 2));
  }
  numbers.finish();
  const bool sums = call.parts[0].kind == MergePart::Kind::sum;
  for (int64_t i = 0; i < parts; ++i) {
    if ((call.parts[size_t(i)].kind == MergePart::Kind::sum) == sums) continue;
    throw CodedError("ERR_INVALID_ARG_VALUE", partName(i) + ".kind", "parts that are all sums of weights, or none",
                     "both");
  }
  if (sums && withSinks) throw CodedError("ERR_UNSUPPORTED", "options.sinks", "none with sums of weights", "some");
  if (sums && partial) throw CodedError("ERR_UNSUPPORTED", "options.partial", "none with sums of weights", "some");

  const int64_t expected = kFirstPart + kBuffersOfPart * parts;
  if (static_cast<int64_t>(buffers.size()) != expected) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "call.buffers", std::to_string(expected) + " buffers",
                     std::to_string(buffers.size()));
  }
  for (size_t slot = 0; slot < buffers.size(); ++slot) {
    if (buffers[slot].device == Buffer::kHost) continue;
    throw CodedError("ERR_UNSUPPORTED", bufferName(int(slot)), placeName(Buffer::kHost),
                     placeName(buffers[slot].device));
  }
  const auto floats = [&](int slot, int64_t elements, bool written) {
    const Buffer& buffer = buffers[static_cast<size_t>(slot)];
    requireInside({0, {}, elements}, buffer, sizeof(float), written, slot, call.ranges);
    return static_cast<float*>(buffer.data);
  };
  const int64_t rows = product({call.batch, call.headsQ, call.queries}, partName(0));
  const int64_t components = product({rows, call.dimV}, partName(0));
  requireInside({0, {}, components}, buffers[0], sizeOf(call.dtype), true, 0, call.ranges);
  call.output = buffers[0].data;
  if (!sums) call.lse = floats(1, rows, true);
  if (partial) call.sum = floats(2, rows, true);
  if (withSinks) call.sinks = floats(2, call.headsQ, false);
  int slot = kFirstPart;
  for (MergePart& part : call.parts) {
    part.o = floats(slot, components, false);
    if (!sums) part.m = floats(slot + 1, rows, false);
    if (part.kind == MergePart::Kind::softmax) part.l = floats(slot + 2, rows, false);
    slot += kBuffersOfPart;
  }
  requireApart(call.ranges);
  if (rows == 0) call.batch = 0;  // nothing to write, however many sequences the shape claims
  return call;
}

}  // namespace fused_attention
