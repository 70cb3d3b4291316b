#include "traffic.h"

#include <algorithm>

namespace fused_attention::ptx {

namespace {

// How many words lanes of [first, end) ask for when no two are of one bank; -1 otherwise.
int withoutConflict(const uint64_t* addresses, uint32_t mask, int first, int end, int words) {
  uint32_t banks = 0;
  int distinct = 0;
  for (int lane = first; lane < end; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const uint32_t own = ((1u << words) - 1) << (addresses[lane] / 4 % 32);  // aligned, so it does not wrap
    if (banks & own) return -1;
    banks |= own;
    distinct += words;
  }
  return distinct;
}

}  // namespace

void countShared(Traffic& traffic, const uint64_t* addresses, uint32_t mask, int width) {
  ++traffic.requests;
  const int lanes = width <= 4 ? 32 : width == 8 ? 16 : 8;
  const int words = std::max(width / 4, 1);
  for (int first = 0; first < 32; first += lanes) {
    if (const int distinct = withoutConflict(addresses, mask, first, first + lanes, words); distinct >= 0) {
      traffic.units += distinct > 0;
      traffic.minimum += distinct > 0;
      continue;
    }
    uint32_t seen[32][32];  // words by bank
    uint8_t counts[32] = {};
    int distinct = 0, most = 0;
    for (int lane = first; lane < first + lanes; ++lane) {
      if (!(mask >> lane & 1)) continue;
      for (int part = 0; part < words; ++part) {
        const uint32_t word = static_cast<uint32_t>(addresses[lane] / 4) + part;
        const int bank = word % 32;
        if (std::find(seen[bank], seen[bank] + counts[bank], word) != seen[bank] + counts[bank]) continue;
        seen[bank][counts[bank]++] = word;
        most = std::max<int>(most, counts[bank]);
        ++distinct;
      }
    }
    traffic.units += most;
    traffic.minimum += (distinct + 31) / 32;
  }
}

void countGlobal(Traffic& traffic, const uint64_t* addresses, uint32_t mask, int width) {
  uint64_t sorted[32];
  int count = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) sorted[count++] = addresses[lane];
  }
  if (count == 0) return;
  if (!std::is_sorted(sorted, sorted + count)) std::sort(sorted, sorted + count);
  uint64_t bytes = 0, sectors = 0, covered = 0, lastSector = ~uint64_t{0};
  for (int i = 0; i < count; ++i) {
    const uint64_t start = std::max(sorted[i], covered), end = sorted[i] + width;
    if (end <= covered) continue;
    bytes += end - start;
    covered = end;
    for (uint64_t sector = start / 32; sector <= (end - 1) / 32; ++sector) {
      sectors += sector != lastSector;
      lastSector = sector;
    }
  }
  ++traffic.requests;
  traffic.units += sectors;
  traffic.minimum += (bytes + 31) / 32;
}

}  // namespace fused_attention::ptx
