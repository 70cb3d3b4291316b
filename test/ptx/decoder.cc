#include "decoder.h"

#include <bit>

#include "findings.h"
#include "half.h"
#include "program.h"

namespace fused_attention::ptx {

Decoder::Decoder(Program& program, Instruction& out) : out(out), statement(*out.statement), program(program) {
  std::string_view rest = statement.opcode;
  for (;;) {
    const size_t dot = rest.find('.');
    parts.push_back(rest.substr(0, dot));
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
}

bool Decoder::has(std::string_view modifier) const {
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i] == modifier) return true;
  }
  return false;
}

Type Decoder::type(int i) const {
  for (const std::string_view part : parts) {
    const Type found = typeOf(part);
    if (found != Type::None && i-- == 0) return found;
  }
  return Type::None;
}

Type Decoder::lastType() const {
  Type last = Type::None;
  for (const std::string_view part : parts) {
    if (const Type found = typeOf(part); found != Type::None) last = found;
  }
  return last;
}

Ref Decoder::ref(const Operand& operand, Type type) const {
  const SlotKind kind = slotKindOf(type);
  switch (operand.kind) {
    case Operand::Register: {
      Ref found = program.registerRef(*out.function, operand.reg);
      found.negated = operand.negated;
      return found;
    }
    case Operand::Integer: {
      const int bytes = bytesOf(type);
      const uint64_t bits = static_cast<uint64_t>(operand.value);
      if (type == Type::Pred) return program.constant(operand.value != 0 ? ~0u : 0u, SlotKind::Word);
      return program.constant(bytes >= 4 || bytes == 0 ? bits : bits & ((uint64_t{1} << (8 * bytes)) - 1), kind);
    }
    case Operand::Float: {
      const double value = std::bit_cast<double>(operand.value);
      if (bytesOf(type) == 8) return program.constant(static_cast<uint64_t>(operand.value), SlotKind::Double);
      return program.constant(std::bit_cast<uint32_t>(static_cast<float>(value)), SlotKind::Word);
    }
    case Operand::Symbol: {
      const uint64_t address = program.place(*out.function, operand.symbol).address + operand.value;
      return program.constant(address, kind);
    }
    case Operand::Sink: return {};
    default: throw LaunchFault(FindingKind::Unsupported, "an operand of this form");
  }
}

void Decoder::add(const Operand& operand, Type type) {
  if (operand.kind == Operand::Vector || operand.kind == Operand::Pair || operand.kind == Operand::List) {
    for (const Operand& part : operand.parts) add(part, type);
    return;
  }
  if (out.count == Instruction::maxRefs) throw LaunchFault(FindingKind::Unsupported, "too many operands");
  out.refs[out.count++] = ref(operand, type);
}

void Decoder::addAddress(const Operand& operand) {
  if (operand.kind != Operand::Address) throw LaunchFault(FindingKind::Unsupported, "an address was expected");
  out.offset = operand.value;
  Ref base = program.constant(0, SlotKind::Double);
  if (operand.reg >= 0) {
    base = program.registerRef(*out.function, operand.reg);
  } else if (!operand.symbol.empty()) {
    const Place place = program.place(*out.function, operand.symbol);
    base = program.constant(place.address, SlotKind::Double);
    if (out.space == Space::Generic) out.space = place.space;
  }
  if (out.count == Instruction::maxRefs) throw LaunchFault(FindingKind::Unsupported, "too many operands");
  out.refs[out.count++] = base;
}

namespace {

const Decoders& decoders() {
  static const Decoders all = [] {
    Decoders list;
    addIntegerDecoders(list);
    addBitDecoders(list);
    addFloatDecoders(list);
    addCompareDecoders(list);
    addConvertDecoders(list);
    addMoveDecoders(list);
    addMemoryDecoders(list);
    addAtomicDecoders(list);
    addAsyncDecoders(list);
    addMatrixDecoders(list);
    addMmaDecoders(list);
    addExchangeDecoders(list);
    addControlDecoders(list);
    return list;
  }();
  return all;
}

}  // namespace

void decodeInstruction(Program& program, Instruction& instruction) {
  Decoder decoder(program, instruction);
  const auto found = decoders().find(decoder.parts[0]);
  instruction.count = 0;
  if (found != decoders().end()) {
    if (instruction.statement->guard >= 0) {
      instruction.guard = program.registerRef(*instruction.function, instruction.statement->guard);
      instruction.guard.negated = instruction.statement->guardNegated;
    }
    found->second(decoder);
  }
  if (instruction.handler == nullptr) {
    throw LaunchFault(FindingKind::Unsupported, "unsupported opcode " + std::string(instruction.statement->opcode));
  }
}

}  // namespace fused_attention::ptx
