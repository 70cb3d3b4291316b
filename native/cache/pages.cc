#include "pages.h"

#include <cstring>
#include <new>

namespace fused_attention {

namespace {
constexpr std::align_val_t kAlignment{64};
/// No machine has room for a page larger than this; allocators end the process over such a size, some of them.
constexpr int64_t kMostBytes = int64_t{1} << 40;
}  // namespace

Page::Page(const PageForm& form, std::shared_ptr<MemoryAccount> account)
    : bytes_(form.bytes()), valueOffset_(form.sharedValues ? 0 : form.keyBytes()), account_(std::move(account)) {
  if (bytes_ > kMostBytes) throw std::bad_alloc();
  memory_ = static_cast<char*>(::operator new(size_t(bytes_), kAlignment));
  account_->fetch_add(bytes_, std::memory_order_relaxed);
}

Page::~Page() {
  ::operator delete(memory_, kAlignment);
  account_->fetch_sub(bytes_, std::memory_order_relaxed);
}

void Page::copyRows(const PageForm& form, const Page& from, int64_t rows) {
  const auto copy = [&](char* to, const char* source, int64_t dim) {
    const int64_t stride = kPageRows * dim * sizeOf(form.dtype), used = rows * dim * sizeOf(form.dtype);
    for (int64_t head = 0; head < form.batch * form.heads; ++head) {
      std::memcpy(to + head * stride, source + head * stride, size_t(used));
    }
  };
  copy(keys(), from.keys(), form.dimQk);
  if (!form.sharedValues) copy(values(), from.values(), form.dimV);
}

PageList::PageList(std::vector<std::shared_ptr<Page>> pages, int64_t gapBegin, int64_t gapRows)
    : pages_(std::move(pages)), gapBegin_(gapBegin), gapRows_(gapRows) {
  keys_.reserve(pages_.size());
  values_.reserve(pages_.size());
  for (const auto& page : pages_) {
    keys_.push_back(page->keys());
    values_.push_back(page->values());
  }
}

}  // namespace fused_attention
