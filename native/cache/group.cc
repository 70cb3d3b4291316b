#include "group.h"

#include <algorithm>
#include <string>

#include "../error.h"

namespace fused_attention {

namespace {

std::string nameOf(size_t cache) { return "caches[" + std::to_string(cache) + "]"; }

void requireTogether(const std::vector<std::shared_ptr<KvCache>>& caches) {
  const CacheForm& first = caches.front()->form();
  for (size_t n = 0; n < caches.size(); ++n) {
    const CacheForm& form = caches[n]->form();
    if (form.page.batch != 1) {
      throw CodedError("ERR_UNSUPPORTED", nameOf(n), "a cache of one sequence", std::to_string(form.page.batch));
    }
    if (form.window >= 0) throw CodedError("ERR_UNSUPPORTED", nameOf(n), "a cache without a window", "one with one");
    if (form.page != first.page) {
      throw CodedError("ERR_INVALID_ARG_VALUE", nameOf(n), "a cache with the options of caches[0]", "another");
    }
  }
}

/// Pages that are shared whole are the same ones; what is behind them may be anything.
void requireSamePages(const CacheView& first, const CacheView& other, size_t cache, int64_t rows) {
  const int64_t before = other.length - other.appended;
  if (rows > before) {
    throw CodedError("ERR_OUT_OF_RANGE", nameOf(cache),
                     "the " + std::to_string(rows) + " tokens that it shares, at least", std::to_string(before));
  }
  const auto& a = first.list->pages();
  const auto& b = other.list->pages();
  const auto end = a.begin() + rows / kPageRows;
  const auto at = std::mismatch(a.begin(), end, b.begin()).first;
  if (at == end) return;
  const int64_t token = (at - a.begin()) * kPageRows;
  throw CodedError("ERR_INVALID_ARG_VALUE", nameOf(cache),
                   "a fork with " + std::to_string(rows) + " tokens in common with the others of its prefix",
                   "one that has others from " + std::to_string(token) + " on");
}

}  // namespace

std::vector<KvCache::Step> beginTogether(const std::vector<std::shared_ptr<KvCache>>& caches, int64_t rows,
                                         int64_t queries) {
  requireTogether(caches);
  std::vector<KvCache::Step> steps;
  steps.reserve(caches.size());
  for (size_t n = 0; n < caches.size(); ++n) {
    try {
      steps.push_back(KvCache::begin(caches[n], rows, queries));
    } catch (const CodedError& error) {
      throw CodedError(error.code, error.argument == "cache" ? nameOf(n) : error.argument, error.expected,
                       error.received);
    }
  }
  return steps;
}

std::shared_ptr<const GroupPages> pagesOf(std::span<const KvCache::Step> steps, SharedRows shared) {
  std::vector<const CacheView*> firstOf(shared.rows.size(), nullptr);
  for (size_t n = 0; n < shared.of.size(); ++n) {
    if (shared.of[n] < 0) continue;
    const CacheView& view = steps[n].view();
    const CacheView*& first = firstOf[size_t(shared.of[n])];
    if (!first) first = &view;
    requireSamePages(*first, view, n, shared.rows[size_t(shared.of[n])]);
  }
  auto pages = std::make_shared<GroupPages>();
  for (const KvCache::Step& step : steps) {
    pages->table = std::max(pages->table, int64_t(step.view().list->pages().size()));
    pages->lengths.push_back(double(step.view().length));
  }
  pages->keys.resize(steps.size() * size_t(pages->table));
  pages->values.resize(pages->keys.size());
  for (size_t n = 0; n < steps.size(); ++n) {
    const PageList& list = *steps[n].view().list;
    std::copy_n(list.keyPages(), list.pages().size(), pages->keys.begin() + int64_t(n) * pages->table);
    std::copy_n(list.valuePages(), list.pages().size(), pages->values.begin() + int64_t(n) * pages->table);
  }
  pages->shared = std::move(shared);
  return pages;
}

}  // namespace fused_attention
