#include "tile_counts.h"

#include <algorithm>

namespace fused_attention::cuda {

TileCounts countTiles(const Sequence& sequence, const SequenceKeys& keys, const TileRows& rows) {
  TileCounts counts;
  for (int64_t first = 0; first < rows.of(sequence); first += rows.tileRows) {
    KeyRange any{int32_t(sequence.keys), 0}, all{0, int32_t(sequence.keys)};
    for (int64_t row = first; row < std::min(first + rows.tileRows, rows.of(sequence)); ++row) {
      const KeyRange seen = keys.of(row / rows.together, sequence.keys);
      any = {std::min(any.begin, seen.begin), std::max(any.end, seen.end)};
      all = {std::max(all.begin, seen.begin), std::min(all.end, seen.end)};
      counts.pairs += std::max(0, seen.end - seen.begin);
    }
    for (int64_t key = 0; key < sequence.keys; key += rows.tileKeys) {
      const int64_t end = std::min<int64_t>(key + rows.tileKeys, sequence.keys);
      if (key >= any.end || end <= any.begin) {
        ++counts.skipped;
      } else {
        ++(key >= all.begin && end <= all.end ? counts.full : counts.partial);
      }
    }
  }
  return counts;
}

TileCounts countTiles(const Sequence& sequence, const SequenceBits& bits, int64_t headsQ, const TileRows& rows) {
  TileCounts counts;
  const int64_t words = SequenceBits::wordsOf(sequence.keys);
  // Heads that see alike make tiles alike.
  const int64_t sets = bits.heads == 1 ? 1 : headsQ / rows.together, times = headsQ / rows.together / sets;
  for (int64_t set = 0; set < sets; ++set) {
    for (int64_t first = 0; first < rows.of(sequence); first += rows.tileRows) {
      const int64_t end = std::min(first + rows.tileRows, rows.of(sequence));
      for (int64_t key = 0; key < sequence.keys; key += rows.tileKeys) {
        const int64_t count = std::min<int64_t>(rows.tileKeys, sequence.keys - key);
        int64_t seen = 0;
        for (int64_t row = first; row < end; ++row) {
          const int64_t head = bits.heads == 1 ? 0 : set * rows.together + row % rows.together;
          const uint32_t* const line = bits.rows.data() + (head * sequence.queries + row / rows.together) * words;
          for (int64_t k = key; k < key + count; ++k) seen += line[k / 32] >> (k % 32) & 1;
        }
        (seen == 0 ? counts.skipped : seen == (end - first) * count ? counts.full : counts.partial) += times;
        counts.pairs += double(times * seen);
      }
    }
  }
  return counts;
}

}  // namespace fused_attention::cuda
