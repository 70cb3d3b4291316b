// The two products of a warp and a tile, in fragments: scores from queries and keys, outputs from weights and values.
#pragma once

#include <cstdint>
#include <type_traits>

#include "instructions.cuh"
#include "tiles.cuh"

namespace fused_attention::cuda {

/// The queries of a warp, a part of 16 rows and a step of 32 bytes at a time: held in registers, or read from shared
/// memory whenever they are asked for.
template <class Rows, int parts, bool held>
class QueryFragments {
 public:
  static constexpr int steps = Rows::pieces / 2;

  /// `at`: where the lane reads the first ones.
  __device__ __forceinline__ void load(uint32_t at, uint32_t flip) {
    at_ = at;
    flip_ = flip;
    if constexpr (held) {
      unrolled<parts>([&](auto part) { unrolled<steps>([&](auto k) { read<part, k>(fragments_[part][k]); }); });
    }
  }
  template <int part, int k>
  __device__ __forceinline__ void get(uint32_t (&to)[4]) const {
    if constexpr (held) {
      for (int n = 0; n < 4; ++n) to[n] = fragments_[part][k][n];
    } else {
      read<part, k>(to);
    }
  }

 private:
  template <int part, int k>
  __device__ __forceinline__ void read(uint32_t (&to)[4]) const {
    loadMatrices<Rows::bytesOf(16 * part)>(to, Rows::along(at_, 2 * k));
    for (uint32_t& word : to) word ^= flip_;
  }

  uint32_t at_, flip_;
  uint32_t fragments_[held ? parts : 1][held ? steps : 1][4];
};

/// Of `parts` times 16 rows, of which a lane has rows lane / 4 and lane / 4 + 8.
template <class Type, int dim, int keys, int parts, bool held>
class Products {
 public:
  static constexpr int scoreTiles = keys / 8;  // accumulators of scores, each of 8 keys
  static constexpr int outputTiles = dim / 8;
  using Rows = Tile<dim * Type::bytes>;

  /// The warp's queries lie at `queries`.
  __device__ __forceinline__ void load(uint32_t queries, uint32_t flip) {
    const int lane = threadIdx.x % 32;
    keyAt_ = Rows::offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
    const uint32_t queryAt = Rows::offset(lane % 16, lane / 16);
    valueAt_ = halves ? queryAt : Rows::offset(lane % 4 * 2, lane / 16) + lane / 4 % 4 * 4;
    // Else they are worked out anew for every tile.
    asm volatile("" : "+r"(keyAt_), "+r"(valueAt_));
    queries_.load(queries + queryAt, flip);
  }

  /// Whether queries of so many components are a single step, which has a way of its own.
  static __device__ __forceinline__ bool isStep(int components) {
    return std::is_same_v<Type, Float32> && components <= 8;
  }
  /// The scores of such queries: a row of few products is only as good as their sum is.
  __device__ __forceinline__ void scoresOfStep(float (&to)[parts][scoreTiles][4], uint32_t keyTile) const {
    if constexpr (std::is_same_v<Type, Float32>) {
      unrolled<parts>([&](auto part) {
        uint32_t fragment[4];
        queries_.template get<part, 0>(fragment);
        const WholeFloats<4> query(fragment);
        unrolled<scoreTiles / 2>([&](auto pair) {
          uint32_t key[4];
          loadMatrices<Rows::bytesOf(16 * pair)>(key, keyTile + keyAt_);
          for (int n = 0; n < 2; ++n) {
            multiplyWhole(to[part][2 * pair + n], query, WholeFloats<2>({key[2 * n], key[2 * n + 1]}));
          }
        });
      });
    }
  }

  __device__ __forceinline__ void scores(float (&to)[parts][scoreTiles][4], uint32_t keyTile) const {
    const float zero[4] = {};
    unrolled<Queries::steps>([&](auto k) {
      Left<Type> query[parts];
      unrolled<parts>([&](auto part) {
        uint32_t fragment[4];
        queries_.template get<part, k>(fragment);
        query[part] = Left<Type>(fragment);
      });
      const uint32_t at = Rows::along(keyTile + keyAt_, 2 * k);
      unrolled<scoreTiles / 2>([&](auto pair) {
        uint32_t key[4];
        loadMatrices<Rows::bytesOf(16 * pair)>(key, at);
        for (int n = 0; n < 2; ++n) {
          const Right<Type> right(key[2 * n], key[2 * n + 1]);
          for (int part = 0; part < parts; ++part) {
            float(&sums)[4] = to[part][2 * pair + n];
            const float(&before)[4] = k == 0 ? zero : const_cast<const float(&)[4]>(sums);
            if constexpr (dim <= 64) {
              multiplyExactly(sums, query[part], right, before);
            } else {
              multiply(sums, query[part], right, before);
            }
          }
        }
      });
    });
  }

  /// Adds to `sums`.
  __device__ __forceinline__ void outputs(float (&sums)[parts][outputTiles][4],
                                          const float (&weights)[parts][scoreTiles][4], uint32_t valueTile) const {
    Left<Type> left[parts][weightSteps];
    unrolled<parts>([&](auto part) {
      for (int step = 0; step < weightSteps; ++step) left[part][step] = leftOf(weights[part], step);
    });
    unrolled<Rows::pieces / 2>([&](auto d) {
      const uint32_t at = Rows::along(valueTile + valueAt_, 2 * d);
      unrolled<weightSteps>([&](auto step) {
        if constexpr (halves) {
          uint32_t value[4];
          loadTransposed<Rows::bytesOf(16 * step)>(value, at);
          for (int n = 0; n < 2; ++n) add(sums, left, step, 2 * d + n, Right<Type>(value[2 * n], value[2 * n + 1]));
        } else {
          // Of rows 2 (lane % 4) and the next one, whose pieces are permuted into each other.
          constexpr int row = 8 * step;
          add(sums, left, step, d,
              Right<Type>(loadShared<Rows::bytesOf(row)>(at), loadShared<Rows::bytesOf(row + 1)>(Rows::along(at, 1))));
        }
      });
    });
  }

 private:
  using Queries = QueryFragments<Rows, parts, held>;
  static constexpr bool halves = Type::bytes == 2;
  static constexpr int weightSteps = halves ? scoreTiles / 2 : scoreTiles;  // of keys that are multiplied at a time

  /// Weights as the left operand. The order of keys in a step is free where values follow it: float32 takes first the
  /// even ones, so that they are where the scores left them.
  static __device__ __forceinline__ Left<Type> leftOf(const float (&w)[scoreTiles][4], int step) {
    uint32_t words[4];
    if constexpr (halves) {
      for (int n = 0; n < 4; ++n) {
        const float(&tile)[4] = w[2 * step + n / 2];
        words[n] = rounded(Type(), tile[n % 2 * 2], tile[n % 2 * 2 + 1]);
      }
    } else {
      for (int n = 0; n < 4; ++n) words[n] = __float_as_uint(w[step][n % 2 * 2 + n / 2]);
    }
    return Left<Type>(words);
  }

  static __device__ __forceinline__ void add(float (&sums)[parts][outputTiles][4],
                                             const Left<Type> (&left)[parts][weightSteps], int step, int tile,
                                             const Right<Type>& right) {
    for (int part = 0; part < parts; ++part) multiply(sums[part][tile], left[part][step], right, sums[part][tile]);
  }

  Queries queries_;
  uint32_t keyAt_, valueAt_;  // where in a tile the lane reads first
};

}  // namespace fused_attention::cuda
