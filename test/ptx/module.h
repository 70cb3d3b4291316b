// A PTX module as parsed: variables, functions and their statements, none of them decoded yet.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "types.h"

namespace fused_attention::ptx {

enum class Space : uint8_t { Generic, Global, Const, Shared, Local, Param };

struct Variable {
  struct Relocation {
    int64_t offset;
    std::string symbol;
    int64_t addend;
  };
  std::string name;
  Space space = Space::Global;
  Type type = Type::B8;
  int alignment = 1;
  int64_t bytes = 0;
  bool external = false;  // of shared memory: its size comes with the launch
  std::vector<uint8_t> initial;
  std::vector<Relocation> relocations;
};

struct Operand {
  enum Kind { Register, Integer, Float, Symbol, Address, Vector, Pair, List, Sink } kind = Sink;
  bool negated = false;        // a predicate with !
  int reg = -1;                // Register, or the base of an Address
  std::string symbol;          // Symbol, or the base of an Address
  int64_t value = 0;           // Integer, offset of an Address or a Symbol, bits of a Float as a double
  int label = -1;              // statement that a Symbol names as a label
  std::vector<Operand> parts;  // Vector { }, Pair a|b, List ( )
};

struct Statement {
  std::string_view opcode;  // with its modifiers
  int guard = -1;           // register of the predicate
  bool guardNegated = false;
  std::vector<Operand> operands;
  int line = 0;
};

struct RegisterName {
  std::string name;
  Type type = Type::None;
  bool special = false;  // %tid.x and its like
};

struct Function {
  std::string name;
  bool entry = false;
  bool defined = false;
  std::vector<Variable> parameters, results;
  std::vector<Variable> variables;  // .local, .shared and .param ones of the body
  std::vector<RegisterName> registers;
  std::vector<Statement> statements;
  int maxThreads = 0;  // product of .maxntid or .reqntid, 0 when there is neither
  bool exactThreads = false;
};

struct Module {
  std::string source;  // the statements' opcodes point into it
  std::string version, target;
  std::vector<Variable> variables;
  std::map<std::string, Function> functions;

  Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
};

}  // namespace fused_attention::ptx
