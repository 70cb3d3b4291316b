#include "key_runs.h"

#include <algorithm>
#include <limits>

namespace fused_attention {

void TileCounts::add(const TileCounts& counts, int64_t times) {
  full += counts.full * times;
  partial += counts.partial * times;
  skipped += counts.skipped * times;
  promoted += counts.promoted * times;
}

SchedulingCosts costsOf(std::span<const KeyRun> runs, int64_t chunk) {
  constexpr double tile = 12, merge = 24;  // keys that would take as long
  SchedulingCosts costs;
  int64_t keys = 0, lastTile = -1, lastChunk = -1, end = 0;  // end: of what was seen of the last tile
  for (const KeyRun& run : runs) {
    keys += run.count();
    if (run.step > 1) costs.together = std::numeric_limits<double>::infinity();  // such runs are gathered
    // A chunk is so many tiles.
    const int64_t firstTile = run.begin / kTileKeys, firstChunk = run.begin / chunk;
    const bool known = firstTile == lastTile;
    lastTile = (run.end - 1) / kTileKeys;
    costs.together +=
        double(run.end - (known ? end : run.begin)) + tile * double(lastTile - firstTile + (known ? 0 : 1));
    costs.together += merge * double((run.end - 1) / chunk - firstChunk + (firstChunk == lastChunk ? 0 : 1));
    lastChunk = (run.end - 1) / chunk;
    end = run.end;
  }
  const auto rounds = [&](int64_t size) { return double((keys + size - 1) / size); };
  costs.gathered = double(keys) + tile * rounds(kTileKeys) + merge * rounds(chunk);
  return costs;
}

void MapTotals::add(const MapTotals& other) {
  counts.add(other.counts, 1);
  costs.together += other.costs.together;
  costs.gathered += other.costs.gathered;
  pairs += other.pairs;
  keys += other.keys;
}

void append(std::vector<KeyRun>& runs, size_t first, const KeyRun& run) {
  if (runs.size() > first && runs.back().end == run.begin && runs.back().full == run.full &&
      (run.full || (run.words == KeyRun::kNotKept && runs.back().words == KeyRun::kNotKept))) {
    runs.back().end = run.end;
  } else {
    runs.push_back(run);
  }
}

}  // namespace fused_attention
