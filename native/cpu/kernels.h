// What a target (instruction set) provides: the few operations of fused attention on tiles, with queries across lanes.
//
// A group is a handful of queries that share a key/value head, one a lane, padded to a whole number of vectors; `lanes`
// is that padded number. A panel holds one value a lane and row: panel[row * lanes + lane]. So the scores of a group
// against a block of keys are a panel with a row a key, its output a panel with a row a component of the value. Keys
// and values are reached by row pointers, whatever memory they come from, and are read one scalar at a time: nothing is
// read past a row.
//
// No operation depends on what the other lanes hold, or on how many there are: a query's bits are its own.
#pragma once

#include <cstdint>

#include "../problem.h"
#include "bytecode.h"

namespace fused_attention {

/// Online softmax of a group over the keys seen so far, in base 2: p = 2^(s - reference). `reference` is an integer
/// (the ceiling of the largest score), so a change of reference rescales by an exact power of two.
struct SoftmaxState {
  float* reference;  // [lanes], -FLT_MAX before the first key
  float* sum;        // [lanes], of p
  float* moment;     // [lanes], of p * (s - reference): what entropy needs
  float* maximum;    // [lanes], of s
};

/// How scores become weights in one tile.
struct ScoreTile {
  float* scores;  // panel of `keys` rows: scale * log2(e) * q.k; becomes p
  int64_t keys;
  int phase;                // first key's column modulo 4: sums run in four fixed interleaved chains of keys
  const uint64_t* visible;  // a word a key, bit = lane; null: every key is visible to every lane
  int64_t hiddenFrom = 0, hiddenEnd = 0;  // keys outside this range are visible to every lane
  const float* bias;                      // panel in natural units, or null
  float softcap;                          // in base-2 units (cap * log2(e)), 0: none
  bool moment;                            // keep the moment
};

/// How the scores of few queries lie: floats from one key's to the next one's, and from one query's. A panel has the
/// queries of a key side by side, as the other operations take them; rows have the keys of a query side by side.
struct FewLayout {
  int64_t key, query;
};

/// Keys of a tile that lie within one segment.
struct Stretch {
  int64_t segment, first, keys;
};

/// Sums or maxima of weights over segments of keys: panels with a row a segment, each value in units of 2^reference of
/// its own.
struct Fold {
  float* values;      // 0 before the first key
  float* references;  // -FLT_MAX before the first key
};

/// The largest weights of each lane so far, falling, and their columns; of equal ones the first stays before the next.
struct Largest {
  static constexpr int kSlots = 16;

  float* weights;     // [lanes][kSlots], 0 where there is none yet
  int32_t* columns;   // [lanes][kSlots]
  float* thresholds;  // [lanes], the weight that has to be exceeded, as the tile counts them
  float* factors;     // [lanes], powers of two: from weights of the tile to those kept
  float* inverses;    // [lanes], of the factors
  int64_t top;        // slots that matter
};

/// Memory that will be read soon: a kernel asks for it on its way, so that it has come when it is needed.
struct Ahead {
  const void* const* rows = nullptr;
  int64_t count = 0, bytes = 0;  // rows, and bytes of each
};

struct Kernels {
  Isa isa;
  int width;       // lanes in a vector
  int vectors;     // vectors in the widest group
  int fewQueries;  // rows of a sequence that are better done by the few... operations
  int maxLanes() const { return width * vectors; }

  /// panel[d * lanes + lane] = queries[lane][d] * scale; lanes past `count` become 0.
  void (*packQueries)(float* panel, int lanes, const void* const* queries, int count, Dtype dtype, int64_t dim,
                      double scale);
  /// The queries of a panel that fewScores takes: a row each, its components padded to whole vectors with 0.
  void (*packFewQueries)(float* panel, const void* const* queries, int count, Dtype dtype, int64_t dim, double scale);
  /// Copies a row, as float32.
  void (*convertRow)(float* out, const void* row, Dtype dtype, int64_t dim);
  /// scores[key * lanes + lane] = sum over d of panel[d * lanes + lane] * keys[key][d]
  void (*scores)(float* scores, const float* panel, int lanes, int64_t dim, const float* const* keyRows, int64_t keys,
                 const Ahead& ahead);
  /// The same for `count` <= width queries packed by packFewQueries, with components across lanes, from rows as
  /// they are stored. A panel has `width` lanes; rows are written on to a whole number of vectors, and there may be up
  /// to 3 more of them than queries.
  void (*fewScores)(float* scores, const float* panel, int count, int64_t dim, const void* const* keyRows, Dtype dtype,
                    int64_t keys, FewLayout layout, const Ahead& ahead);
  /// Turns scores into weights, advances the state, and leaves the factor for what was accumulated before in `rescale`.
  void (*softmax)(const ScoreTile& tile, int lanes, const SoftmaxState& state, float* rescale);
  /// The same for scores that lie as rows, `query` floats apart, of `count` queries: every key is visible, and there is
  /// neither bias nor moment. The bits are the same.
  void (*fewSoftmax)(const ScoreTile& tile, int count, int64_t query, const SoftmaxState& state, float* rescale);
  /// The same as softmax where each weight goes by its own score alone: `kind` is not softmax, `shift` sigmoid's.
  /// Weights of relu are in the scores' base-2 units, those of its square in their square. `rescale` becomes 1 and the
  /// state one of reference 0 with some sum, so that outputs merge by plain addition.
  void (*weights)(const ScoreTile& tile, int lanes, Normalizer::Kind kind, float shift, const SoftmaxState& state,
                  float* rescale);
  /// output = output * rescale + weights^T values; without `rescale` the output is not read: nothing was accumulated
  /// before. `careful` skips pairs of weight 0, whose values may be anything.
  void (*accumulate)(float* output, int lanes, int64_t dim, const float* rescale, const float* weights,
                     const float* const* valueRows, int64_t keys, bool careful, const Ahead& ahead);
  /// The same for `count` <= width queries in the first of `width` lanes, from rows as they are stored. The output
  /// has a row a query, padded to whole vectors.
  void (*fewAccumulate)(float* output, int count, int64_t dim, const float* rescale, const float* weights,
                        const void* const* valueRows, Dtype dtype, int64_t keys, FewLayout layout, bool careful,
                        const Ahead& ahead);
  bool (*hasNaN)(const float* panel, int64_t count);
  /// left = left merged with right; output panels of `dim` rows. The one combine of partials.
  void (*merge)(float* leftOutput, const SoftmaxState& left, const float* rightOutput, const SoftmaxState& right,
                int lanes, int64_t dim);
  /// The same for outputs of fewAccumulate.
  void (*fewMerge)(float* leftOutput, const SoftmaxState& left, const float* rightOutput, const SoftmaxState& right,
                   int count, int64_t dim);
  /// rows[lane][d] = output * factor / denominator, 0 where the denominator is 0; lanes past `count` are dropped.
  void (*finish)(const float* output, int lanes, int64_t dim, const float* factor, const float* denominator,
                 void* const* rows, int count, Dtype dtype);
  /// The same for an output of fewAccumulate.
  void (*fewFinish)(const float* output, int64_t dim, const float* factor, const float* denominator, void* const* rows,
                    int count, Dtype dtype);
  /// Adds a tile's weights to a fold, or takes the larger ones; `reference` is that of the weights, one a lane.
  void (*fold)(const float* weights, int lanes, const Stretch* stretches, int64_t count, const float* reference,
               bool largest, const Fold& to);
  /// Puts those of a tile's weights that are above their lane's threshold among its largest; columns[key] are their
  /// own.
  void (*largest)(const float* weights, int lanes, const int32_t* columns, int64_t keys, const Largest& to);
  /// sums[key] = sum over lanes of weight * share; a lane of share 0 counts for nothing, whatever its weight is.
  void (*laneSums)(const float* weights, int lanes, int64_t keys, const float* shares, float* sums);
  /// Runs a program's code over a tile (bytecode.h); true where an index of a table read had to be clamped.
  bool (*runTile)(const TileRun& run);
};

/// targets/*.cc; null where the target is not compiled in.
const Kernels* portableKernels();
const Kernels* sse4Kernels();
const Kernels* avx2Kernels();
const Kernels* avx512Kernels();
const Kernels* neonKernels();

/// isa.cc: the table for an instruction set that this processor can run; throws CodedError when it cannot.
const Kernels& kernelsFor(Isa isa);

}  // namespace fused_attention
