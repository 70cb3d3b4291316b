// What the parser takes and refuses, and how few slots registers need.
#include "parser.h"

#include "registers.h"
#include "runner.h"

using namespace fused_attention::ptx;

namespace {

const std::string header = ".version 8.0\n.target sm_80\n.address_size 64\n";

std::string errorOf(const std::string& source) {
  try {
    parseModule(source);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST(parser_reads_what_it_does_not_know) {
  const auto module = parseModule(header + R"(
    .file 1 "a.cu"
    .const .align 4 .b8 table[8] = {0, 0, 128, 63};
    .global .align 8 .u64 pointers[2] = {generic(table), table+4};
    .visible .entry kernel(.param .u64 .ptr .global .align 16 kernel_p, .param .align 4 .b8 kernel_q[12])
    .reqntid 64, 2
    .minnctapersm 2
    {
      .reg .pred %p<3>;
      .reg .b32 r, %x<4>; // a comment
      /* another
         one */
      .loc 1 2 3
      @!%p1 some.unknown.opcode::with.parts %x1|%p2, [r+-4], {%x2, _}, -5, 0f3F800000, !%p1;
      { .reg .b32 r; mov.b32 r, 1; $inner: bra $inner; }
      bra.uni $end;
    $end:
      ret;
    })");
  const Function& kernel = module->functions.at("kernel");
  CHECK_EQ(kernel.maxThreads, 128);
  CHECK_EQ(kernel.parameters.size(), 2u);
  CHECK_EQ(kernel.parameters[1].bytes, 12);
  CHECK_EQ(kernel.statements.size(), 5u);
  const Statement& unknown = kernel.statements[0];
  CHECK(unknown.guardNegated);
  CHECK_EQ(unknown.line, 17);
  CHECK_EQ(unknown.operands.size(), 6u);
  CHECK_EQ(unknown.operands[1].value, -4);
  CHECK_EQ(kernel.statements[2].operands[0].label, 2);
  CHECK_EQ(kernel.statements[3].operands[0].label, 4);
  CHECK(kernel.statements[1].operands[0].reg != unknown.operands[1].reg);  // the inner r
  CHECK_EQ(module->variables[1].relocations.size(), 2u);
  CHECK_EQ(module->variables[1].relocations[1].addend, 4);
}

TEST(parser_refuses_by_line) {
  CHECK(errorOf(header + ".visible .entry k() { mov.b32 %r1, ; }").find("line 4") != std::string::npos);
  CHECK(errorOf(header + "/* no end").find("comment") != std::string::npos);
  CHECK(errorOf(header + ".visible .entry k() { ret;").find("without its end") != std::string::npos);
  CHECK(errorOf(".address_size 32\n").find("64-bit") != std::string::npos);
}

TEST(registers_share_slots) {
  const auto module = parseModule(readKernels("matmul"));
  const Function& kernel = module->functions.at("matmulF16");
  const RegisterSlots slots = allocateRegisters(kernel);
  const int used = slots.count[0] + slots.count[1] + slots.count[2];
  CHECK(used * 3 < static_cast<int>(kernel.registers.size()));
}

TEST(registers_of_one_instruction_do_not_share) {
  const auto module = parseModule(header + R"(
    .visible .entry k() {
      .reg .b32 %a<6>;
      mov.b32 %a0, 1;
      mov.b32 %a1, 2;
      add.u32 %a2, %a0, %a1;
      add.u32 %a3, %a2, %a2;
      st.global.u32 [0], %a3;
      ret;
    })");
  const RegisterSlots slots = allocateRegisters(module->functions.at("k"));
  CHECK(slots.slot[2] != slots.slot[0] && slots.slot[2] != slots.slot[1]);
  CHECK(slots.slot[3] != slots.slot[2]);
  CHECK_EQ(slots.count[static_cast<int>(SlotKind::Word)], 3);
  CHECK_EQ(slots.slot[5], -1);  // never named
}
