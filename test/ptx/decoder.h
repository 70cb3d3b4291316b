// From a statement to a handler: what the families of instructions share when they decode their own.
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

#include "instruction.h"

namespace fused_attention::ptx {

class Program;

class Decoder {
 public:
  Decoder(Program& program, Instruction& out);

  Instruction& out;
  const Statement& statement;
  Program& program;
  std::vector<std::string_view> parts;  // of the opcode: "ld", "global", "v4", "f32"

  bool has(std::string_view modifier) const;
  // The i-th type among the modifiers, counted from the first; None when there are fewer.
  Type type(int i = 0) const;
  Type lastType() const;

  size_t operands() const { return statement.operands.size(); }
  const Operand& operand(size_t i) const { return statement.operands[i]; }

  // Appends an operand to the instruction's references; a constant is of `type`. Vectors give one each, in order.
  void add(const Operand& operand, Type type);
  void addAll(Type type) {
    for (const Operand& operand : statement.operands) add(operand, type);
  }
  // An address: its base is appended, its offset is out.offset. A symbol's space replaces a generic one.
  void addAddress(const Operand& operand);
  void setHandler(Handler handler, InstructionClass kind) {
    out.handler = handler;
    out.kind = kind;
  }

 private:
  Ref ref(const Operand& operand, Type type) const;
};

// Sets the handler, or leaves it null where the form is not supported.
using DecodeFunction = void (*)(Decoder&);
using Decoders = std::unordered_map<std::string_view, DecodeFunction>;

// Throws LaunchFault for what is not supported.
void decodeInstruction(Program& program, Instruction& instruction);

// add, mul and the like of floats, which share their opcodes with integers.
void decodeFloat(Decoder&);

// The families, each in its own file.
void addIntegerDecoders(Decoders&);
void addBitDecoders(Decoders&);
void addFloatDecoders(Decoders&);
void addCompareDecoders(Decoders&);
void addConvertDecoders(Decoders&);
void addMoveDecoders(Decoders&);
void addMemoryDecoders(Decoders&);
void addAtomicDecoders(Decoders&);
void addAsyncDecoders(Decoders&);
void addMatrixDecoders(Decoders&);
void addMmaDecoders(Decoders&);
void addExchangeDecoders(Decoders&);
void addControlDecoders(Decoders&);

}  // namespace fused_attention::ptx
