#include "registers.h"

#include <algorithm>
#include <set>

namespace fused_attention::ptx {

SlotKind slotKindOf(Type type) {
  return type == Type::Pred ? SlotKind::Predicate : bytesOf(type) == 8 ? SlotKind::Double : SlotKind::Word;
}

std::string_view baseOpcode(std::string_view opcode) { return opcode.substr(0, opcode.find('.')); }

namespace {

// How many leading operands an instruction writes.
size_t destinations(const Statement& statement) {
  static const std::set<std::string_view> none = {"st",
                                                  "red",
                                                  "bra",
                                                  "brx",
                                                  "ret",
                                                  "exit",
                                                  "trap",
                                                  "brkpt",
                                                  "cp",
                                                  "membar",
                                                  "fence",
                                                  "prefetch",
                                                  "prefetchu",
                                                  "stmatrix",
                                                  "discard",
                                                  "nanosleep",
                                                  "applypriority",
                                                  "pmevent",
                                                  "griddepcontrol",
                                                  "setmaxnreg"};
  const std::string_view base = baseOpcode(statement.opcode);
  if (none.contains(base)) return 0;
  if (base == "bar" || base == "barrier") return statement.opcode.find(".red.") == std::string_view::npos ? 0 : 1;
  if (base == "call") return !statement.operands.empty() && statement.operands[0].kind == Operand::List ? 1 : 0;
  return 1;
}

template <class Visit>
void eachRegister(const Operand& operand, const Visit& visit) {
  if (operand.reg >= 0) visit(operand.reg);
  for (const Operand& part : operand.parts) eachRegister(part, visit);
}

// visit(register, written) for all registers of a statement. One written under a guard keeps its old value elsewhere.
template <class Visit>
void eachUse(const Statement& statement, const Visit& visit) {
  const size_t written = destinations(statement);
  for (size_t i = 0; i < statement.operands.size(); ++i) {
    eachRegister(statement.operands[i], [&](int reg) {
      if (i >= written || statement.guard >= 0) visit(reg, false);
      if (i < written) visit(reg, true);
    });
  }
  if (statement.guard >= 0) visit(statement.guard, false);
}

struct Block {
  int first, end;  // statements
  std::vector<int> successors;
  std::vector<uint64_t> use, define, in, out;  // sets of registers
};

bool test(const std::vector<uint64_t>& set, int reg) { return set[reg / 64] >> (reg % 64) & 1; }
void insert(std::vector<uint64_t>& set, int reg) { set[reg / 64] |= uint64_t{1} << (reg % 64); }

std::vector<Block> blocksOf(const Function& function) {
  const auto& statements = function.statements;
  const int count = static_cast<int>(statements.size());
  std::set<int> starts = {0};
  const auto jumps = [](const Statement& s) { return baseOpcode(s.opcode) == "bra"; };
  const auto ends = [](const Statement& s) {
    const std::string_view base = baseOpcode(s.opcode);
    return base == "ret" || base == "exit" || base == "trap";
  };
  for (int i = 0; i < count; ++i) {
    if (!jumps(statements[i]) && !ends(statements[i])) continue;
    starts.insert(i + 1);
    for (const Operand& operand : statements[i].operands) {
      if (operand.label >= 0) starts.insert(operand.label);
    }
  }
  std::vector<int> list;
  for (const int start : starts) {
    if (start < count) list.push_back(start);
  }
  const auto blockAt = [&](int statement) {
    return static_cast<int>(std::upper_bound(list.begin(), list.end(), statement) - list.begin()) - 1;
  };
  std::vector<Block> blocks;
  for (size_t b = 0; b < list.size(); ++b) {
    Block block{list[b], b + 1 < list.size() ? list[b + 1] : count, {}, {}, {}, {}, {}};
    const Statement& last = statements[block.end - 1];
    if (jumps(last) && !last.operands.empty() && last.operands[0].label >= 0 && last.operands[0].label < count) {
      block.successors.push_back(blockAt(last.operands[0].label));
    }
    const bool falls = last.guard >= 0 || !(jumps(last) || ends(last));
    if (falls && block.end < count) block.successors.push_back(blockAt(block.end));
    blocks.push_back(std::move(block));
  }
  return blocks;
}

void solve(const Function& function, std::vector<Block>& blocks) {
  const size_t words = (function.registers.size() + 63) / 64;
  for (Block& block : blocks) {
    block.use.assign(words, 0);
    block.define = block.out = block.use;
    for (int i = block.first; i < block.end; ++i) {
      eachUse(function.statements[i], [&](int reg, bool written) {
        if (!written && !test(block.define, reg)) insert(block.use, reg);
      });
      eachUse(function.statements[i], [&](int reg, bool written) {
        if (written) insert(block.define, reg);
      });
    }
    block.in = block.use;
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t b = blocks.size(); b-- > 0;) {
      Block& block = blocks[b];
      for (const int successor : block.successors) {
        for (size_t w = 0; w < words; ++w) block.out[w] |= blocks[successor].in[w];
      }
      for (size_t w = 0; w < words; ++w) {
        const uint64_t in = block.use[w] | (block.out[w] & ~block.define[w]);
        changed |= in != block.in[w];
        block.in[w] = in;
      }
    }
  }
}

}  // namespace

RegisterSlots allocateRegisters(const Function& function) {
  struct Interval {
    int first = 1 << 30, last = -1;
  };
  const int registers = static_cast<int>(function.registers.size());
  std::vector<Block> blocks = blocksOf(function);
  solve(function, blocks);
  std::vector<Interval> intervals(registers);
  const auto extend = [&](int reg, int at) {
    intervals[reg].first = std::min(intervals[reg].first, at);
    intervals[reg].last = std::max(intervals[reg].last, at);
  };
  for (const Block& block : blocks) {
    for (int reg = 0; reg < registers; ++reg) {
      if (test(block.in, reg)) extend(reg, block.first);
      if (test(block.out, reg)) extend(reg, block.end - 1);
    }
    for (int i = block.first; i < block.end; ++i) {
      eachUse(function.statements[i], [&](int reg, bool) { extend(reg, i); });
    }
  }

  RegisterSlots slots;
  slots.slot.assign(registers, -1);
  std::vector<int> order;
  for (int reg = 0; reg < registers; ++reg) {
    if (intervals[reg].last >= 0 && !function.registers[reg].special) order.push_back(reg);
  }
  std::sort(order.begin(), order.end(), [&](int a, int b) { return intervals[a].first < intervals[b].first; });
  std::set<std::pair<int, int>> active[3];  // last statement, slot
  std::set<int> unused[3];
  for (const int reg : order) {
    const int kind = static_cast<int>(slotKindOf(function.registers[reg].type));
    while (!active[kind].empty() && active[kind].begin()->first < intervals[reg].first) {
      unused[kind].insert(active[kind].begin()->second);
      active[kind].erase(active[kind].begin());
    }
    if (unused[kind].empty()) unused[kind].insert(slots.count[kind]++);
    slots.slot[reg] = *unused[kind].begin();
    unused[kind].erase(unused[kind].begin());
    active[kind].insert({intervals[reg].last, slots.slot[reg]});
  }
  return slots;
}

}  // namespace fused_attention::ptx
