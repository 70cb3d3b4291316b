#include "kv_cache.h"

#include <algorithm>
#include <limits>
#include <new>
#include <string>

#include "../error.h"

namespace fused_attention {

namespace {

constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max();

int64_t pagesFor(int64_t rows) { return (rows + kPageRows - 1) / kPageRows; }

}  // namespace

KvCache::KvCache(CacheForm form, std::shared_ptr<MemoryAccount> account)
    : form_(std::move(form)), account_(std::move(account)), list_(std::make_shared<const PageList>()) {}

void KvCache::requireAlive() const {
  if (freed_) throw CodedError("ERR_DISPOSED", "cache", "a cache that is not freed", "a freed one");
}

int64_t KvCache::length() const {
  requireAlive();
  return length_;
}

int64_t KvCache::bytes() const {
  requireAlive();
  return int64_t(list_->pages().size()) * form_.page.bytes();
}

void KvCache::requireIdle(bool writing) const {
  if (writing_ || (writing && reading_ > 0)) {
    throw CodedError("ERR_BUFFER_IN_USE", "cache", writing ? "a cache that no call in flight uses" : "a cache at rest",
                     writing_ ? "one that a call in flight appends to" : "one that a call in flight reads");
  }
}

/// The list with room for so many more rows, and without the pages that no query from `firstQuery` on sees.
std::shared_ptr<const PageList> KvCache::grown(int64_t rows, int64_t firstQuery, CacheView& view) const {
  const int64_t after = length_ + rows;
  const bool partial = length_ % kPageRows != 0;
  const std::shared_ptr<Page>* last = partial ? &list_->pages()[list_->pageOf(length_ - 1)] : nullptr;
  const bool shared = last && (list_.use_count() > 1 || last->use_count() > 1);
  const int64_t gapBegin = pagesFor(form_.pinned) * kPageRows;
  int64_t gapRows = list_->gapRows();
  if (form_.window >= 0) {
    const int64_t unseen = std::min(firstQuery - form_.window, length_) / kPageRows * kPageRows;
    gapRows = std::max(gapRows, unseen - gapBegin);
  }
  if (!shared && after <= list_->capacity() && gapRows == list_->gapRows()) return list_;

  std::vector<std::shared_ptr<Page>> pages;
  const int64_t count = pagesFor(after) - gapRows / kPageRows;
  pages.reserve(size_t(count));
  const auto& old = list_->pages();
  // Pages before the gap, and what was behind the gap and stays.
  const size_t before = size_t(std::min<int64_t>(gapBegin / kPageRows, int64_t(old.size())));
  const size_t dropped = size_t((gapRows - list_->gapRows()) / kPageRows);
  pages.insert(pages.end(), old.begin(), old.begin() + int64_t(before));
  if (before + dropped < old.size()) pages.insert(pages.end(), old.begin() + int64_t(before + dropped), old.end());
  if (shared) {
    view.copyFrom = *last;
    view.copyTo = newPage();
    view.copyRows = length_ % kPageRows;
    pages.back() = view.copyTo;
  }
  while (int64_t(pages.size()) < count) pages.push_back(newPage());
  return std::make_shared<const PageList>(std::move(pages), gapBegin, gapRows);
}

std::shared_ptr<Page> KvCache::newPage() const {
  if (account_->load(std::memory_order_relaxed) > form_.mostBytes - form_.page.bytes()) throw std::bad_alloc();
  return std::make_shared<Page>(form_.page, account_);
}

KvCache::Step KvCache::begin(const std::shared_ptr<KvCache>& cache, int64_t rows, int64_t queries) {
  cache->requireAlive();
  cache->requireIdle(rows > 0);
  const CacheForm& form = cache->form_;
  if (rows > kMostRows - cache->length_) {
    throw CodedError("ERR_OUT_OF_RANGE", "key", "at most " + std::to_string(kMostRows) + " tokens in a cache",
                     std::to_string(cache->length_ + rows));
  }
  CacheView view;
  view.length = cache->length_ + rows;
  view.appended = rows;
  // Queries of the appended tokens at least: whoever attends to them later finds their windows.
  const int64_t firstQuery = std::max<int64_t>(0, view.length - std::max(queries, rows));
  view.list = rows > 0 ? cache->grown(rows, firstQuery, view) : cache->list_;
  view.firstKey = form.pinned;
  if (form.window >= 0 && queries > 0) {
    view.firstKey = std::max(form.pinned, std::max<int64_t>(0, view.length - queries) - form.window);
    const int64_t held = cache->list_->gapBegin() + cache->list_->gapRows();
    if (cache->list_->gapRows() > 0 && view.firstKey < held) {
      throw CodedError("ERR_OUT_OF_RANGE", "query",
                       "at most " + std::to_string(view.length - held - form.window) +
                           " queries, whose window the cache still holds",
                       std::to_string(queries));
    }
  }
  return Step(cache, std::move(view));
}

std::shared_ptr<KvCache> KvCache::fork() const {
  requireAlive();
  requireIdle(false);
  auto other = std::make_shared<KvCache>(form_, account_);
  other->list_ = list_;
  other->length_ = length_;
  return other;
}

void KvCache::truncate(int64_t length) {
  requireAlive();
  requireIdle(true);
  if (length < 0 || length > length_) {
    throw CodedError("ERR_OUT_OF_RANGE", "length", "an integer from 0 to " + std::to_string(length_),
                     std::to_string(length));
  }
  const int64_t gapBegin = list_->gapBegin(), held = gapBegin + list_->gapRows();
  const bool beforeGap = length <= gapBegin;
  if (list_->gapRows() > 0 && !beforeGap && length - form_.window < held) {
    throw CodedError("ERR_OUT_OF_RANGE", "length",
                     "an integer from " + std::to_string(held + form_.window) + " to " + std::to_string(length_) +
                         ", as pages before that window are gone",
                     std::to_string(length));
  }
  const int64_t gapRows = beforeGap ? 0 : list_->gapRows();
  const size_t count = size_t(pagesFor(length) - gapRows / kPageRows);
  if (count < list_->pages().size() || gapRows != list_->gapRows()) {
    const auto& old = list_->pages();
    list_ = std::make_shared<const PageList>(
        std::vector<std::shared_ptr<Page>>(old.begin(), old.begin() + int64_t(count)), gapBegin, gapRows);
  }
  length_ = length;
}

void KvCache::free() {
  freed_ = true;
  length_ = 0;
  list_ = std::make_shared<const PageList>();
}

KvCache::Step::Step(std::shared_ptr<KvCache> cache, CacheView view) : cache_(std::move(cache)), view_(std::move(view)) {
  if (view_.appended > 0) {
    cache_->writing_ = true;
  } else {
    ++cache_->reading_;
  }
}

KvCache::Step& KvCache::Step::operator=(Step&& other) noexcept {
  if (this != &other) {
    end();
    cache_ = std::move(other.cache_);
    view_ = std::move(other.view_);
  }
  return *this;
}

void KvCache::Step::commit() {
  if (cache_->freed_ || view_.appended == 0) return;
  cache_->list_ = view_.list;
  cache_->length_ = view_.length;
}

void KvCache::Step::end() noexcept {
  if (!cache_) return;
  if (view_.appended > 0) {
    cache_->writing_ = false;
  } else {
    --cache_->reading_;
  }
  view_ = {};
  cache_.reset();
}

}  // namespace fused_attention
