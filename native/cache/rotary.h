// Rotary position embedding (RoFormer, Su et al. 2021): pairs of components turn by an angle that grows with the
// position, position * frequency, so that products of queries and keys depend on their distance.
#pragma once

#include <cstdint>
#include <vector>

namespace fused_attention {

struct Rotary {
  int64_t begin = 0;         // first component that turns
  bool interleaved = false;  // pairs (2f, 2f + 1); else (f, f + frequencies)
  std::vector<double> frequencies;

  bool none() const { return frequencies.empty(); }
  int64_t pairs() const { return int64_t(frequencies.size()); }
};

/// Cosines and sines of a position, one a frequency: computed in double, rounded once.
void angles(const Rotary& rotary, int64_t position, float* cosines, float* sines);

/// The angles of some tokens, of all sequences alike or of each its own.
struct Angles {
  int64_t first = 0, rows = 0, pairs = 0;  // tokens [first, first + rows)
  bool perSequence = false;
  std::vector<float> memory;  // [sequence][row]: cosines, then sines

  float* row(int64_t batch, int64_t token) {
    return memory.data() + ((perSequence ? batch * rows : 0) + token - first) * 2 * pairs;
  }
  const float* row(int64_t batch, int64_t token) const { return const_cast<Angles*>(this)->row(batch, token); }
};

/// Turns a row in place.
void turn(const Rotary& rotary, const float* cosines, const float* sines, float* row);
inline void turn(const Rotary& rotary, const float* angles, float* row) {
  turn(rotary, angles, angles + rotary.pairs(), row);
}

}  // namespace fused_attention
