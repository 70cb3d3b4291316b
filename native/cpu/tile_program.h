// A program at one place (the sequence of a call), ready to run on tiles of it.
#pragma once

#include <memory>

#include "../program/unary.h"
#include "../tiles/visibility.h"
#include "kernels.h"
#include "lanes.h"
#include "tile_code.h"

namespace fused_attention {

class TileProgram {
 public:
  /// `softcap` is applied to scores before the program; 0: none.
  explicit TileProgram(std::shared_ptr<const UnaryValues> unary, double softcap = 0);

  const std::shared_ptr<const UnaryValues>& unary() const { return unary_; }
  const Program& program() const { return unary_->program(); }
  /// Panels of the whole tile that a run wants: the scores, then mask tensors by their index.
  const std::vector<PanelInput>& inputs() const { return code_.inputs; }

  /// Memory that runs on at most `lanes` lanes work in, all but the lane vectors.
  size_t scratchBytes(int lanes) const;
  size_t laneFloats(int lanes) const { return size_t(code_.laneVectors) * size_t(lanes); }

  /// Computes what depends on lanes alone into laneFloats(padded) floats. True where a read had to be clamped.
  bool bind(const Kernels& kernels, const Lanes& lanes, int padded, float* laneVectors) const;

  struct Tile {
    const Lanes& lanes;
    int padded;
    const float* laneVectors;
    bool clamped;  // what `bind` said
    Range keys;
    float* const* inputs;  // panels, overwritten
    void* scratch;         // scratchBytes, aligned to 64
  };

  /// Scores in place, or a mask's words. True where the result may hang on a read outside a table: see `poison`.
  bool run(const Kernels& kernels, const Tile& tile, uint64_t* words) const;

  /// Whether the poison of a tile depends on its inputs, which `run` overwrites.
  bool poisonNeedsInputs() const { return poison_.readsInputs; }

  /// words[key] gets a bit for each lane whose result hangs on a read outside a table. `inputs`, if it needs them, as
  /// they were before the run; they stay as they are.
  void poison(const Kernels& kernels, const Tile& tile, uint64_t* words) const;

  /// The error of such a pair.
  [[noreturn]] void refuse() const;

 private:
  bool compute(const Kernels& kernels, const TileCode& code, const Tile& tile, uint64_t* words) const;
  bool bind(const Kernels& kernels, const TileCode& code, const Lanes& lanes, int padded, float* laneVectors) const;

  std::shared_ptr<const UnaryValues> unary_;
  TileCode code_, poison_;
  bool uncertain_ = false;  // a value that comes as a vector may be poison
};

}  // namespace fused_attention
