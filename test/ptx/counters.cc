#include "counters.h"

namespace fused_attention::ptx {

const char* nameOf(InstructionClass c) {
  static constexpr const char* names[] = {
      "mma",    "matrix",  "sharedLoad", "sharedStore", "globalLoad", "globalStore", "localMemory", "asyncCopy",
      "atomic", "float32", "float64",    "half",        "special",    "convert",     "integer",     "compare",
      "move",   "shuffle", "vote",       "barrier",     "control",    "parameter",   "other"};
  static_assert(sizeof names / sizeof *names == static_cast<int>(InstructionClass::Count));
  return names[static_cast<int>(c)];
}

namespace {

void add(Traffic& to, const Traffic& from) {
  to.requests += from.requests;
  to.units += from.units;
  to.minimum += from.minimum;
}

std::string json(const char* name, const Traffic& traffic, const char* unit) {
  return std::string(",\"") + name + "\":{\"requests\":" + std::to_string(traffic.requests) + ",\"" + unit +
         "\":" + std::to_string(traffic.units) + ",\"minimum\":" + std::to_string(traffic.minimum) + "}";
}

}  // namespace

Counters& Counters::operator+=(const Counters& other) {
  launches += other.launches;
  warpInstructions += other.warpInstructions;
  for (int i = 0; i < static_cast<int>(InstructionClass::Count); ++i) byClass[i] += other.byClass[i];
  add(sharedLoads, other.sharedLoads);
  add(sharedStores, other.sharedStores);
  add(globalLoads, other.globalLoads);
  add(globalStores, other.globalStores);
  return *this;
}

std::string Counters::json() const {
  std::string out = "{\"launches\":" + std::to_string(launches) +
                    ",\"warpInstructions\":" + std::to_string(warpInstructions) + ",\"byClass\":{";
  for (int i = 0; i < static_cast<int>(InstructionClass::Count); ++i) {
    if (i > 0) out += ',';
    out += std::string("\"") + nameOf(static_cast<InstructionClass>(i)) + "\":" + std::to_string(byClass[i]);
  }
  return out + "}" + ptx::json("sharedLoads", sharedLoads, "wavefronts") +
         ptx::json("sharedStores", sharedStores, "wavefronts") + ptx::json("globalLoads", globalLoads, "sectors") +
         ptx::json("globalStores", globalStores, "sectors") + "}";
}

}  // namespace fused_attention::ptx
