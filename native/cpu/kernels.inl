// The tile operations of kernels.h, compiled once a target by targets/*.cc with that target's flags. Only simd.h and
// plain arrays here and in kernels/: a template or inline function of the standard library instantiated under these
// flags could be picked by the linker for code that must run on every processor.

#include <cfloat>

#include "kernels.h"
#include "kernels/accumulate.inl"
#include "kernels/convert.inl"
#include "kernels/few_queries.inl"
#include "kernels/merge.inl"
#include "kernels/program.inl"
#include "kernels/scores.inl"
#include "kernels/shapes.inl"
#include "kernels/softcap.inl"
#include "kernels/softmax.inl"
#include "kernels/statistics.inl"
#include "kernels/weights.inl"
#include "simd.h"

namespace fused_attention {
namespace {

constexpr Kernels tableFor(Isa isa) {
  return Kernels{isa,       kWidth,  kVectors,   kFewQueries, packQueries, packFewQueries, convertRow, scores,
                 fewScores, softmax, fewSoftmax, weights,     accumulate,  fewAccumulate,  hasNaN,     merge,
                 fewMerge,  finish,  fewFinish,  fold,        largest,     laneSums,       runTile};
}

}  // namespace
}  // namespace fused_attention
