#include "visible_bits.h"

#include <algorithm>
#include <cstring>

namespace fused_attention {

namespace {
size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }
}  // namespace

Seen seenBy(const Lanes& lanes, const uint64_t* words, int64_t count) {
  const uint64_t all = everyLane(lanes);
  uint64_t some = 0, every = all;
  for (int64_t key = 0; key < count; ++key) {
    some |= words[key];
    every &= words[key];
  }
  return some == 0 ? Seen::none : every == all ? Seen::all : Seen::some;
}

VisibleBits::VisibleBits(const Problem& problem, const Sequence& sequence, const Kernels& kernels,
                         const TileProgram* program, const std::vector<const uint8_t*>* masks)
    : problem_(problem), sequence_(sequence), kernels_(kernels), program_(program), masks_(masks) {
  if (problem.mask) readByProgram_ = size_t(problem.mask->graph().grids);
}

size_t VisibleBits::laneFloats() const { return program_ ? program_->laneFloats(kernels_.maxLanes()) : 0; }

size_t VisibleBits::scratchBytes(int64_t keys) const {
  if (!program_) return 0;
  const size_t panels = program_->inputs().size();
  return rounded(program_->scratchBytes(kernels_.maxLanes())) + panels * sizeof(float*) +
         panels * size_t(keys * kernels_.maxLanes()) * sizeof(float) + 64;
}

void VisibleBits::bind(Group& group) const {
  if (program_) group.clamped = program_->bind(kernels_, group.lanes, group.padded, group.laneVectors);
}

void VisibleBits::program(const Group& group, Range keys, void* scratch, uint64_t* words) const {
  const int64_t count = keys.end - keys.begin;
  const uint64_t every = everyLane(group.lanes);
  if (!program_) {
    std::fill_n(words, count, every);
    return;
  }
  // Scratch: what the program works in, its mask tensors as panels, and their addresses.
  char* at = static_cast<char*>(scratch) + rounded(program_->scratchBytes(kernels_.maxLanes()));
  const size_t panels = program_->inputs().size();
  float* memory = reinterpret_cast<float*>(at);
  float** inputs = reinterpret_cast<float**>(at + panels * size_t(count * group.padded) * sizeof(float) / 8 * 8);
  const auto fill = [&] {
    for (size_t k = 0; k < panels; ++k) {
      inputs[k] = memory + k * size_t(count * group.padded);
      fillGrid(size_t(program_->inputs()[k].grid), group.lanes, group.padded, keys, inputs[k]);
    }
  };
  fill();
  const TileProgram::Tile tile{group.lanes, group.padded, group.laneVectors, group.clamped, keys, inputs, scratch};
  if (program_->run(kernels_, tile, words)) {
    std::vector<uint64_t> poison(size_t(count), 0);
    fill();
    program_->poison(kernels_, tile, poison.data());
    if (std::any_of(poison.begin(), poison.end(), [](uint64_t word) { return word != 0; })) program_->refuse();
  }
  for (int64_t key = 0; key < count; ++key) words[key] &= every;
}

void VisibleBits::fillGrid(size_t index, const Lanes& lanes, int padded, Range keys, float* panel) const {
  const GridLayout& layout = problem_.masks[index];
  const uint8_t* start = (*masks_)[index] + layout.offset + sequence_.batch * layout.batch + keys.begin * layout.column;
  const int32_t truth[2] = {0, -1};
  for (int t = 0; t < padded; ++t) {
    const int lane = t < lanes.count ? t : 0;
    const uint8_t* line = start + lanes.head[lane] * layout.head + lanes.row[lane] * layout.row;
    for (int64_t key = 0; key < keys.end - keys.begin; ++key) {
      std::memcpy(panel + key * padded + t, &truth[line[key * layout.column] != 0], 4);
    }
  }
}

void VisibleBits::tensors(const Lanes& lanes, Range keys, uint64_t* words) const {
  const int64_t count = keys.end - keys.begin;
  for (size_t m = readByProgram_; m < problem_.masks.size(); ++m) {
    const GridLayout& layout = problem_.masks[m];
    const uint8_t* start = (*masks_)[m] + layout.offset + sequence_.batch * layout.batch + keys.begin * layout.column;
    if (layout.row == 0 && layout.head == 0) {
      for (int64_t key = 0; key < count; ++key) {
        if (!start[key * layout.column]) words[key] = 0;
      }
      continue;
    }
    for (int t = 0; t < lanes.count; ++t) {
      const uint8_t* line = start + lanes.head[t] * layout.head + lanes.row[t] * layout.row;
      for (int64_t key = 0; key < count; ++key) {
        words[key] &= ~(uint64_t(line[key * layout.column] == 0) << t);
      }
    }
  }
}

}  // namespace fused_attention
