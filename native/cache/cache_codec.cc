#include "cache_codec.h"

#include <limits>

#include "../error.h"
#include "../number_reader.h"

namespace fused_attention {

namespace {

constexpr int kFormVersion = 1;
constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max();

enum Flag { sharedValues = 1, interleaved = 2 };

HeldKeys heldKeys(const CacheForm& form, const CacheView& view) {
  HeldKeys held;
  held.batch = form.page.batch;
  held.heads = form.page.heads;
  held.dimQk = form.page.dimQk;
  held.dimV = form.page.dimV;
  held.keys = view.length;
  held.appended = view.appended;
  held.sharedValues = form.page.sharedValues;
  held.key = form.page.keyLayout();
  held.value = form.page.valueLayout();
  held.paging.rows = kPageRows;
  if (view.firstKey > form.pinned) {
    const int64_t positions = view.firstKey - form.pinned;
    held.gap = {form.pinned, positions, positions - view.list->gapRows()};
  }
  held.keyPages = view.list->keyPages();
  held.valuePages = view.list->valuePages();
  return held;
}

RotaryPositions decodePositions(const CacheForm& form, const Problem& problem, const CacheView& view,
                                const Buffer& buffer) {
  RotaryPositions positions;
  positions.rows = view.appended > 0 ? view.appended : problem.queries;
  const size_t count = buffer.bytes / sizeof(int32_t);
  if (count == 0) return positions;
  const size_t rows = size_t(positions.rows), all = size_t(form.page.batch) * rows;
  if (count != rows && count != all) {
    throw CodedError("ERR_SHAPE_MISMATCH", "options.positions",
                     std::to_string(rows) + " or " + std::to_string(all) + " positions", std::to_string(count));
  }
  const int32_t* given = static_cast<const int32_t*>(buffer.data);
  positions.given.assign(given, given + count);
  positions.perSequence = count != rows;
  return positions;
}

}  // namespace

CacheForm decodeCacheForm(const double* data, size_t count) {
  NumberReader numbers(data, count);
  CacheForm form;
  numbers.integer("cache.version", kFormVersion, kFormVersion);
  form.page.batch = numbers.integer("options.batch", 1, kMostRows);
  form.page.heads = numbers.integer("options.heads", 1, kMostRows);
  form.page.dimQk = numbers.integer("options.dim", 1, 1024);
  form.page.dimV = numbers.integer("options.dimV", 1, 1024);
  form.page.dtype = static_cast<Dtype>(numbers.integer("options.dtype", 0, 2));
  const int64_t flags = numbers.integer("cache.flags", 0, 3);
  form.page.sharedValues = flags & sharedValues;
  form.rotary.interleaved = flags & interleaved;
  form.window = numbers.integer("options.window", -1, kMostRows);
  form.pinned = numbers.integer("options.pinned", 0, kMostRows);
  form.rotary.begin = numbers.integer("options.rope", 0, 1024);
  const int64_t pairs = numbers.integer("options.rope", 0, 512);
  for (int64_t f = 0; f < pairs; ++f) form.rotary.frequencies.push_back(numbers.finite("options.rope.frequencies"));
  numbers.finish();
  if (form.page.sharedValues && form.page.dimV > form.page.dimQk) {
    throw CodedError("ERR_OUT_OF_RANGE", "options.dimV", "at most " + std::to_string(form.page.dimQk),
                     std::to_string(form.page.dimV));
  }
  if (form.rotary.begin + 2 * pairs > form.page.dimQk) {
    throw CodedError("ERR_OUT_OF_RANGE", "options.rope", "components of a key", "more");
  }
  if (form.window < 0 && form.pinned > 0) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "options.pinned", "0 without a window", std::to_string(form.pinned));
  }
  // Any page has to be addressable; whether there is memory for it is found out when there is one.
  int64_t bytes = kPageRows * sizeOf(form.page.dtype) * (form.page.dimQk + form.page.dimV);
  if (__builtin_mul_overflow(bytes, form.page.batch, &bytes) ||
      __builtin_mul_overflow(bytes, form.page.heads, &bytes)) {
    throw CodedError("ERR_OUT_OF_MEMORY", "options", "pages that fit in memory", "a size beyond any memory");
  }
  return form;
}

CacheCall decodeCacheCall(const CacheForm& form, const CacheView& view, const double* numbers, size_t count,
                          const std::vector<Buffer>& buffers, const Programs& programs, const Buffer& positions) {
  CacheCall step;
  step.call = decodeCallOver(heldKeys(form, view), numbers, count, buffers, programs);
  step.rows = {step.call.pointers.key, step.call.pointers.value, step.call.appendedKey, step.call.appendedValue};
  step.positions = decodePositions(form, step.call.problem, view, positions);
  return step;
}

void computeStep(const CacheForm& form, const CacheView& view, const CacheCall& step, const CancelFlag& cancel) {
  Problem problem = step.call.problem;
  const Angles angles = anglesOf(form, view, step.positions, problem, cancel);
  writeRows(form, view, step.rows, angles, problem, cancel);
  if (problem.queries == 0) return;
  Pointers pointers = step.call.pointers;
  std::vector<float> turned;
  if (!form.rotary.none()) {
    turned = turnedQueries(form, view.length, problem, pointers.query, angles, cancel);
    const int64_t rows = problem.queries * problem.dimQk;
    problem.query = {Dtype::float32, 0, problem.headsQ * rows, rows, problem.dimQk};
    pointers.query = turned.data();
  }
  const Backend& backend = cpuBackend();
  auto planned = backend.plan(problem, nullptr, nullptr);
  if (const Refusal* refusal = std::get_if<Refusal>(&planned)) {
    throw CodedError("ERR_UNSUPPORTED", "call", "what this device can compute", refusal->reason);
  }
  if (cancel.raised()) throw Cancelled();
  backend.run(*std::get<std::shared_ptr<const Plan>>(planned), pointers, cancel);
}

}  // namespace fused_attention
