// A program as it comes from lib/program: a typed graph in single assignment form, nodes after their operands.
//
// The numbers, in order (lib/program/encode.ts writes them):
//   version (1), kind (0 mask, 1 score), number of nodes, index of the result, number of number parameters, of tables,
//   of boolean grids,
//   number parameters: each its type (1 integer, 2 real)
//   tables: each type (1 integer, 2 real), rank (1 to 3)
//   nodes: each op, type (0 boolean, 1 integer, 2 real), three operands (-1: none), value
// `value` is a constant's value; of `parameter`, `table` and `grid` the index of what is read; 0 elsewhere.
#pragma once

#include <cstdint>
#include <vector>

namespace fused_attention {

enum class Type : uint8_t { boolean = 0, integer = 1, real = 2 };
enum class ProgramKind : uint8_t { mask = 0, score = 1 };

/// Integers are int32; an operation that may leave their range for the sequences of a call makes the call fail. Reals
/// are float32, each operation rounded once; masks only read and compare them.
enum class Op : uint8_t {
  constant = 0,
  parameter = 1,  // a number given with the program
  table = 2,      // element of a table; one integer operand for each axis
  grid = 3,       // mask tensor at (b, h, row, col); masks only
  // Where the pair is. Integers.
  i = 8,     // position of the query
  j = 9,     // position of the key
  row = 10,  // row of the query in its sequence
  col = 11,  // row of the key in its sequence
  b = 12,    // sequence of the batch
  h = 13,    // query head
  hkv = 14,  // key/value head
  nq = 15,   // queries of the sequence
  nkv = 16,  // keys of the sequence
  s = 17,    // the score so far, real; scores only
  // Arithmetic. Operands and result of one type, integer or real, unless said.
  add = 24,
  sub = 25,
  mul = 26,
  div = 27,       // real
  mod = 28,       // integer, sign of the dividend; a divisor that may be 0 makes the call fail
  floorDiv = 29,  // integer
  ceilDiv = 30,   // integer
  truncDiv = 31,  // integer
  neg = 32,
  abs = 33,
  min = 34,
  max = 35,
  sign = 36,
  // Integers, bit by bit. Shift counts are taken modulo 32.
  bitAnd = 40,
  bitOr = 41,
  bitXor = 42,
  bitNot = 43,
  shl = 44,
  shr = 45,   // arithmetic
  ushr = 46,  // logical; the result has to fit int32
  // Comparisons of two operands of one type, to a boolean. NaN as in IEEE 754.
  lt = 48,
  le = 49,
  eq = 50,  // also of booleans
  ne = 51,
  // Booleans.
  lnot = 56,
  land = 57,
  lor = 58,
  select = 59,  // (boolean, a, b): a where it holds, else b; of any type
  toReal = 60,  // integer to real, rounded
  // Reals, in scores only.
  floor = 64,
  ceil = 65,
  trunc = 66,
  exp = 67,
  log = 68,
  log2 = 69,
  sqrt = 70,
  tanh = 71,
  sin = 72,
  cos = 73,
  pow = 74,
};

struct Node {
  Op op = Op::constant;
  Type type = Type::integer;
  int args[3] = {-1, -1, -1};
  int arity = 0;
  double value = 0;
};

/// What a node's value depends on inside one sequence. b, nq and nkv are constants there.
enum Depends : uint8_t { onQuery = 1, onKey = 2, onHead = 4, onScore = 8, onGrid = 16 };

struct TableShape {
  Type type = Type::integer;
  int rank = 1;
};

/// Decoded and checked: operands come before their users, types fit, so that nothing which walks it has to ask again.
struct Graph {
  ProgramKind kind = ProgramKind::mask;
  std::vector<Node> nodes;
  std::vector<uint8_t> depends;  // of each node, bits of Depends
  int result = 0;
  std::vector<Type> numbers;
  std::vector<TableShape> tables;
  int grids = 0;
};

inline constexpr int kMostNodes = 4096;

class NumberReader;

/// Reads the numbers above; what follows them is left to the caller. Throws CodedError.
Graph readGraph(NumberReader& numbers);

}  // namespace fused_attention
