#include "launch.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <deque>
#include <memory>
#include <numeric>

#include "block.h"

namespace fused_attention::ptx {

namespace {

uint64_t launches = 0;

// A block that has run so long without an end may spin until one that has not begun does something.
constexpr uint64_t patience = 200'000;
constexpr size_t mostResident = 256;

// Of this thread, so that what else the machine does takes no time off a launch.
double processorSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

std::string Report::json() const {
  std::string out = "{\"findings\":" + findings.json() + ",\"kernels\":{";
  bool first = true;
  for (const auto& [kernel, counters] : this->counters) {
    if (!first) out += ',';
    out += quoted(kernel) + ':' + counters.json();
    first = false;
  }
  return out + "}}";
}

Launch::Launch(Program& program, Memory& memory, Report& report, const LaunchOptions& options, Dim3 grid, Dim3 block,
               uint64_t dynamicSharedBytes, std::vector<uint8_t> parameters)
    : program(program),
      memory(memory),
      findings(report.findings),
      options(options),
      grid(grid),
      block(block),
      dynamicSharedBytes(dynamicSharedBytes),
      parameters(std::move(parameters)),
      id(++launches),
      report_(report),
      state_(options.seed * 0x9e3779b97f4a7c15 + 1),
      start_(processorSeconds()) {}

uint32_t Launch::random(uint32_t bound) {
  state_ = state_ * 6364136223846793005 + 1442695040888963407;
  return static_cast<uint32_t>((state_ >> 33) % bound);
}

void Launch::checkTime() const {
  if (processorSeconds() - start_ > options.seconds) {
    throw LaunchFault(FindingKind::TimeLimit, "the launch ran for more than " + std::to_string(options.seconds) + " s");
  }
}

std::optional<FindingKind> Launch::run() {
  counters.launches = 1;
  std::optional<FindingKind> fault;
  const auto note = [&](FindingKind kind, const std::string& message) {
    Finding finding;
    finding.kind = kind;
    finding.message = message;
    finding.kernel = program.name();
    findings.add(std::move(finding));
    fault = kind;
  };
  const uint64_t threads = block.count();
  if (threads == 0 || threads > 1024 || grid.count() == 0 ||
      (program.maxThreads() > 0 && threads > static_cast<uint64_t>(program.maxThreads()))) {
    note(FindingKind::InvalidLaunch, "a grid or a block of a size that the kernel does not take");
    return fault;
  }
  try {
    runBlocks();
  } catch (const LaunchFault& ended) {
    fault = ended.kind;
    if (ended.kind == FindingKind::TimeLimit) note(ended.kind, ended.what());
  }
  report_.counters[program.name()] += counters;
  return fault;
}

void Launch::runBlocks() {
  std::vector<uint64_t> order(grid.count());
  std::iota(order.begin(), order.end(), 0);
  if (options.seed != 0) {
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random(static_cast<uint32_t>(i))]);
  }
  size_t next = 0;
  std::deque<std::unique_ptr<Block>> resident;
  while (next < order.size() || !resident.empty()) {
    if (resident.empty()) resident.push_back(std::make_unique<Block>(*this, order[next++]));
    const size_t turns = resident.size();
    for (size_t i = 0; i < turns; ++i) {
      std::unique_ptr<Block> block = std::move(resident.front());
      resident.pop_front();
      if (block->run(patience) == Block::State::Unfinished) resident.push_back(std::move(block));
      checkTime();
    }
    if (!resident.empty() && next < order.size() && resident.size() < mostResident) {
      resident.push_back(std::make_unique<Block>(*this, order[next++]));
    }
  }
}

std::vector<uint8_t> packParameters(const Program& program, void* const* parameters) {
  std::vector<uint8_t> bytes(program.kernelParameterBytes());
  const auto& list = program.entry().parameters;
  for (size_t i = 0; i < list.size(); ++i) {
    std::memcpy(bytes.data() + program.kernelParameterOffsets()[i], parameters[i], list[i].bytes);
  }
  return bytes;
}

}  // namespace fused_attention::ptx
