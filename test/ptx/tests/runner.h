// Launches kernels of test/ptx/kernels on a device of the interpreter.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "launch.h"
#include "parser.h"
#include "test.h"

namespace fused_attention::ptx {

inline std::string readKernels(const std::string& name) {
  std::ifstream file(std::string(PTX_DIRECTORY) + "/" + name + ".ptx");
  if (!file) throw std::runtime_error("no " + name + ".ptx in " PTX_DIRECTORY);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

class Runner {
 public:
  explicit Runner(const std::string& kernels) : Runner(parseModule(readKernels(kernels))) {}
  explicit Runner(std::shared_ptr<const Module> module) : memory(uint64_t{1} << 30), image(std::move(module), memory) {}
  ~Runner() {
    // Whoever expects findings takes them.
    for (const Finding& finding : report.findings.list()) FAIL(text(finding));
  }

  template <class T>
  uint64_t upload(const std::vector<T>& values) {
    const uint64_t address = memory.allocate(values.size() * sizeof(T));
    std::memcpy(memory.find(address, values.size() * sizeof(T)), values.data(), values.size() * sizeof(T));
    return address;
  }
  template <class T>
  std::vector<T> download(uint64_t address, size_t count) {
    std::vector<T> values(count);
    std::memcpy(values.data(), memory.find(address, count * sizeof(T)), count * sizeof(T));
    return values;
  }

  template <class... Arguments>
  std::optional<FindingKind> launch(const std::string& kernel, Dim3 grid, Dim3 block, uint64_t shared,
                                    Arguments... arguments) {
    auto& program = programs_[kernel];
    if (!program) program = std::make_unique<Program>(image, kernel);
    void* pointers[] = {static_cast<void*>(&arguments)..., nullptr};
    Launch launch(*program, memory, report, options, grid, block, shared, packParameters(*program, pointers));
    return launch.run();
  }

  // How often a kind was found; they are forgotten then.
  uint64_t take(FindingKind kind) {
    const uint64_t count = report.findings.count(kind);
    const Findings all = report.findings;
    report.findings.clear();
    for (const Finding& finding : all.list()) {
      if (finding.kind != kind) report.findings.add(finding);
    }
    return count;
  }

  Memory memory;
  Report report;
  LaunchOptions options;
  Image image;

 private:
  std::map<std::string, std::unique_ptr<Program>> programs_;
};

}  // namespace fused_attention::ptx
