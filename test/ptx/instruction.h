// A decoded instruction: a handler and the places of its operands.
#pragma once

#include <cstdint>
#include <vector>

#include "counters.h"
#include "module.h"
#include "registers.h"
#include "types.h"

namespace fused_attention::ptx {

class Warp;
struct Instruction;

// Executes the instruction for the lanes of `mask`, never none. Handlers of control flow move the warp's fragments
// themselves and see an empty mask too.
using Handler = void (*)(Warp&, const Instruction&, uint32_t mask);

// 32 lanes of a value: a slot of the warp's registers, or a constant. Absent ones (`_`) have no kind.
struct Ref {
  const void* constant = nullptr;
  uint32_t offset = 0;  // in the warp's registers, bytes
  SlotKind kind = SlotKind::Word;
  bool present = false;
  bool negated = false;  // a predicate with !
};

// What a call copies between the .param variables of its two sides, a lane each.
struct CallFrame {
  struct Copy {
    uint64_t from, to;
    int64_t bytes;
  };
  std::vector<Copy> arguments, results;
};

struct Instruction {
  static constexpr int maxRefs = 20;

  Handler handler = nullptr;  // null until first executed
  Ref refs[maxRefs];
  int count = 0;
  Ref guard;
  bool control = false;     // the handler moves the program counter
  bool collective = false;  // waits for the other lanes of the warp that take part
  bool aligned = false;     // a collective of all live lanes; else refs[membership] says which
  int membership = 0;
  InstructionClass kind = InstructionClass::Other;

  // What handlers need besides, by their own meaning.
  Space space = Space::Generic;
  Type type = Type::None;
  int vector = 1;      // elements a lane
  int width = 0;       // bytes of an element
  int64_t offset = 0;  // of an address
  int mode = 0;
  uint32_t target = 0;  // program counter
  const CallFrame* call = nullptr;
  const Statement* statement = nullptr;
  const Function* function = nullptr;
};

}  // namespace fused_attention::ptx
