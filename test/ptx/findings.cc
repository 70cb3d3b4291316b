#include "findings.h"

#include <cstdio>

namespace fused_attention::ptx {

const char* nameOf(FindingKind kind) {
  switch (kind) {
    case FindingKind::OutOfBounds: return "out of bounds";
    case FindingKind::Misaligned: return "misaligned";
    case FindingKind::Uninitialized: return "uninitialized";
    case FindingKind::InFlight: return "in flight";
    case FindingKind::Race: return "race";
    case FindingKind::DivergentBarrier: return "divergent barrier";
    case FindingKind::DivergentCollective: return "divergent collective";
    case FindingKind::DeadLane: return "dead lane";
    case FindingKind::LaneConflict: return "lane conflict";
    case FindingKind::Deadlock: return "deadlock";
    case FindingKind::TimeLimit: return "time limit";
    case FindingKind::Unsupported: return "unsupported";
    case FindingKind::Trap: return "trap";
    case FindingKind::InvalidLaunch: return "invalid launch";
  }
  return "unknown";
}

void Findings::add(Finding finding) {
  for (Finding& known : list_) {
    if (known.kind == finding.kind && known.line == finding.line && known.kernel == finding.kernel) {
      ++known.count;
      return;
    }
  }
  list_.push_back(std::move(finding));
}

uint64_t Findings::count(FindingKind kind) const {
  uint64_t total = 0;
  for (const Finding& finding : list_) total += finding.kind == kind ? finding.count : 0;
  return total;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string text(const Finding& finding) {
  std::string out = std::string(nameOf(finding.kind)) + ": " + finding.message + "\n  " + finding.kernel +
                    ", PTX line " + std::to_string(finding.line) + ": " + finding.instruction + "; block (" +
                    std::to_string(finding.block[0]) + ", " + std::to_string(finding.block[1]) + ", " +
                    std::to_string(finding.block[2]) + "), warp " + std::to_string(finding.warp) + ", lane " +
                    std::to_string(finding.lane);
  if (finding.count > 1) out += "; " + std::to_string(finding.count) + " times";
  return out;
}

std::string Findings::json() const {
  std::string out = "[";
  for (const Finding& finding : list_) {
    if (out.size() > 1) out += ',';
    out += "{\"kind\":" + quoted(nameOf(finding.kind)) + ",\"message\":" + quoted(finding.message) +
           ",\"kernel\":" + quoted(finding.kernel) + ",\"instruction\":" + quoted(finding.instruction) +
           ",\"line\":" + std::to_string(finding.line) + ",\"block\":[" + std::to_string(finding.block[0]) + "," +
           std::to_string(finding.block[1]) + "," + std::to_string(finding.block[2]) +
           "],\"warp\":" + std::to_string(finding.warp) + ",\"lane\":" + std::to_string(finding.lane) +
           ",\"count\":" + std::to_string(finding.count) + "}";
  }
  return out + "]";
}

}  // namespace fused_attention::ptx
