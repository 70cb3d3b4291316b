// Memory of cached keys and values: pages of a fixed number of rows, shared between caches and the calls that read
// them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../problem.h"

namespace fused_attention {

/// Rows of a page: a tile of keys, so that a tile lies in one page or two.
inline constexpr int64_t kPageRows = 128;

/// Bytes of all pages of an environment, for its garbage collector to know of.
using MemoryAccount = std::atomic<int64_t>;

/// What the pages of a cache are like. A page holds [batch][head][row][dim] of keys, then the same of values; values
/// that are the first components of keys are not stored.
struct PageForm {
  int64_t batch = 1, heads = 1;
  int64_t dimQk = 1, dimV = 1;
  Dtype dtype = Dtype::float32;
  bool sharedValues = false;  // a value is the start of its key

  bool operator==(const PageForm&) const = default;

  int64_t keyBytes() const { return batch * heads * kPageRows * dimQk * sizeOf(dtype); }
  int64_t valueBytes() const { return sharedValues ? 0 : batch * heads * kPageRows * dimV * sizeOf(dtype); }
  int64_t bytes() const { return keyBytes() + valueBytes(); }

  /// Inside a page.
  Layout keyLayout() const { return layoutOf(dimQk); }
  Layout valueLayout() const { return layoutOf(sharedValues ? dimQk : dimV); }

 private:
  Layout layoutOf(int64_t dim) const { return {dtype, 0, heads * kPageRows * dim, kPageRows * dim, dim}; }
};

class Page {
 public:
  /// Uninitialized memory. Throws std::bad_alloc.
  Page(const PageForm& form, std::shared_ptr<MemoryAccount> account);
  ~Page();
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;

  char* keys() const { return memory_; }
  char* values() const { return memory_ + valueOffset_; }
  /// Takes the first `rows` rows of another page of the same form.
  void copyRows(const PageForm& form, const Page& from, int64_t rows);

 private:
  char* memory_ = nullptr;
  int64_t bytes_, valueOffset_;
  std::shared_ptr<MemoryAccount> account_;
};

/// The pages of a sequence of rows, immutable. Rows [gapBegin, gapBegin + gapRows), whole pages, may be gone.
class PageList {
 public:
  PageList() = default;
  PageList(std::vector<std::shared_ptr<Page>> pages, int64_t gapBegin, int64_t gapRows);

  const std::vector<std::shared_ptr<Page>>& pages() const { return pages_; }
  const void* const* keyPages() const { return keys_.data(); }
  const void* const* valuePages() const { return values_.data(); }

  int64_t gapBegin() const { return gapBegin_; }
  int64_t gapRows() const { return gapRows_; }
  /// Rows that there are pages for, those gone included.
  int64_t capacity() const { return int64_t(pages_.size()) * kPageRows + gapRows_; }
  /// Which of `pages` holds a row.
  size_t pageOf(int64_t row) const { return size_t((row < gapBegin_ ? row : row - gapRows_) / kPageRows); }

 private:
  std::vector<std::shared_ptr<Page>> pages_;
  std::vector<const void*> keys_, values_;
  int64_t gapBegin_ = 0, gapRows_ = 0;
};

}  // namespace fused_attention
