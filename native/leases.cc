#include "leases.h"

#include <mutex>
#include <utility>

#include "error.h"

namespace fused_attention {

/// Every lease that holds something, in a ring of their own links: calls come and go without allocating, and there are
/// few at a time.
struct InFlight {
  std::mutex mutex;
  Lease ring;

  static InFlight& shared() {
    static InFlight* const leaked = new InFlight;  // calls may be in flight during exit()
    return *leaked;
  }

  InFlight() { ring.previous_ = ring.next_ = &ring; }

  /// Throws where `range` meets a range of a call in flight, and one of the two is written.
  void requireFree(const MemoryRange& range) const {
    for (const Lease* lease = ring.next_; lease != &ring; lease = lease->next_) {
      for (const MemoryRange& other : lease->ranges_) {
        if (!(range.written || other.written) || other.end <= range.begin || range.end <= other.begin) continue;
        throw CodedError("ERR_BUFFER_IN_USE", bufferName(range.slot), "memory that no call in flight uses",
                         other.written ? "memory that another call is writing" : "memory that another call is reading");
      }
    }
  }

  void add(Lease& lease) {
    lease.previous_ = ring.previous_;
    lease.next_ = &ring;
    lease.previous_->next_ = lease.next_->previous_ = &lease;
  }

  void remove(Lease& lease) {
    lease.previous_->next_ = lease.next_;
    lease.next_->previous_ = lease.previous_;
    lease.previous_ = lease.next_ = nullptr;
  }
};

Lease::Lease(std::vector<MemoryRange> ranges) {
  if (ranges.empty()) return;
  InFlight& all = InFlight::shared();
  const std::lock_guard lock(all.mutex);
  for (const MemoryRange& range : ranges) all.requireFree(range);
  ranges_ = std::move(ranges);
  all.add(*this);
}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this != &other) {
    release();
    take(other);
  }
  return *this;
}

/// From a lease that may hold nothing, to one that does not.
void Lease::take(Lease& other) noexcept {
  if (other.ranges_.empty()) return;
  InFlight& all = InFlight::shared();
  const std::lock_guard lock(all.mutex);
  all.remove(other);
  ranges_.swap(other.ranges_);
  all.add(*this);
}

void Lease::release() noexcept {
  if (ranges_.empty()) return;
  InFlight& all = InFlight::shared();
  const std::lock_guard lock(all.mutex);
  all.remove(*this);
  ranges_.clear();
}

}  // namespace fused_attention
