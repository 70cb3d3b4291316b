#include "program.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include "decoder.h"
#include "findings.h"

namespace fused_attention::ptx {

namespace {

uint64_t alignUp(uint64_t value, uint64_t alignment) { return (value + alignment - 1) / alignment * alignment; }

template <class Visit>
void eachSymbol(const Operand& operand, const Visit& visit) {
  if (!operand.symbol.empty() && operand.label < 0) visit(operand.symbol);
  for (const Operand& part : operand.parts) eachSymbol(part, visit);
}

}  // namespace

Image::Image(std::shared_ptr<const Module> module, Memory& memory) : module_(std::move(module)), memory_(memory) {
  for (const Variable& variable : module_->variables) {
    if (variable.space == Space::Shared) continue;
    const uint64_t address = memory_.allocate(std::max<int64_t>(variable.bytes, 1));
    if (address == 0) throw std::runtime_error("no memory for variable " + variable.name);
    uint8_t* data = memory_.find(address, variable.bytes);
    std::memset(data, 0, variable.bytes);
    std::memcpy(data, variable.initial.data(), std::min<size_t>(variable.initial.size(), variable.bytes));
    addresses_[variable.name] = address;
  }
  for (const Variable& variable : module_->variables) {
    for (const auto& relocation : variable.relocations) {
      const auto target = addresses_.find(relocation.symbol);
      if (target == addresses_.end()) throw std::runtime_error("no variable " + relocation.symbol);
      const uint64_t value = target->second + relocation.addend;
      std::memcpy(memory_.find(addresses_[variable.name] + relocation.offset, 8), &value, 8);
    }
  }
}

Image::~Image() {
  for (const auto& [name, address] : addresses_) memory_.release(address);
}

const Variable* Image::variable(const std::string& name) const {
  for (const Variable& variable : module_->variables) {
    if (variable.name == name) return &variable;
  }
  return nullptr;
}

Program::Program(const Image& image, const std::string& kernel) : image_(image) {
  const auto found = image.module().functions.find(kernel);
  if (found == image.module().functions.end() || !found->second.entry || !found->second.defined) {
    throw std::runtime_error("no kernel " + kernel);
  }
  entry_ = &found->second;
  collect(*entry_);
  for (const Variable& parameter : entry_->parameters) {
    kernelParameterBytes_ = alignUp(kernelParameterBytes_, parameter.alignment);
    parameterOffsets_.push_back(static_cast<int64_t>(kernelParameterBytes_));
    frames_[entry_].places[parameter.name] = {Space::Param, kernelParameterBytes_, parameter.bytes};
    kernelParameterBytes_ += parameter.bytes;
  }
  parameterBytes_ = 0;
  placeShared();
  for (const Function* function : functions_) {
    Frame& frame = frames_[function];
    frame.base = static_cast<uint32_t>(code_.size());
    placeVariables(*function, frame);
    for (const Statement& statement : function->statements) {
      Instruction instruction;
      instruction.statement = &statement;
      instruction.function = function;
      code_.push_back(instruction);
    }
    static const Statement end{"ret", -1, false, {}, 0};  // a body may end without one
    Instruction instruction;
    instruction.statement = &end;
    instruction.function = function;
    code_.push_back(instruction);
  }
  placeRegisters();
  findCellBytes();
}

void Program::collect(const Function& function) {
  if (std::find(functions_.begin(), functions_.end(), &function) != functions_.end()) return;
  functions_.push_back(&function);
  for (const Statement& statement : function.statements) {
    if (baseOpcode(statement.opcode) != "call") continue;
    for (const Operand& operand : statement.operands) {
      if (operand.kind != Operand::Symbol) continue;
      const auto callee = image_.module().functions.find(operand.symbol);
      if (callee != image_.module().functions.end() && callee->second.defined) collect(callee->second);
    }
  }
}

void Program::placeVariables(const Function& function, Frame& frame) {
  const auto place = [&](const Variable& variable, uint64_t& bytes, uint64_t origin) {
    bytes = alignUp(bytes, variable.alignment);
    frame.places[variable.name] = {variable.space, origin + bytes, variable.bytes};
    bytes += variable.bytes;
  };
  const uint64_t origin = parameterOrigin();
  if (!function.entry) {
    for (const Variable& variable : function.parameters) place(variable, parameterBytes_, origin);
    for (const Variable& variable : function.results) place(variable, parameterBytes_, origin);
  }
  for (const Variable& variable : function.variables) {
    if (variable.space == Space::Local) place(variable, localBytes_, 0);
    if (variable.space == Space::Param) place(variable, parameterBytes_, origin);
    if (variable.space == Space::Shared) place(variable, sharedBytes_, 0);
  }
}

void Program::placeShared() {
  std::map<std::string, bool> used;
  for (const Function* function : functions_) {
    for (const Statement& statement : function->statements) {
      for (const Operand& operand : statement.operands)
        eachSymbol(operand, [&](const std::string& s) { used[s] = true; });
    }
  }
  for (const Variable& variable : image_.module().variables) {
    if (variable.space != Space::Shared || variable.external || !used.contains(variable.name)) continue;
    sharedBytes_ = alignUp(sharedBytes_, variable.alignment);
    shared_[variable.name] = {Space::Shared, sharedBytes_, variable.bytes};
    sharedBytes_ += variable.bytes;
  }
  // Variables of the functions follow, and then what the launch brings: all external ones begin together.
  uint64_t end = sharedBytes_, alignment = 16;
  for (const Function* function : functions_) {
    for (const Variable& variable : function->variables) {
      if (variable.space == Space::Shared) end = alignUp(end, variable.alignment) + variable.bytes;
    }
  }
  for (const Variable& variable : image_.module().variables) {
    if (variable.external) alignment = std::max<uint64_t>(alignment, variable.alignment);
  }
  dynamicSharedOffset_ = alignUp(end, alignment);
  for (const Variable& variable : image_.module().variables) {
    if (variable.external) shared_[variable.name] = {Space::Shared, dynamicSharedOffset_, 0};
  }
}

void Program::placeRegisters() {
  std::map<const Function*, RegisterSlots> slots;
  uint32_t doubles = 0, words = 0, predicates = 0;
  for (const Function* function : functions_) {
    slots[function] = allocateRegisters(*function);
    doubles += slots[function].count[static_cast<int>(SlotKind::Double)];
    words += slots[function].count[static_cast<int>(SlotKind::Word)];
    predicates += slots[function].count[static_cast<int>(SlotKind::Predicate)];
  }
  std::map<std::string, SlotKind> specials;
  for (const Function* function : functions_) {
    for (const RegisterName& name : function->registers) {
      if (name.special) specials[name.name] = slotKindOf(name.type);
    }
  }
  for (const auto& [name, kind] : specials) ++(kind == SlotKind::Double ? doubles : words);

  uint32_t next[3];  // offset of the next slot, by kind
  next[static_cast<int>(SlotKind::Double)] = 0;
  next[static_cast<int>(SlotKind::Word)] = doubles * 256;
  next[static_cast<int>(SlotKind::Predicate)] = doubles * 256 + words * 128;
  registerBytes_ = doubles * 256 + words * 128 + predicates * 4;
  static constexpr uint32_t stride[3] = {4, 128, 256};
  const auto refAt = [&](SlotKind kind, int slot) {
    return Ref{nullptr, next[static_cast<int>(kind)] + slot * stride[static_cast<int>(kind)], kind, true, false};
  };
  std::map<std::string, Ref> specialRefs;
  for (const auto& [name, kind] : specials) {
    specialRefs[name] = refAt(kind, 0);
    next[static_cast<int>(kind)] += stride[static_cast<int>(kind)];
    specials_.push_back({name, specialRefs[name]});
  }
  for (const Function* function : functions_) {
    Frame& frame = frames_[function];
    for (size_t reg = 0; reg < function->registers.size(); ++reg) {
      const RegisterName& name = function->registers[reg];
      const SlotKind kind = slotKindOf(name.type);
      const int slot = slots[function].slot[reg];
      frame.registers.push_back(name.special ? specialRefs[name.name] : slot >= 0 ? refAt(kind, slot) : Ref{});
    }
    for (int kind = 0; kind < 3; ++kind) next[kind] += slots[function].count[kind] * stride[kind];
  }
}

void Program::findCellBytes() {
  for (const Instruction& instruction : code_) {
    const std::string_view opcode = instruction.statement->opcode, base = baseOpcode(opcode);
    if (base == "cp") {
      const auto& operands = instruction.statement->operands;
      if (operands.size() >= 3 && operands[2].kind == Operand::Integer) {
        cellBytes_ = std::min<int>(cellBytes_, static_cast<int>(operands[2].value));
      }
      continue;
    }
    if (base != "ld" && base != "st" && base != "atom" && base != "red") continue;
    const auto names = [&](std::string_view part) { return opcode.find(part) != std::string_view::npos; };
    if (names(".global") || names(".local") || names(".param") || names(".const")) continue;
    const int width = bytesOf(typeOf(opcode.substr(opcode.rfind('.') + 1))) * (names(".v4.")   ? 4
                                                                               : names(".v2.") ? 2
                                                                                               : 1);
    if (width > 0) cellBytes_ = std::min(cellBytes_, width);
  }
}

Ref Program::registerRef(const Function& function, int reg) const { return frames_.at(&function).registers[reg]; }

Ref Program::constant(uint64_t bits, SlotKind kind) {
  const auto [found, added] = constantRefs_.try_emplace({bits, kind});
  if (added) {
    std::array<uint64_t, 32>& lanes = constants_.emplace_back();
    for (int lane = 0; lane < 32; ++lane) {
      if (kind == SlotKind::Double) {
        lanes[lane] = bits;
      } else {
        reinterpret_cast<uint32_t*>(lanes.data())[lane] = static_cast<uint32_t>(bits);
      }
    }
    found->second = {lanes.data(), 0, kind, true, false};
  }
  return found->second;
}

Place Program::place(const Function& function, const std::string& symbol) const {
  const auto& places = frames_.at(&function).places;
  if (const auto found = places.find(symbol); found != places.end()) return found->second;
  if (const auto found = shared_.find(symbol); found != shared_.end()) return found->second;
  if (const auto found = image_.addresses().find(symbol); found != image_.addresses().end()) {
    return {Space::Global, found->second, image_.variable(symbol)->bytes};
  }
  throw LaunchFault(FindingKind::Unsupported, "no variable " + symbol);
}

uint32_t Program::entryOf(const std::string& function) const {
  for (const auto& [known, frame] : frames_) {
    if (known->name == function) return frame.base;
  }
  throw LaunchFault(FindingKind::Unsupported, "a call of " + function + ", which has no body here");
}

const CallFrame* Program::callFrame(const Function& caller, const Statement& call) {
  const Operand *results = nullptr, *arguments = nullptr, *name = nullptr;
  for (const Operand& operand : call.operands) {
    if (operand.kind == Operand::List) (name == nullptr ? results : arguments) = &operand;
    if (operand.kind == Operand::Symbol && name == nullptr) name = &operand;
  }
  if (name == nullptr) throw LaunchFault(FindingKind::Unsupported, "an indirect call");
  entryOf(name->symbol);
  const Function& callee = image_.module().functions.at(name->symbol);
  CallFrame frame;
  const auto match = [&](const Operand* list, const std::vector<Variable>& formals, bool results) {
    const size_t count = list == nullptr ? 0 : list->parts.size();
    if (count != formals.size())
      throw LaunchFault(FindingKind::Unsupported, "a call with other parameters than the function has");
    for (size_t i = 0; i < count; ++i) {
      if (list->parts[i].kind != Operand::Symbol)
        throw LaunchFault(FindingKind::Unsupported, "a call with a parameter that is no .param variable");
      const Place actual = place(caller, list->parts[i].symbol), formal = place(callee, formals[i].name);
      const int64_t bytes = std::min(actual.bytes, formal.bytes);
      if (results)
        frame.results.push_back({formal.address, actual.address, bytes});
      else
        frame.arguments.push_back({actual.address, formal.address, bytes});
    }
  };
  match(arguments, callee.parameters, false);
  match(results, callee.results, true);
  return &callFrames_.emplace_back(std::move(frame));
}

void Program::decode(Instruction& instruction) { decodeInstruction(*this, instruction); }

}  // namespace fused_attention::ptx
