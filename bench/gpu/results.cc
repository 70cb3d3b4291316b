#include "results.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace fused_attention::bench {

namespace {

template <class... Arguments>
std::string format(const char* how, Arguments... arguments) {
  char text[512];
  std::snprintf(text, sizeof text, how, arguments...);
  return text;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + '"';
}

/// JSON has no infinity.
std::string number(double x) { return std::isfinite(x) ? format("%.6g", x) : "null"; }

std::string jsonOf(const Result& r) {
  const Case& c = r.what;
  std::string out =
      "{\"label\":" + quoted(c.label()) + ",\"dtype\":" + quoted(nameOf(c.dtype)) +
      format(",\"dim\":%lld,\"batch\":%lld,\"headsQ\":%lld,\"headsKv\":%lld,\"queries\":%lld",
             static_cast<long long>(c.dim), static_cast<long long>(c.batch), static_cast<long long>(c.headsQ),
             static_cast<long long>(c.headsKv), static_cast<long long>(c.queries)) +
      format(",\"keys\":%lld,\"causal\":%s", static_cast<long long>(c.keys), c.causal ? "true" : "false") +
      ",\"kernel\":" + quoted(r.kernel) + ",\"error\":" + number(r.error) + ",\"flops\":" + number(r.flops) +
      ",\"milliseconds\":[";
  for (size_t n = 0; n < r.milliseconds.size(); ++n) out.append(n == 0 ? "" : ",").append(number(r.milliseconds[n]));
  out += "],\"torchMilliseconds\":" + (r.torch ? number(*r.torch) : "null");
  if (!r.failed.empty()) out += ",\"failed\":" + quoted(r.failed);
  return out + "}";
}

std::string jsonOf(const std::vector<Result>& results) {
  std::string out = "[";
  for (const Result& r : results) out.append(out.size() == 1 ? "\n  " : ",\n  ").append(jsonOf(r));
  return out + "]";
}

std::string line(const Result& r) {
  const char* const row = "| %-46s | %-23s | %9s | %17s | %9s | %9s | %7s | %5s |\n";
  const std::string label = r.what.label();
  if (!r.right()) return format(row, label.c_str(), r.kernel.c_str(), "failed", "", "", "", "", "");
  const auto [low, high] = std::minmax_element(r.milliseconds.begin(), r.milliseconds.end());
  const std::string range = format("%.3f", *low) + "-" + format("%.3f", *high);
  const std::string torch = r.torch ? format("%.3f", *r.torch) : "", ours = format("%.3f", r.median());
  const std::string ratio = r.torch ? format("%.2f", *r.torch / r.median()) : "", error = format("%.2f", r.error);
  return format(row, label.c_str(), r.kernel.c_str(), ours.c_str(), range.c_str(),
                format("%.1f", r.teraflops()).c_str(), torch.c_str(), ratio.c_str(), error.c_str());
}

}  // namespace

double Result::median() const {
  std::vector<double> sorted = milliseconds;
  std::sort(sorted.begin(), sorted.end());
  const size_t n = sorted.size();
  return n == 0 ? 0 : (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

size_t Run::failures() const {
  const auto wrong = [](const std::vector<Result>& results) {
    return size_t(std::count_if(results.begin(), results.end(), [](const Result& r) { return !r.right(); }));
  };
  return wrong(checked) + wrong(timed);
}

std::string tableOf(const Run& run) {
  std::string out = format("\n%s; an empty call takes %.3f ms; PyTorch: %s\n\n", run.device.c_str(), run.emptyCall,
                           run.torch.c_str());
  out += format("| %-46s | %-23s | %9s | %17s | %9s | %9s | %7s | %5s |\n", "", "kernel", "ms", "range", "TFLOP/s",
                "torch ms", "/ours", "error");
  out += "|" + std::string(48, '-') + "|" + std::string(25, '-') + "|" + std::string(10, '-') + ":|" +
         std::string(18, '-') + ":|" + std::string(10, '-') + ":|" + std::string(10, '-') + ":|" + std::string(8, '-') +
         ":|" + std::string(6, '-') + ":|\n";
  for (const Result& r : run.timed) out += line(r);
  for (const std::vector<Result>* const results : {&run.checked, &run.timed}) {
    for (const Result& r : *results) {
      if (!r.failed.empty()) out += "failed: " + r.what.label() + ": " + r.failed + "\n";
      if (r.error > 1) out += format("wrong: %s: %.3g times the error allowed\n", r.what.label().c_str(), r.error);
    }
  }
  return out;
}

std::string jsonOf(const Run& run) {
  return "{\"device\":" + quoted(run.device) + ",\"emptyCall\":" + number(run.emptyCall) +
         ",\"torch\":" + quoted(run.torch) + ",\n \"checked\":" + jsonOf(run.checked) +
         ",\n \"timed\":" + jsonOf(run.timed) + "}\n";
}

}  // namespace fused_attention::bench
