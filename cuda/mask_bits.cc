#include "mask_bits.h"

#include <algorithm>
#include <optional>

#include "../native/cpu/listed_keys.h"
#include "../native/cpu/pool.h"
#include "../native/cpu/visible_bits.h"

namespace fused_attention::cuda {

namespace {

/// The bits of one sequence, some rows at a time, by what the CPU asks of masks: a word a key, a bit a row.
class PairFinder {
 public:
  PairFinder(const Problem& problem, const Sequence& sequence, const std::vector<const uint8_t*>* masks)
      : problem_(problem),
        sequence_(sequence),
        kernels_(kernelsFor(problem.isa)),
        program_(programOf(problem, sequence)),
        visibility_(problem, sequence, program_ ? program_->unary() : nullptr),
        bits_(problem, sequence, kernels_, program_.get(), masks),
        tensors_(masks != nullptr && bits_.hasTensors()) {
    if (ListedKeys::has(problem)) listed_.emplace(problem, sequence, sequence.table);
  }

  int lanes() const { return kernels_.maxLanes(); }

  /// `to` is the first of the rows' words, 0 so far.
  void find(int64_t head, Range rows, int64_t words, uint32_t* to) const {
    int64_t row[64], heads[64];
    const Lanes lanes{int(rows.end - rows.begin), row, heads};
    for (int t = 0; t < lanes.count; ++t) {
      row[t] = rows.begin + t;
      heads[t] = head;
    }
    const int padded = (lanes.count + kernels_.width - 1) / kernels_.width * kernels_.width;
    std::vector<float> laneVectors(bits_.laneFloats());
    std::vector<char> scratch(bits_.scratchBytes(SequenceBits::kTileKeys) + kAligned);
    void* const aligned = scratch.data() + (kAligned - reinterpret_cast<uintptr_t>(scratch.data()) % kAligned);
    VisibleBits::Group group{lanes, padded, laneVectors.data()};
    bits_.bind(group);
    std::optional<Visibility::Rows> view;
    if (program_) view.emplace(visibility_, head).set(rows);
    for (int64_t first = 0; first < sequence_.keys; first += SequenceBits::kTileKeys) {
      const Range keys{first, std::min(first + SequenceBits::kTileKeys, sequence_.keys)};
      if (view && view->verdict(keys).never()) continue;
      uint64_t seen[SequenceBits::kTileKeys];
      if (view && !view->verdict(keys).always()) {
        bits_.program(group, keys, aligned, seen);
      } else {
        std::fill_n(seen, keys.end - keys.begin, everyLane(lanes));
      }
      if (tensors_) bits_.tensors(lanes, keys, seen);
      if (listed_) listed_->restrict(lanes, keys, seen);
      turn(seen, keys, lanes.count, words, to + first / 32);
    }
  }

 private:
  static constexpr size_t kAligned = 64;

  static std::shared_ptr<const TileProgram> programOf(const Problem& p, const Sequence& s) {
    if (!p.mask || p.mask->showsAll()) return nullptr;
    const Place place{s.table, s.queries, s.keys, queryStart(p, s), p.headsQ, p.groupSize(), p.gap};
    return std::make_shared<const TileProgram>(std::make_shared<const UnaryValues>(p.mask, place));
  }

  static void turn(const uint64_t* seen, Range keys, int rows, int64_t words, uint32_t* to) {
    for (int64_t key = 0; key < keys.end - keys.begin; ++key) {
      for (int t = 0; t < rows; ++t) to[t * words + key / 32] |= uint32_t(seen[key] >> t & 1) << key % 32;
    }
  }

  const Problem& problem_;
  const Sequence& sequence_;
  const Kernels& kernels_;
  const std::shared_ptr<const TileProgram> program_;
  const Visibility visibility_;
  const VisibleBits bits_;
  const bool tensors_;
  std::optional<ListedKeys> listed_;
};

}  // namespace

bool maskDependsOnHead(const Problem& p) {
  if (p.mask && p.mask->depends(p.mask->result()) & onHead) return true;
  const auto perHead = [](const BlockLists& list) { return list.heads > 1; };
  if (ListedKeys::has(p) && std::any_of(p.mask->lists().begin(), p.mask->lists().end(), perHead)) return true;
  return std::any_of(p.masks.begin(), p.masks.end(), [](const GridLayout& mask) { return mask.head != 0; });
}

bool maskDependsOnBatch(const Problem& p) {
  if (ListedKeys::has(p) && ListedKeys::perBatch(p)) return true;
  const auto readsBatch = [](const Node& node) { return node.op == Op::b; };
  if (p.mask && std::any_of(p.mask->nodes().begin(), p.mask->nodes().end(), readsBatch)) return true;
  return std::any_of(p.masks.begin(), p.masks.end(), [](const GridLayout& mask) { return mask.batch != 0; });
}

SequenceBits::SequenceBits(const Problem& problem, const Sequence& sequence, const std::vector<const uint8_t*>* masks,
                           int blockQueries, const CancelFlag& cancel)
    : heads(maskDependsOnHead(problem) ? problem.headsQ : 1) {
  const PairFinder finder(problem, sequence, masks);
  const int64_t words = wordsOf(sequence.keys), queries = sequence.queries;
  const int64_t perHead = (queries + blockQueries - 1) / blockQueries;
  rows.resize(size_t(heads * queries * words));
  blocks.resize(size_t(heads * perHead * words));
  Pool::shared().parallel(heads * perHead, problem.threads, [&](int64_t task, int) {
    if (cancel.raised()) throw Cancelled();
    const int64_t head = task / perHead, first = task % perHead * blockQueries;
    const int64_t end = std::min(first + blockQueries, queries);
    uint32_t* const any = blocks.data() + task * words;
    for (int64_t row = first; row < end; row += finder.lanes()) {
      uint32_t* const to = rows.data() + (head * queries + row) * words;
      const Range some{row, std::min(row + finder.lanes(), end)};
      finder.find(head, some, words, to);
      for (int64_t n = 0; n < (some.end - some.begin) * words; ++n) any[n % words] |= to[n];
    }
  });
}

}  // namespace fused_attention::cuda
