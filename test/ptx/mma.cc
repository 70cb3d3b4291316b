// mma.sync of f16, bf16 and tf32, with the fragment layouts of the PTX ISA ("Matrix Fragments for mma.m16n8k…").
//
// With g = lane div 4 and t = lane mod 4, rows are of A, C and D, columns of B, C and D:
//   C, D 16×8    element e of a lane: row g + 8 (e div 2), column 2t + e mod 2
//   A 16×k, halves    register r holds row g + 8 (r mod 2), columns 2t and 2t + 1, of columns 8 (r div 2) on
//   B k×8,  halves    register r holds rows 2t + 8r and the next one, column g
//   A 16×k, tf32      register r: row g + 8 (r mod 2), column t + 4 (r div 2)
//   B k×8,  tf32      register r: row t + 4r, column g
// Products are exact and summed in double, so that one rounding is left: hardware aligns and truncates, and is worse.
#include <bit>

#include "decoder.h"
#include "lanes.h"

namespace fused_attention::ptx {

namespace {

struct Tiles {
  double a[16][16], b[16][8], c[16][8];
};

template <class N>
void unpackHalves(uint32_t word, double& low, double& high) {
  low = toFloat(N{static_cast<uint16_t>(word)});
  high = toFloat(N{static_cast<uint16_t>(word >> 16)});
}

// The two halves of a register's lanes, each in a loop of its own so that it vectorises.
template <class N>
struct Halves {
  explicit Halves(const uint32_t* words) {
    for (int lane = 0; lane < 32; ++lane) low[lane] = toFloat(N{static_cast<uint16_t>(words[lane])});
    for (int lane = 0; lane < 32; ++lane) high[lane] = toFloat(N{static_cast<uint16_t>(words[lane] >> 16)});
  }
  float low[32], high[32];
};

template <class N>
void readHalves(const Warp& warp, const Ref* a, const Ref* b, int k, Tiles& tiles) {
  for (int r = 0; r < k / 4; ++r) {
    const Halves<N> halves(source<uint32_t>(warp, a[r]));
    for (int lane = 0; lane < 32; ++lane) {
      double* at = &tiles.a[lane / 4 + 8 * (r % 2)][2 * (lane % 4) + 8 * (r / 2)];
      at[0] = halves.low[lane];
      at[1] = halves.high[lane];
    }
  }
  for (int r = 0; r < k / 8; ++r) {
    const Halves<N> halves(source<uint32_t>(warp, b[r]));
    for (int lane = 0; lane < 32; ++lane) {
      const int row = 2 * (lane % 4) + 8 * r;
      tiles.b[row][lane / 4] = halves.low[lane];
      tiles.b[row + 1][lane / 4] = halves.high[lane];
    }
  }
}

// The lower 13 bits are ignored.
double tf32(uint32_t bits) { return std::bit_cast<float>(bits & ~0x1fffu); }

void readTf32(const Warp& warp, const Ref* a, const Ref* b, int k, Tiles& tiles) {
  for (int r = 0; r < k / 2; ++r) {
    const uint32_t* words = source<uint32_t>(warp, a[r]);
    for (int lane = 0; lane < 32; ++lane) tiles.a[lane / 4 + 8 * (r % 2)][lane % 4 + 4 * (r / 2)] = tf32(words[lane]);
  }
  for (int r = 0; r < k / 4; ++r) {
    const uint32_t* words = source<uint32_t>(warp, b[r]);
    for (int lane = 0; lane < 32; ++lane) tiles.b[lane % 4 + 4 * r][lane / 4] = tf32(words[lane]);
  }
}

// Element e of the fragment of C or D.
double& accumulator(Tiles& tiles, int lane, int e) { return tiles.c[lane / 4 + 8 * (e / 2)][2 * (lane % 4) + e % 2]; }

// Four rows at a time: their sums don't wait for each other.
void multiply(Tiles& tiles, int k) {
  for (int row = 0; row < 16; row += 4) {
    double sums[4][8] = {};
    for (int inner = 0; inner < k; ++inner) {
      for (int r = 0; r < 4; ++r) {
        const double a = tiles.a[row + r][inner];
        for (int column = 0; column < 8; ++column) sums[r][column] += a * tiles.b[inner][column];
      }
    }
    for (int r = 0; r < 4; ++r) {
      for (int column = 0; column < 8; ++column) tiles.c[row + r][column] += sums[r][column];
    }
  }
}

// refs: D, A, B, C. width: registers of A; vector: registers of C and D, 4 of f32 or 2 of pairs of f16; mode: k.
void mma(Warp& warp, const Instruction& i, uint32_t mask) {
  if (mask != allLanes) {
    warp.report(FindingKind::DeadLane, "an aligned instruction of the whole warp without all of its lanes",
                std::countr_zero(~mask));
  }
  const int accumulators = i.vector, k = i.mode;
  const Ref *d = i.refs, *a = d + accumulators, *b = a + i.width, *c = b + i.width / 2;
  Tiles tiles;
  if (i.type == Type::F16)
    readHalves<Float16>(warp, a, b, k, tiles);
  else if (i.type == Type::BF16)
    readHalves<BFloat16>(warp, a, b, k, tiles);
  else
    readTf32(warp, a, b, k, tiles);
  for (int r = 0; r < accumulators; ++r) {
    const uint32_t* words = source<uint32_t>(warp, c[r]);
    for (int lane = 0; lane < 32; ++lane) {
      if (accumulators == 4)
        accumulator(tiles, lane, r) = std::bit_cast<float>(words[lane]);
      else
        unpackHalves<Float16>(words[lane], accumulator(tiles, lane, 2 * r), accumulator(tiles, lane, 2 * r + 1));
    }
  }
  multiply(tiles, k);
  for (int r = 0; r < accumulators; ++r) {
    eachLane(destination<uint32_t>(warp, d[r]), mask, [&](int lane) {
      if (accumulators == 4) return std::bit_cast<uint32_t>(static_cast<float>(accumulator(tiles, lane, r)));
      return narrow<Float16>(accumulator(tiles, lane, 2 * r)).bits |
             static_cast<uint32_t>(narrow<Float16>(accumulator(tiles, lane, 2 * r + 1)).bits) << 16;
    });
  }
}

void decodeMma(Decoder& d) {
  if (!d.has("sync") || !d.has("row") || !d.has("col") || d.operands() != 4) return;
  const Type result = d.type(0), a = d.type(1), b = d.type(2), c = d.type(3);
  const bool halves = a == Type::F16 || a == Type::BF16;
  if (a != b || result != c || !(halves || a == Type::TF32)) return;
  if (result != Type::F32 && !(result == Type::F16 && a == Type::F16)) return;
  const int k = d.has("m16n8k16") ? 16 : d.has("m16n8k8") ? 8 : d.has("m16n8k4") ? 4 : 0;
  if (k == 0 || (halves ? k < 8 : k > 8)) return;
  d.out.type = a;
  d.out.mode = k;
  d.out.width = halves ? k / 4 : k / 2;
  d.out.vector = result == Type::F32 ? 4 : 2;
  for (int operand = 0; operand < 4; ++operand) d.add(d.operand(operand), operand == 3 ? result : Type::B32);
  if (d.out.count != 2 * d.out.vector + d.out.width + d.out.width / 2) return;
  d.out.collective = d.out.aligned = true;
  d.setHandler(mma, InstructionClass::Mma);
}

}  // namespace

void addMmaDecoders(Decoders& list) { list["mma"] = decodeMma; }

}  // namespace fused_attention::ptx
