// Tile bytecode: the part of a program that depends on query and key together, as sweeps over a tile.
//
// An operand has one of three shapes. A *lane* vector holds one value a lane: what depends on the query, and where
// lanes are packed over query heads on the head. A *key* vector holds one value a key. A *panel* holds keys x lanes
// values, panel[key * lanes + lane]. Values are 32 bits: int32, float32, or a boolean, which is -1 or 0 in lane vectors
// and panels, 1 or 0 in key vectors. Whatever has only lanes is computed by the same instructions on tiles of one key.
//
// An instruction sweeps one strip of the tile: `handler` names operation and shapes of its operands, `out` is a panel
// register. Registers [0, inputs) are panels of the whole tile (the scores; mask tensors), the others are scratch as
// large as a strip. An operand may be the register that is written. Reads of tables clamp their indices; a strip where
// that was needed is reported.
//
//   operation              operands                       immediates
//   copy                   any shape
//   unary                  panel
//   binary                 two panels, or a panel or key with lanes or keys: shapesOf
//   ...Scaled              as without                     value: what the result is multiplied by
//   product...             a panel, panel or lanes, panel
//   select                 boolean, a, b of any shape
//   indexTwo               panel or other two             size[0], stride, size[1]: clamped a * stride + clamped b
//   readOne                panel index                    table, size[0]
//   readTwo                like indexTwo                  table, size[0], stride, size[1]
//   outside                panel index                    size[0]: boolean, whether a read there leaves the table
//   softcap                panel                          value: the cap
//   words                  any shape, boolean             bits of lanes to the words of keys instead of a register
#pragma once

#include <cstdint>

namespace fused_attention {

enum class Shape : uint8_t { panel = 0, lane = 1, key = 2 };

enum class TileOp : uint8_t {
  copy,
  // Integers.
  addInteger,
  subInteger,
  mulInteger,
  modInteger,
  floorDivInteger,
  ceilDivInteger,
  truncDivInteger,
  negInteger,
  absInteger,
  minInteger,
  maxInteger,
  signInteger,
  bitAnd,
  bitOr,
  bitXor,
  bitNot,
  shiftLeft,
  shiftRight,
  shiftRightLogical,
  ltInteger,
  leInteger,
  eqInteger,
  neInteger,
  toReal,
  differenceToReal,  // a - b, then to real
  distanceToReal,    // |a - b|, then to real
  // Reals.
  addReal,
  subReal,
  mulReal,
  divReal,
  negReal,
  absReal,
  minReal,
  maxReal,
  signReal,
  ltReal,
  leReal,
  eqReal,
  neReal,
  floorReal,
  ceilReal,
  truncReal,
  sqrtReal,
  expReal,
  logReal,
  log2Real,
  tanhReal,
  sinReal,
  cosReal,
  powReal,
  softcap,
  // Several roundings, one after the other, in one sweep.
  productPlus,   // a * b + c
  productMinus,  // a * b - c
  minusProduct,  // c - a * b
  addScaled,
  subScaled,
  mulScaled,
  productPlusScaled,
  productMinusScaled,
  minusProductScaled,
  // Booleans.
  notBoolean,
  andBoolean,
  orBoolean,
  eqBoolean,
  neBoolean,
  select,
  // Tables.
  indexTwo,
  readOne,
  readTwo,
  outside,
  words,
  count,
};

/// Which shapes an operation has handlers for. Operands of other shapes are copied to panels first.
enum class Shapes : uint8_t {
  any,          // one operand of any shape
  panels,       // panels only
  commutative,  // (panel, panel), (panel, lane), (panel, key), (lane, key): operands may be exchanged
  ordered,      // two of any shape, but not lane with lane (a tile of one key does it) or key with key
  divisor,      // (panel, panel), (panel, lane)
  product,      // the same, and a panel as the third
  select,       // three of any shape
};

constexpr Shapes shapesOf(TileOp op) {
  switch (op) {
    case TileOp::copy:
    case TileOp::words: return Shapes::any;
    case TileOp::addInteger:
    case TileOp::mulInteger:
    case TileOp::minInteger:
    case TileOp::maxInteger:
    case TileOp::bitAnd:
    case TileOp::bitOr:
    case TileOp::bitXor:
    case TileOp::eqInteger:
    case TileOp::neInteger:
    case TileOp::distanceToReal:
    case TileOp::addReal:
    case TileOp::mulReal:
    case TileOp::addScaled:
    case TileOp::mulScaled:
    case TileOp::minReal:
    case TileOp::maxReal:
    case TileOp::eqReal:
    case TileOp::neReal:
    case TileOp::andBoolean:
    case TileOp::orBoolean:
    case TileOp::eqBoolean:
    case TileOp::neBoolean: return Shapes::commutative;
    case TileOp::subInteger:
    case TileOp::ltInteger:
    case TileOp::leInteger:
    case TileOp::differenceToReal:
    case TileOp::subReal:
    case TileOp::subScaled:
    case TileOp::divReal:
    case TileOp::ltReal:
    case TileOp::leReal:
    case TileOp::indexTwo:
    case TileOp::readTwo: return Shapes::ordered;
    case TileOp::modInteger:
    case TileOp::floorDivInteger:
    case TileOp::ceilDivInteger:
    case TileOp::truncDivInteger: return Shapes::divisor;
    case TileOp::productPlus:
    case TileOp::productMinus:
    case TileOp::minusProduct:
    case TileOp::productPlusScaled:
    case TileOp::productMinusScaled:
    case TileOp::minusProductScaled: return Shapes::product;
    case TileOp::select: return Shapes::select;
    default: return Shapes::panels;
  }
}

constexpr uint16_t handlerOf(TileOp op, Shape a, Shape b = Shape::panel, Shape c = Shape::panel) {
  return uint16_t(int(op) * 27 + int(a) * 9 + int(b) * 3 + int(c));
}

inline constexpr int kHandlers = int(TileOp::count) * 27;

struct Instruction {
  uint16_t handler = 0;
  uint16_t out = 0, a = 0, b = 0, c = 0;  // registers of panels, indices of lane vectors or key vectors
  uint16_t table = 0;
  int32_t size[2] = {0, 0};
  int32_t stride = 0;
  float value = 0;

  TileOp op() const { return static_cast<TileOp>(handler / 27); }
  /// Another operation on operands of the same shapes.
  void become(TileOp other) { handler = uint16_t(handlerOf(other, Shape::panel) + handler % 27); }
};

/// One tile's run of a code. Pointers are to cells of 32 bits.
struct TileRun {
  const Instruction* code;
  int instructions;
  const int32_t* const* tables;
  int lanes;             // a multiple of the target's vectors
  int64_t keys;          // of the tile
  int64_t strip;         // keys of a strip
  float* const* inputs;  // panels of the tile
  int inputCount;
  float* scratch;                  // one strip for each other register
  const float* laneVectors;        // [vectors][lanes]
  const float* const* keyVectors;  // each from the tile's first key
  uint64_t* words;                 // what `words` writes, one a key; null where the code has none
};

}  // namespace fused_attention
