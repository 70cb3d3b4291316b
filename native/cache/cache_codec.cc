#include "cache_codec.h"

#include <algorithm>
#include <limits>

#include "../error.h"
#include "../number_reader.h"

namespace fused_attention {

namespace {

constexpr int kFormVersion = 1;
constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max();

enum Flag { sharedValues = 1, interleaved = 2 };

/// What does not go by the pages.
HeldKeys heldKeys(const CacheForm& form, int64_t keys, int64_t appended) {
  HeldKeys held;
  held.batch = form.page.batch;
  held.heads = form.page.heads;
  held.dimQk = form.page.dimQk;
  held.dimV = form.page.dimV;
  held.keys = keys;
  held.appended = appended;
  held.sharedValues = form.page.sharedValues;
  held.key = form.page.keyLayout();
  held.value = form.page.valueLayout();
  held.paging.rows = kPageRows;
  return held;
}

HeldKeys heldKeys(const CacheForm& form, const CacheView& view) {
  HeldKeys held = heldKeys(form, view.length, view.appended);
  if (view.firstKey > form.pinned) {
    const int64_t positions = view.firstKey - form.pinned;
    held.gap = {form.pinned, positions, positions - view.list->gapRows()};
  }
  held.keyPages = view.list->keyPages();
  held.valuePages = view.list->valuePages();
  return held;
}

HeldKeys heldKeys(const CacheForm& form, const GroupPages& pages, int64_t appended) {
  const double longest = *std::max_element(pages.lengths.begin(), pages.lengths.end());
  HeldKeys held = heldKeys(form, int64_t(longest), appended);
  held.batch = int64_t(pages.lengths.size());
  held.key.batch = held.value.batch = 0;  // each sequence has a table instead
  held.paging.table = pages.table;
  held.paging.shared = pages.shared.rows;
  held.keyPages = pages.keys.data();
  held.valuePages = pages.values.data();
  held.lengths = pages.lengths.data();
  held.sharedOf = pages.shared.of.empty() ? nullptr : pages.shared.of.data();
  return held;
}

RotaryPositions decodePositions(int64_t rows, int64_t sequences, const Buffer& buffer) {
  RotaryPositions positions;
  positions.rows = rows;
  const size_t count = buffer.bytes / sizeof(int32_t);
  if (count == 0) return positions;
  const size_t all = size_t(sequences * rows);
  if (count != size_t(rows) && count != all) {
    throw CodedError("ERR_SHAPE_MISMATCH", "options.positions",
                     std::to_string(rows) + " or " + std::to_string(all) + " positions", std::to_string(count));
  }
  const int32_t* given = static_cast<const int32_t*>(buffer.data);
  positions.given.assign(given, given + count);
  positions.perSequence = count != size_t(rows);
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
  form.mostBytes = numbers.integer("cache.mostBytes", 0, int64_t{1} << 53);
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

SharedRows decodeShared(const Buffer& buffer, size_t caches) {
  SharedRows shared;
  const char* const argument = "options.prefixes";
  const int32_t* const given = static_cast<const int32_t*>(buffer.data);
  const size_t count = buffer.bytes / sizeof(int32_t);
  if (count == 0) return shared;
  if (count < caches) throw CodedError("ERR_INVALID_ARG_VALUE", argument, "a prefix or -1 for each cache", "fewer");
  shared.of.assign(given, given + caches);
  shared.rows.assign(given + caches, given + count);
  for (const int32_t prefix : shared.of) {
    if (prefix >= -1 && prefix < int64_t(shared.rows.size())) continue;
    throw CodedError("ERR_OUT_OF_RANGE", argument, "-1 or the number of a prefix", std::to_string(prefix));
  }
  for (const int64_t rows : shared.rows) {
    if (rows < 0) throw CodedError("ERR_OUT_OF_RANGE", argument, "0 tokens or more", std::to_string(rows));
  }
  return shared;
}

CacheCall decodeCacheCall(const CacheForm& form, std::span<const KvCache::Step> steps, const SharedRows& shared,
                          const double* numbers, size_t count, const std::vector<Buffer>& buffers,
                          const Programs& programs, const Buffer& positions) {
  CacheCall call;
  const CacheView& view = steps.front().view();
  if (steps.size() > 1) call.group = pagesOf(steps, shared);
  const HeldKeys held = call.group ? heldKeys(form, *call.group, view.appended) : heldKeys(form, view);
  call.call = decodeCallOver(held, numbers, count, buffers, programs);
  call.rows = {call.call.pointers.key, call.call.pointers.value, call.call.appendedKey, call.call.appendedValue};
  const int64_t rows = view.appended > 0 ? view.appended : call.call.problem.queries;
  call.positions = decodePositions(rows, held.batch, positions);
  return call;
}

void computeStep(const CacheForm& form, std::span<const KvCache::Step> steps, const CacheCall& call,
                 const CancelFlag& cancel) {
  Problem problem = call.call.problem;
  Pointers pointers = call.call.pointers;
  const int64_t perHead = problem.queries * problem.dimQk;
  const int64_t perCache = form.page.batch * problem.headsQ * perHead;
  const bool turning = !form.rotary.none() && problem.queries > 0;
  std::vector<float> turned(turning ? steps.size() * size_t(perCache) : 0);
  NewRows rows = call.rows;
  Layout queries = problem.query;
  for (size_t n = 0; n < steps.size(); ++n) {
    const CacheView& view = steps[n].view();
    const Angles angles =
        anglesOf(form, view, call.group ? call.positions.ofCache(int64_t(n)) : call.positions, problem, cancel);
    writeRows(form, view, rows, angles, problem, cancel);
    if (turning) {
      float* const to = turned.data() + int64_t(n) * perCache;
      turnQueries(form, view.length, problem, pointers.query, queries, angles, to, cancel);
    }
    rows.keyLayout.offset += rows.keyLayout.batch;
    rows.valueLayout.offset += rows.valueLayout.batch;
    queries.offset += queries.batch;
  }
  if (problem.queries == 0) return;
  if (turning) {
    problem.query = {Dtype::float32, 0, problem.headsQ * perHead, perHead, problem.dimQk};
    pointers.query = turned.data();
  }
  const Backend& backend = cpuBackend();
  auto planned = backend.plan(problem, nullptr, pointers.lengthsKv, pointers.pages, cancel);
  if (const Refusal* refusal = std::get_if<Refusal>(&planned)) {
    throw CodedError("ERR_UNSUPPORTED", "call", "what this device can compute", refusal->reason);
  }
  if (cancel.raised()) throw Cancelled();
  backend.run(*std::get<std::shared_ptr<const Plan>>(planned), pointers, cancel);
}

}  // namespace fused_attention
