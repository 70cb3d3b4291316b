#include "torch.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

namespace fused_attention::bench {

namespace {

namespace fs = std::filesystem;

/// The lines that a command writes.
std::vector<std::string> linesOf(const std::string& command) {
  std::string text;
  if (std::FILE* const pipe = popen(command.c_str(), "r")) {
    char buffer[4096];
    while (const size_t count = std::fread(buffer, 1, sizeof buffer, pipe)) text.append(buffer, count);
    pclose(pipe);
  }
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

TorchTimes timeTorch(const std::vector<Case>& cases, double seconds) {
  const fs::path list = fs::temp_directory_path() / ("gpu-bench-cases-" + std::to_string(std::random_device()()));
  std::ofstream file(list);
  for (const Case& c : cases) {
    file << nameOf(c.dtype) << ' ' << c.batch << ' ' << c.headsQ << ' ' << c.headsKv << ' ' << c.queries << ' '
         << c.keys << ' ' << c.dim << ' ' << c.causal << '\n';
  }
  file.close();
  const char* const python = std::getenv("PYTHON");
  const std::string command = std::string(python == nullptr ? "python3" : python) + " '" + GPU_BENCH_TORCH_SCRIPT +
                              "' '" + list.string() + "' " + std::to_string(seconds);
  // "torch <version>", or the reason why not; then of each case its milliseconds, or "-".
  const std::vector<std::string> lines = linesOf(command);
  fs::remove(list);
  TorchTimes times;
  times.milliseconds.resize(cases.size());
  if (lines.empty()) {
    times.reason = "no " + command.substr(0, command.find(' '));
  } else if (lines[0].rfind("torch ", 0) != 0) {
    times.reason = lines[0];
  } else {
    times.who = lines[0];
    for (size_t n = 0; n < cases.size() && n + 1 < lines.size(); ++n) {
      if (lines[n + 1] != "-") times.milliseconds[n] = std::strtod(lines[n + 1].c_str(), nullptr);
    }
  }
  return times;
}

}  // namespace fused_attention::bench
