// Keys and values of the tokens so far, for the queries of those to come. One thread's own, but for the pages, which a
// call under way reads and writes on others.
//
// A step appends rows, attends, or both. What it appends is written behind the rows that there are, in pages of the
// step's own where a page is shared, and counts only when the step is committed: a step that fails leaves no trace.
#pragma once

#include <limits>
#include <memory>

#include "pages.h"
#include "rotary.h"

namespace fused_attention {

struct CacheForm {
  PageForm page;
  Rotary rotary;
  int64_t window = -1;  // a query sees so many keys to its left besides its own; -1: all
  int64_t pinned = 0;   // and these first ones, always
  /// Of all pages of an environment together. More would be handed out, and the process ended when it is used.
  int64_t mostBytes = std::numeric_limits<int64_t>::max();
};

/// Rows that a step sees, and where it writes what it appends. Owns a share of all the pages it touches.
struct CacheView {
  std::shared_ptr<const PageList> list;
  int64_t length = 0;    // rows with those appended
  int64_t appended = 0;  // the last ones of them
  int64_t firstKey = 0;  // the first row after the pinned ones that is seen

  /// A page that was shared, and what of it has to be copied before rows are appended.
  std::shared_ptr<const Page> copyFrom;
  std::shared_ptr<Page> copyTo;
  int64_t copyRows = 0;
};

class KvCache {
 public:
  KvCache(CacheForm form, std::shared_ptr<MemoryAccount> account);

  const CacheForm& form() const { return form_; }
  /// Throws CodedError ERR_DISPOSED, as the others do.
  int64_t length() const;
  /// Of all pages that it holds, shared ones included.
  int64_t bytes() const;

  class Step;

  /// Begins a step that appends `rows` and has queries at the last `queries` positions. Throws CodedError
  /// ERR_BUFFER_IN_USE where another step stands in the way (one that appends wants to be alone), ERR_OUT_OF_RANGE
  /// where a query's window is gone, ERR_DISPOSED; std::bad_alloc. Then nothing has changed.
  static Step begin(const std::shared_ptr<KvCache>& cache, int64_t rows, int64_t queries);

  /// Another cache with the same rows; pages are shared until one of both writes to them. Throws like `begin`.
  std::shared_ptr<KvCache> fork() const;
  /// Forgets the rows from `length` on. Throws CodedError ERR_OUT_OF_RANGE where there are no so many, or where a later
  /// query's window is gone; ERR_BUFFER_IN_USE, ERR_DISPOSED.
  void truncate(int64_t length);
  /// Gives all pages up; steps under way keep theirs.
  void free();

 private:
  void requireAlive() const;
  void requireIdle(bool writing) const;
  std::shared_ptr<Page> newPage() const;
  std::shared_ptr<const PageList> grown(int64_t rows, int64_t firstQuery, CacheView& view) const;

  CacheForm form_;
  std::shared_ptr<MemoryAccount> account_;
  std::shared_ptr<const PageList> list_;
  int64_t length_ = 0;
  bool freed_ = false;
  int reading_ = 0;  // steps under way that do not append
  bool writing_ = false;
};

/// One step under way; ends with its destructor. Used and destroyed on the cache's thread, but for `view`.
class KvCache::Step {
 public:
  Step() = default;
  Step(std::shared_ptr<KvCache> cache, CacheView view);
  Step(Step&& other) noexcept = default;
  Step& operator=(Step&& other) noexcept;
  ~Step() { end(); }

  const CacheView& view() const { return view_; }
  /// What was appended counts from now on, unless the cache was freed.
  void commit();

 private:
  void end() noexcept;

  std::shared_ptr<KvCache> cache_;
  CacheView view_;
};

}  // namespace fused_attention
