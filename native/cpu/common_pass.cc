#include "common_pass.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

#include "../sequences.h"

namespace fused_attention {

namespace {

/// Why no sequence of the problem can share its first keys; null where they can.
const char* reasonAgainst(const Problem& p) {
  if (ListedKeys::has(p)) return "lists of blocks are each sequence's own";
  if (p.score) return "a score program goes by each sequence's own positions";
  if (p.hasBias) return "a bias is each sequence's own";
  if (!p.masks.empty()) return "a mask tensor is each sequence's own";
  if (p.statistics.any()) return "statistics are gathered from whole rows";
  if (p.entropy || p.rowMax) return "partials carry neither entropy nor rowMax";
  if (p.normalizer.kind == Normalizer::Kind::sigmoid && p.normalizer.byKeys) {
    return "a shift by the number of keys is each sequence's own";
  }
  return nullptr;
}

/// Whether every query of a sequence sees every key before `end`.
bool seesAll(const SequencePlan& plan, int64_t end) {
  const int64_t groups = plan.groups;
  std::vector<KeyRun> moved;
  for (int64_t unit = 0; unit < plan.units; ++unit) {
    for (int64_t group = 0; group < groups; ++group) {
      int64_t seen = 0;
      for (const KeyRun& run : plan.programs->map->runs(unit, group, moved)) {
        if (!run.full || run.begin > seen || seen >= end) break;
        seen = run.end;
      }
      if (seen < end) return false;
    }
  }
  return true;
}

}  // namespace

std::vector<CommonGroup> shareableKeys(const Problem& p, const PageLists& pages, std::vector<SequencePlan>& sequences,
                                       std::string& apart) {
  std::vector<CommonGroup> groups;
  const char* const reason = reasonAgainst(p);
  if (reason) apart = reason;
  std::vector<Sequence> whole;
  for (const SequencePlan& plan : sequences) whole.push_back(plan.sequence);
  for (const auto& [end, members] : sharersOf(p, whole, pages)) {
    bool all = true;
    for (const size_t b : members) all = all && !reason && seesAll(sequences[b], end);
    if (!all && !reason) apart = "the mask hides some of it from a query";
    if (!all || members.size() < 2) continue;
    CommonGroup group;
    group.sequence.keys = end;
    group.sequence.table = sequences[members[0]].sequence.table;
    for (const size_t b : members) {
      Sequence& s = sequences[b].sequence;
      s.firstKey = end;
      for (int64_t row = 0; row < s.queries; ++row) group.rows.push_back({s.batch, s.rowQ + row});
    }
    group.sequence.queries = int64_t(group.rows.size());
    groups.push_back(std::move(group));
  }
  return groups;
}

Problem commonProblem(const Problem& problem) {
  Problem p = problem;
  p.mask = nullptr;
  p.hasSinks = p.lse = false;
  p.partial = true;
  if (p.normalizer.kind != Normalizer::Kind::sigmoid)
    p.normalizer = {p.normalizer.kind, false, 1};               // divided at the end
  if (p.lengths == Lengths::padded) p.lengths = Lengths::none;  // rows of padding are filled in by the call itself
  p.paging.shared.clear();
  p.output = {Dtype::float32, 0, p.headsQ * p.queries * p.dimV, p.queries * p.dimV, p.dimV};
  return p;
}

int64_t statisticsOf(const Problem& problem) {
  const int64_t sequences = problem.lengths == Lengths::cumulative ? 1 : problem.batch;
  return sequences * problem.headsQ * problem.queries;
}

void joinCommon(const CpuPlan& plan, const QueryBlock& queries, const CommonPartials& partials, BlockState& state) {
  const Kernels& kernels = plan.kernels();
  const int lanes = kernels.maxLanes();
  const int64_t dim = plan.problem().dimV;
  std::vector<float> memory(static_cast<size_t>(plan.groupFloats()));
  const BlockState common(memory.data(), dim, lanes);
  for (int64_t g = 0; g < queries.groups(); ++g) {
    common.clear(0);
    const SoftmaxState softmax = common.softmax(0);
    const void* rows[QueryBlock::kMaxLanes];
    const int count = queries.lanes(g).count;
    for (int t = 0; t < count; ++t) {
      const int64_t at = queries.statistic(g, t);
      rows[t] = partials.output + at * dim;
      softmax.sum[t] = partials.sum[at];
      softmax.reference[t] = std::isinf(partials.maximum[at]) ? -FLT_MAX : partials.maximum[at];
    }
    if (queries.few()) {
      kernels.packFewQueries(common.output(0), rows, count, Dtype::float32, dim, 1);
      kernels.fewMerge(state.output(g), state.softmax(g), common.output(0), softmax, count, dim);
    } else {
      const int padded = queries.padded()[g];
      kernels.packQueries(common.output(0), padded, rows, count, Dtype::float32, dim, 1);
      kernels.merge(state.output(g), state.softmax(g), common.output(0), softmax, padded, dim);
    }
  }
}

}  // namespace fused_attention
