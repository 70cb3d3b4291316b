// Deliberate faults, each found under its name and at a line of the PTX; and nothing found where there is nothing.
#include <numeric>

#include "runner.h"

using namespace fused_attention::ptx;

namespace {

constexpr int words = 128;

// Launches with 128 words of output; the faulty kernels may take an input as well.
template <class... Arguments>
Finding findingOf(const char* kernel, uint32_t threads, FindingKind kind, bool ends, Arguments... more) {
  Finding found{};
  for (uint64_t seed = 0; seed < 3; ++seed) {
    Runner runner("faults");
    runner.options.seed = seed;
    runner.options.seconds = 0.3;
    const uint64_t out = runner.upload(std::vector<uint32_t>(words, 3));
    const auto fault = runner.launch(kernel, {1}, {threads}, 0, out, more...);
    CHECK_EQ(fault.has_value(), ends);
    if (fault) CHECK(*fault == kind);
    bool seen = false;
    for (const Finding& finding : runner.report.findings.list()) {
      if (finding.kind != kind) continue;
      if (!seen) found = finding;
      seen = true;
    }
    if (!seen) FAIL(std::string(kernel) + ": not found");
    runner.report.findings.clear();
  }
  return found;
}

template <class... Arguments>
Finding findingOfCopy(const char* kernel, FindingKind kind) {
  Finding found{};
  Runner runner("faults");
  std::vector<uint32_t> in(64);
  std::iota(in.begin(), in.end(), 0);
  CHECK(!runner.launch(kernel, {1}, {32}, 0, runner.upload(in), runner.memory.allocate(128)));
  for (const Finding& finding : runner.report.findings.list()) {
    if (finding.kind == kind) found = finding;
  }
  CHECK(found.count > 0 && found.line > 0);
  runner.report.findings.clear();
  return found;
}

}  // namespace

TEST(accesses_out_of_bounds) {
  const Finding store = findingOf("pastTheEnd", 32, FindingKind::OutOfBounds, true, words);
  CHECK(store.line > 0);
  CHECK_EQ(store.lane, 31);
  CHECK(store.instruction.starts_with("st.global"));
  CHECK(store.message.find("0 bytes past an allocation of 512 bytes") != std::string::npos);
  findingOf("sharedPastTheEnd", 32, FindingKind::OutOfBounds, true, 30);
  findingOf("localPastTheEnd", 32, FindingKind::OutOfBounds, true, 10);
}

TEST(accesses_to_freed_memory) {
  Runner runner("faults");
  const uint64_t out = runner.upload(std::vector<uint32_t>(words, 3)), in = runner.memory.allocate(4 * words);
  runner.memory.release(in);
  CHECK(runner.launch("readsPastTheEnd", {1}, {32}, 0, in, out, words - 40) == FindingKind::OutOfBounds);
  CHECK(runner.report.findings.list().at(0).message.find("freed") != std::string::npos);
  runner.take(FindingKind::OutOfBounds);
}

TEST(misaligned_accesses) {
  Runner runner("faults");
  const uint64_t in = runner.memory.allocate(256), out = runner.memory.allocate(256);
  CHECK(runner.launch("misaligned", {1}, {32}, 0, in, out) == FindingKind::Misaligned);
  CHECK_EQ(runner.report.findings.list().at(0).lane, 9);
  CHECK_EQ(runner.take(FindingKind::Misaligned), 1u);
}

TEST(uninitialized_shared_memory) {
  const Finding finding = findingOf("uninitialized", 64, FindingKind::Uninitialized, false, 40);
  CHECK_EQ(finding.count, 24u);
}

TEST(fresh_memory_is_poisoned) {
  Runner runner("faults");
  for (const float value : runner.download<float>(runner.memory.allocate(64), 16)) CHECK(value != value);
}

TEST(races) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    Runner runner("faults");
    runner.options.seed = seed;
    runner.options.quantum = 3;
    const uint64_t out = runner.memory.allocate(256);
    CHECK(!runner.launch("rotated", {1}, {64}, 0, out));
    CHECK(runner.report.findings.list().empty());
    CHECK_EQ(runner.download<uint32_t>(out, 1)[0], 3u * 33 % 64);
  }
  findingOf("withoutBarrier", 64, FindingKind::Race, false);
  findingOf("withoutSecondBarrier", 64, FindingKind::Race, false);
}

TEST(copies_in_flight) {
  Runner runner("faults");
  std::vector<uint32_t> in(64);
  std::iota(in.begin(), in.end(), 0);
  const uint64_t out = runner.memory.allocate(128);
  CHECK(!runner.launch("copied", {1}, {32}, 0, runner.upload(in), out));
  CHECK_EQ(runner.download<uint32_t>(out, 1)[0], 31u + 63);
  findingOfCopy("copiedWithoutWait", FindingKind::InFlight);
  findingOfCopy("copiedWithEarlyWait", FindingKind::InFlight);
  findingOfCopy("copiedOver", FindingKind::InFlight);
  CHECK(runner.launch("copiedFromNowhere", {1}, {32}, 0, uint64_t{64}) == FindingKind::OutOfBounds);
  runner.take(FindingKind::OutOfBounds);
}

TEST(barriers_that_diverge) {
  const Finding finding = findingOf("divergentBarrier", 32, FindingKind::DivergentBarrier, true);
  CHECK(finding.message.find("at line") != std::string::npos);
  const Finding stuck = findingOf("barrierNobodyComesTo", 64, FindingKind::Deadlock, true);
  CHECK(stuck.message.find("warp 0") != std::string::npos && stuck.message.find("warp 1") != std::string::npos);
}

TEST(shuffles_with_dead_lanes) {
  findingOf("shuffleWithDeadLane", 32, FindingKind::DeadLane, false);
  findingOf("shuffleFromOutside", 32, FindingKind::DeadLane, false);
  findingOf("shuffleOfTwoPlaces", 32, FindingKind::DivergentCollective, true);
}

TEST(lanes_that_write_one_place) {
  findingOf("lanesDisagree", 32, FindingKind::LaneConflict, false);
  Runner runner("faults");
  CHECK(!runner.launch("lanesAgree", {1}, {32}, 0, runner.memory.allocate(64)));
}

TEST(ends_of_launches) {
  findingOf("trapped", 32, FindingKind::Trap, true);
  findingOf("endless", 32, FindingKind::TimeLimit, true);
  const Finding finding = findingOf("unsupported", 32, FindingKind::Unsupported, true, 1);
  CHECK(finding.message.find("vabsdiff4") != std::string::npos);
  // What is never executed need not be supported.
  Runner runner("faults");
  CHECK(!runner.launch("unsupported", {1}, {32}, 0, runner.memory.allocate(4), 0));
}

TEST(launches_of_impossible_sizes) {
  Runner runner("faults");
  CHECK(runner.launch("trapped", {1}, {2048}, 0, runner.memory.allocate(4)) == FindingKind::InvalidLaunch);
  CHECK_EQ(runner.take(FindingKind::InvalidLaunch), 1u);
}
