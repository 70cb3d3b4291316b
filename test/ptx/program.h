// A kernel with the functions it calls, laid out as one list of instructions over one set of slots.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "instruction.h"
#include "memory.h"
#include "module.h"

namespace fused_attention::ptx {

// A module with its variables in a device's memory.
class Image {
 public:
  // Throws std::runtime_error when the module names what it does not have, or the device has no room.
  Image(std::shared_ptr<const Module> module, Memory& memory);
  ~Image();
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  const Module& module() const { return *module_; }
  const std::map<std::string, uint64_t>& addresses() const { return addresses_; }
  const Variable* variable(const std::string& name) const;

 private:
  std::shared_ptr<const Module> module_;
  Memory& memory_;
  std::map<std::string, uint64_t> addresses_;
};

struct Place {
  Space space;
  uint64_t address;
  int64_t bytes;
};

class Program {
 public:
  // Throws std::runtime_error when there is no such kernel.
  Program(const Image& image, const std::string& kernel);

  const Function& entry() const { return *entry_; }
  const std::string& name() const { return entry_->name; }
  size_t size() const { return code_.size(); }

  // The instruction at a program counter, decoded when first asked for. Throws LaunchFault for an unsupported one.
  Instruction& at(uint32_t pc) {
    Instruction& instruction = code_[pc];
    if (instruction.handler == nullptr) decode(instruction);
    return instruction;
  }
  const Instruction& undecoded(uint32_t pc) const { return code_[pc]; }

  uint32_t registerBytes() const { return registerBytes_; }
  uint64_t staticSharedBytes() const { return sharedBytes_; }
  uint64_t dynamicSharedOffset() const { return dynamicSharedOffset_; }
  uint64_t localBytes() const { return localBytes_; }
  uint64_t kernelParameterBytes() const { return kernelParameterBytes_; }
  uint64_t parameterBytes() const { return parameterBytes_; }                          // of functions, a lane
  uint64_t parameterOrigin() const { return (kernelParameterBytes_ + 15) / 16 * 16; }  // where those begin
  int cellBytes() const { return cellBytes_; }  // the smallest access to shared memory
  int maxThreads() const { return entry_->maxThreads; }
  const std::vector<std::pair<std::string, Ref>>& specials() const { return specials_; }
  const std::vector<int64_t>& kernelParameterOffsets() const { return parameterOffsets_; }

  // For decoders.
  Ref registerRef(const Function& function, int reg) const;
  Ref constant(uint64_t bits, SlotKind kind);
  Place place(const Function& function, const std::string& symbol) const;
  uint32_t baseOf(const Function& function) const { return frames_.at(&function).base; }
  uint32_t entryOf(const std::string& function) const;  // throws LaunchFault when it has no body
  const Image& image() const { return image_; }
  // Throws LaunchFault where the call's lists don't fit the function.
  const CallFrame* callFrame(const Function& caller, const Statement& call);

 private:
  struct Frame {
    uint32_t base = 0;  // program counter
    std::vector<Ref> registers;
    std::map<std::string, Place> places;
  };

  void collect(const Function& function);
  void placeVariables(const Function& function, Frame& frame);
  void placeShared();
  void placeRegisters();
  void findCellBytes();
  void decode(Instruction& instruction);

  const Image& image_;
  const Function* entry_;
  std::vector<const Function*> functions_;  // callers before those they call
  std::map<const Function*, Frame> frames_;
  std::vector<Instruction> code_;
  std::vector<std::pair<std::string, Ref>> specials_;
  std::map<std::string, Place> shared_;  // of the module
  std::deque<std::array<uint64_t, 32>> constants_;
  std::map<std::pair<uint64_t, SlotKind>, Ref> constantRefs_;
  std::deque<CallFrame> callFrames_;
  std::vector<int64_t> parameterOffsets_;
  uint32_t registerBytes_ = 0;
  uint64_t sharedBytes_ = 0, dynamicSharedOffset_ = 0, localBytes_ = 0, kernelParameterBytes_ = 0, parameterBytes_ = 0;
  int cellBytes_ = 16;
};

}  // namespace fused_attention::ptx
