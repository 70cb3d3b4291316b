#include "tile_program.h"

#include <algorithm>
#include <bit>
#include <string>

#include "../error.h"

namespace fused_attention {

namespace {

/// Panels of a strip together: they should stay in the first-level cache beside the instructions' other data.
constexpr int64_t kStripFloats = 4096;

int64_t stripFor(const TileCode& code, int lanes) {
  const int64_t row = int64_t(std::max(1, code.registers)) * lanes;
  return std::clamp<int64_t>(int64_t(std::bit_floor(uint64_t(kStripFloats / row + 1))), 8, 128);
}

size_t pointerBytes(const TileCode& code) { return (code.keySources.size() * sizeof(float*) + 63) / 64 * 64; }

size_t scratchBytesOf(const TileCode& code, int lanes) {
  // Narrower groups have longer strips, within the same number of floats or with 8 keys.
  const int64_t floats = std::max<int64_t>(2 * kStripFloats, int64_t(code.scratchPanels()) * 8 * lanes);
  return pointerBytes(code) + size_t(code.scratchPanels() > 0 ? floats : 0) * sizeof(float);
}

const float* cells(const Cell* p) { return &p->real; }

float laneValue(Cell cell, bool boolean) {
  if (boolean) cell.integer = -cell.integer;
  return cell.real;
}

}  // namespace

TileProgram::TileProgram(std::shared_ptr<const UnaryValues> unary, double softcap)
    : unary_(std::move(unary)),
      code_(program().kind() == ProgramKind::mask ? encodeMask(program()) : encodeScore(program(), softcap)) {
  std::vector<bool> uncertain(program().nodes().size(), false);
  for (int n = 0; n <= program().result(); ++n) {
    uncertain[size_t(n)] = unary_->uncertain(n);
    uncertain_ |= uncertain[size_t(n)];
  }
  if (uncertain_ || code_.readsTables) poison_ = encodePoison(program(), softcap, uncertain);
  uncertain_ &= !poison_.code.empty();
}

size_t TileProgram::scratchBytes(int lanes) const { return scratchBytesOf(code_, lanes); }

bool TileProgram::bind(const Kernels& kernels, const Lanes& lanes, int padded, float* laneVectors) const {
  return bind(kernels, code_, lanes, padded, laneVectors);
}

bool TileProgram::bind(const Kernels& kernels, const TileCode& code, const Lanes& lanes, int padded,
                       float* laneVectors) const {
  for (size_t k = 0; k < code.laneSources.size(); ++k) {
    const LaneSource& source = code.laneSources[k];
    float* out = laneVectors + k * size_t(padded);
    switch (source.from) {
      case LaneSource::From::immediate: std::fill_n(out, padded, source.value); continue;
      case LaneSource::From::query: {
        const Cell* byQuery = unary_->byQuery(source.node);
        for (int t = 0; t < lanes.count; ++t) out[t] = laneValue(byQuery[lanes.row[t]], source.boolean);
        break;
      }
      case LaneSource::From::head:
        for (int t = 0; t < lanes.count; ++t) {
          out[t] = laneValue(unary_->scalar(source.node, lanes.head[t]), source.boolean);
        }
        break;
      case LaneSource::From::queryUncertain: {
        const uint8_t* poison = unary_->poisonByQuery(source.node);
        for (int t = 0; t < lanes.count; ++t) out[t] = laneValue({poison[lanes.row[t]]}, true);
        break;
      }
      case LaneSource::From::headUncertain:
        for (int t = 0; t < lanes.count; ++t) {
          out[t] = laneValue({unary_->scalarPoison(source.node, lanes.head[t])}, true);
        }
        break;
    }
    // Lanes that are only padding do as the first one does, so that nothing happens there that happens nowhere else.
    std::fill(out + lanes.count, out + padded, out[0]);
  }
  if (code.laneCode.empty()) return false;
  TileRun run{};
  run.code = code.laneCode.data();
  run.instructions = int(code.laneCode.size());
  run.tables = code.tables.data();
  run.lanes = padded;
  run.keys = run.strip = 1;
  run.scratch = laneVectors;  // its registers are the lane vectors
  return kernels.runTile(run);
}

bool TileProgram::compute(const Kernels& kernels, const TileCode& code, const Tile& tile, uint64_t* words) const {
  const float** keys = static_cast<const float**>(tile.scratch);
  for (size_t k = 0; k < code.keySources.size(); ++k) {
    const KeySource& source = code.keySources[k];
    keys[k] = cells(source.uncertain ? unary_->poisonByKey(source.node) : unary_->byKey(source.node)) + tile.keys.begin;
  }
  TileRun run{};
  run.code = code.code.data();
  run.instructions = int(code.code.size());
  run.tables = code.tables.data();
  run.lanes = tile.padded;
  run.keys = tile.keys.end - tile.keys.begin;
  run.strip = stripFor(code, tile.padded);
  run.inputs = tile.inputs;
  run.inputCount = int(code.inputs.size());
  run.scratch = reinterpret_cast<float*>(static_cast<char*>(tile.scratch) + pointerBytes(code));
  run.laneVectors = tile.laneVectors;
  run.keyVectors = keys;
  run.words = words;
  return kernels.runTile(run);
}

bool TileProgram::run(const Kernels& kernels, const Tile& tile, uint64_t* words) const {
  const bool clamped = compute(kernels, code_, tile, words);
  return (clamped || tile.clamped || uncertain_) && !poison_.code.empty();
}

void TileProgram::poison(const Kernels& kernels, const Tile& tile, uint64_t* words) const {
  std::vector<float> laneVectors(size_t(poison_.laneVectors) * size_t(tile.padded));
  bind(kernels, poison_, tile.lanes, tile.padded, laneVectors.data());
  std::vector<double> scratch(scratchBytesOf(poison_, tile.padded) / sizeof(double) + 1);
  Tile own = tile;
  own.laneVectors = laneVectors.data();
  own.scratch = scratch.data();
  const size_t cells = size_t(tile.keys.end - tile.keys.begin) * size_t(tile.padded);
  std::vector<std::vector<float>> copies;
  std::vector<float*> inputs;
  for (const PanelInput& wanted : poison_.inputs) {
    for (size_t k = 0; k < code_.inputs.size(); ++k) {
      if (code_.inputs[k].grid == wanted.grid) copies.emplace_back(tile.inputs[k], tile.inputs[k] + cells);
    }
  }
  for (std::vector<float>& copy : copies) inputs.push_back(copy.data());
  own.inputs = inputs.data();
  compute(kernels, poison_, own, words);
  const uint64_t real = tile.lanes.count == 64 ? ~uint64_t{0} : (uint64_t{1} << tile.lanes.count) - 1;
  for (int64_t key = 0; key < tile.keys.end - tile.keys.begin; ++key) words[key] &= real;
}

void TileProgram::refuse() const {
  std::string tables;
  for (size_t k = 0; k < program().graph().tables.size(); ++k) {
    tables += (k == 0 ? "" : ", ") + ("tables[" + std::to_string(k) + "]");
  }
  throw CodedError("ERR_OUT_OF_RANGE", program().kind() == ProgramKind::mask ? "options.mask" : "options.score",
                   "indices inside its tables wherever the result needs them",
                   "an index outside " + (program().graph().tables.size() > 1 ? "one of " + tables : tables));
}

}  // namespace fused_attention
