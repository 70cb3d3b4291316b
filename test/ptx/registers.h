// Virtual registers to slots by liveness: thousands of them share the few hundred slots that are live at once.
#pragma once

#include <string_view>
#include <vector>

#include "module.h"

namespace fused_attention::ptx {

enum class SlotKind : uint8_t { Predicate, Word, Double };  // one bit, 32 bits, 64 bits a lane

SlotKind slotKindOf(Type type);

struct RegisterSlots {
  std::vector<int> slot;     // by register, among the slots of its kind; -1 for special ones and those never named
  int count[3] = {0, 0, 0};  // by kind
};

// A destination never shares a slot with a source of the same instruction, so handlers may write before they have read
// all.
RegisterSlots allocateRegisters(const Function& function);

// The opcode without modifiers.
std::string_view baseOpcode(std::string_view opcode);

}  // namespace fused_attention::ptx
