#include "leases.h"

#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "error.h"

namespace fused_attention {

namespace {

/// Half-open, by begin then end.
using Span = std::pair<const char*, const char*>;

struct InFlight {
  std::mutex mutex;
  std::map<const char*, const char*> writes;  // begin -> end; apart from each other
  std::map<Span, int> reads;                  // with the number of calls that read it

  bool written(const MemoryRange& range) const {
    auto after = writes.lower_bound(range.end);
    return after != writes.begin() && std::prev(after)->second > range.begin;
  }

  bool read(const MemoryRange& range) const {
    // Reads overlap each other in every way, so all that begin before the end are candidates.
    const auto after = reads.lower_bound({range.end, nullptr});
    return std::any_of(reads.begin(), after, [&](const auto& entry) { return entry.first.second > range.begin; });
  }

  void add(const MemoryRange& range) {
    if (range.written)
      writes.emplace(range.begin, range.end);
    else
      ++reads[{range.begin, range.end}];
  }

  void remove(const MemoryRange& range) {
    if (range.written) {
      writes.erase(range.begin);
      return;
    }
    const auto found = reads.find({range.begin, range.end});
    if (found != reads.end() && --found->second == 0) reads.erase(found);
  }
};

InFlight& inFlight() {
  static InFlight* const leaked = new InFlight;  // calls may be in flight during exit()
  return *leaked;
}

}  // namespace

Lease::Lease(std::vector<MemoryRange> ranges) {
  InFlight& all = inFlight();
  const std::lock_guard lock(all.mutex);
  for (const MemoryRange& range : ranges) {
    const bool written = all.written(range);
    if (written || (range.written && all.read(range))) {
      throw CodedError("ERR_BUFFER_IN_USE", bufferName(range.slot), "memory that no call in flight uses",
                       written ? "memory that another call is writing" : "memory that another call is reading");
    }
  }
  size_t added = 0;
  try {
    for (; added < ranges.size(); ++added) all.add(ranges[added]);
  } catch (...) {
    for (size_t i = 0; i < added; ++i) all.remove(ranges[i]);
    throw;
  }
  ranges_ = std::move(ranges);
}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    release();
    ranges_ = std::move(other.ranges_);
    other.ranges_.clear();
  }
  return *this;
}

void Lease::release() noexcept {
  if (ranges_.empty()) return;
  InFlight& all = inFlight();
  const std::lock_guard lock(all.mutex);
  for (const MemoryRange& range : ranges_) all.remove(range);
  ranges_.clear();
}

}  // namespace fused_attention
