// Checks and times the CUDA kernels on the first device, through the library's own plans and launches, without Node:
//   fused_attention_gpu_bench [--small] [--json FILE] [--only TEXT]
// The last line is "N passed, M failed"; the exit status is 1 when a result is wrong, 2 when there is no device.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>

#include "check.h"
#include "results.h"
#include "torch.h"

namespace fused_attention::bench {

namespace {

struct Options {
  bool small = false;
  std::string json = "gpu-bench.json", only;
};

using Clock = std::chrono::steady_clock;
double secondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Milliseconds of calls, each launched and waited for: five at least and a hundred at most; one where there is no
/// time.
std::vector<double> timesOf(const Call& call, double seconds) {
  const size_t least = seconds > 0 ? 5 : 1;
  for (size_t n = 0; n < least / 2; ++n) call.run();
  std::vector<double> times;
  const Clock::time_point first = Clock::now();
  while (times.size() < least || (times.size() < 100 && secondsSince(first) < seconds)) {
    const Clock::time_point start = Clock::now();
    call.run();
    times.push_back(secondsSince(start) * 1000);
  }
  return times;
}

/// Right before fast: as many rows are checked as `rows` says, and then `time` is asked for times.
Result resultOf(const Case& c, int64_t rows, const std::function<std::vector<double>(const Call&)>& time) {
  Result result{c, "", 0, 0, {}, "", {}};
  try {
    Call call(c);
    const Explanation explanation = call.explain();
    result.kernel = explanation.kernel;
    result.flops = explanation.flops;
    call.run();
    call.fetch();
    result.error = worstError(call, rows);
    if (result.right()) result.milliseconds = time(call);
  } catch (const std::exception& error) {
    result.failed = error.what();
  }
  const std::string verdict = !result.failed.empty() ? result.failed : result.right() ? "right" : "WRONG";
  std::fprintf(stderr, "%s: %s\n", c.label().c_str(), verdict.c_str());
  return result;
}

std::vector<Case> chosen(std::vector<Case> cases, const std::string& only) {
  std::erase_if(cases, [&](const Case& c) { return c.label().find(only) == std::string::npos; });
  return cases;
}

int run(const Options& options) {
  if (const char* path = std::getenv("FUSED_ATTENTION_LIBCUDA")) chooseCudaLibrary(path);
  const CudaInfo info = cudaInfo();
  if (info.devices.empty()) {
    std::fprintf(stderr, "no CUDA device: %s\n", info.reason.c_str());
    return 2;
  }
  const CudaInfo::Device& device = info.devices.front();
  Run all;
  all.device =
      device.name + ", compute capability " + std::to_string(device.major) + "." + std::to_string(device.minor);
  const double seconds = options.small ? 0 : 1;
  for (const Case& c : chosen(checkedCases(), options.only)) {
    all.checked.push_back(
        resultOf(c, c.batch * c.headsQ * c.queries, [](const Call&) { return std::vector<double>(); }));
  }
  const auto timed = [&](const Case& c) {
    return resultOf(c, 16, [&](const Call& call) { return timesOf(call, seconds); });
  };
  all.emptyCall = timed({Dtype::float16, 64, 1, 1, 1, 1, 1, false}).median();
  const std::vector<Case> cases = chosen(timedCases(options.small), options.only);
  for (const Case& c : cases) all.timed.push_back(timed(c));
  const TorchTimes torch = timeTorch(cases, seconds);
  all.torch = torch.who.empty() ? "skipped, " + torch.reason : torch.who;
  for (size_t n = 0; n < cases.size(); ++n) all.timed[n].torch = torch.milliseconds[n];

  std::fputs(tableOf(all).c_str(), stdout);
  std::ofstream(options.json) << jsonOf(all);
  const size_t failed = all.failures();
  std::printf("\n%zu passed, %zu failed\n", all.checked.size() + all.timed.size() - failed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace

}  // namespace fused_attention::bench

int main(int count, char** arguments) {
  fused_attention::bench::Options options;
  for (int n = 1; n < count; ++n) {
    const auto is = [&](const char* name) { return std::strcmp(arguments[n], name) == 0; };
    if (is("--small")) {
      options.small = true;
    } else if (is("--json") && n + 1 < count) {
      options.json = arguments[++n];
    } else if (is("--only") && n + 1 < count) {
      options.only = arguments[++n];
    } else {
      std::fprintf(stderr, "usage: %s [--small] [--json FILE] [--only TEXT]\n", arguments[0]);
      return 2;
    }
  }
  return fused_attention::bench::run(options);
}
