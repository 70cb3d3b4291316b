// ldmatrix, stmatrix and movmatrix of 8×8 matrices of 16-bit elements. Of one matrix, the lane l holds elements 2(l mod
// 4) and the next of row l div 4; transposed, of column l div 4. Lane 8m + r gives the address of row r of matrix m.
#include <bit>
#include <cstring>

#include "access.h"
#include "decoder.h"
#include "lanes.h"

namespace fused_attention::ptx {

namespace {

void checkWhole(Warp& warp, uint32_t mask) {
  if (mask != allLanes) {
    warp.report(FindingKind::DeadLane, "an aligned instruction of the whole warp without all of its lanes",
                std::countr_zero(~mask));
  }
}

uint16_t element(const LaneBytes& rows, int matrix, int row, int column) {
  uint16_t value;
  std::memcpy(&value, rows.bytes[8 * matrix + row] + 2 * column, 2);
  return value;
}

// refs: matrices, address.
void loadMatrices(Warp& warp, const Instruction& i, uint32_t mask) {
  checkWhole(warp, mask);
  uint64_t addresses[32];
  LaneBytes rows;
  laneAddresses(warp, i.refs[i.vector], i.offset, addresses);
  load(warp, i.space, addresses, 16, i.vector == 4 ? allLanes : (1u << (8 * i.vector)) - 1, rows);
  const bool transposed = i.mode != 0;
  for (int matrix = 0; matrix < i.vector; ++matrix) {
    eachLane(destination<uint32_t>(warp, i.refs[matrix]), mask, [&](int lane) {
      const int major = lane / 4, minor = 2 * (lane % 4);
      const uint32_t low = transposed ? element(rows, matrix, minor, major) : element(rows, matrix, major, minor);
      const uint32_t high =
          transposed ? element(rows, matrix, minor + 1, major) : element(rows, matrix, major, minor + 1);
      return low | high << 16;
    });
  }
}

// refs: address, matrices.
void storeMatrices(Warp& warp, const Instruction& i, uint32_t mask) {
  checkWhole(warp, mask);
  uint64_t addresses[32];
  LaneBytes rows;
  laneAddresses(warp, i.refs[0], i.offset, addresses);
  for (int matrix = 0; matrix < i.vector; ++matrix) {
    const uint32_t* from = source<uint32_t>(warp, i.refs[1 + matrix]);
    for (int lane = 0; lane < 32; ++lane) {
      for (int half = 0; half < 2; ++half) {
        const int major = lane / 4, minor = 2 * (lane % 4) + half;
        const uint16_t value = static_cast<uint16_t>(from[lane] >> (16 * half));
        const int row = i.mode != 0 ? minor : major, column = i.mode != 0 ? major : minor;
        std::memcpy(rows.bytes[8 * matrix + row] + 2 * column, &value, 2);
      }
    }
  }
  store(warp, i.space, addresses, 16, i.vector == 4 ? allLanes : (1u << (8 * i.vector)) - 1, rows);
}

void transpose(Warp& warp, const Instruction& i, uint32_t mask) {
  checkWhole(warp, mask);
  const uint32_t* from = source<uint32_t>(warp, i.refs[1]);
  const auto at = [&](int row, int column) { return from[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff; };
  uint32_t values[32];
  for (int lane = 0; lane < 32; ++lane) {
    const int row = lane / 4, column = 2 * (lane % 4);
    values[lane] = at(column, row) | at(column + 1, row) << 16;
  }
  eachLane(destination<uint32_t>(warp, i.refs[0]), mask, [&](int lane) { return values[lane]; });
}

bool isSupported(Decoder& d) {
  if (!d.has("m8n8") || !d.has("b16") || !d.has("aligned")) return false;
  d.out.vector = d.has("x4") ? 4 : d.has("x2") ? 2 : 1;
  d.out.mode = d.has("trans");
  d.out.space = d.has("shared") || d.has("shared::cta") ? Space::Shared : Space::Generic;
  d.out.collective = d.out.aligned = true;
  return true;
}

void decodeLdmatrix(Decoder& d) {
  if (!isSupported(d)) return;
  d.add(d.operand(0), Type::B32);
  d.addAddress(d.operand(1));
  d.setHandler(loadMatrices, InstructionClass::Matrix);
}

void decodeStmatrix(Decoder& d) {
  if (!isSupported(d)) return;
  d.addAddress(d.operand(0));
  d.add(d.operand(1), Type::B32);
  d.setHandler(storeMatrices, InstructionClass::Matrix);
}

void decodeMovmatrix(Decoder& d) {
  if (!isSupported(d) || !d.has("trans")) return;
  d.addAll(Type::B32);
  d.setHandler(transpose, InstructionClass::Matrix);
}

}  // namespace

void addMatrixDecoders(Decoders& list) {
  list["ldmatrix"] = decodeLdmatrix;
  list["stmatrix"] = decodeStmatrix;
  list["movmatrix"] = decodeMovmatrix;
}

}  // namespace fused_attention::ptx
