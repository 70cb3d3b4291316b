#include "plan.h"

#include <algorithm>
#include <bit>
#include <map>
#include <tuple>

#include "../error.h"
#include "../sequences.h"
#include "arena.h"
#include "common_pass.h"
#include "row_statistics.h"
#include "tile_walk.h"

namespace fused_attention {

namespace {

/// Keys in a chunk: from the sequence's own length alone. Long enough that combining costs nothing beside the tiles,
/// short enough that a few queries over many keys still make tasks for every thread.
int64_t chunkFor(int64_t keys) {
  constexpr int64_t smallest = 512, most = 64;
  return std::max<int64_t>(smallest, int64_t(std::bit_ceil(uint64_t(ceilDiv(keys, most)))));
}

/// Where of a chunk's keys only so many are seen, as many more fit in.
int64_t widerChunk(int64_t keys, double density) {
  const int64_t most = int64_t(std::bit_ceil(uint64_t(keys)));
  const double wider = 1 / std::max(density, 1 / double(most));
  return std::min(most, chunkFor(keys) * int64_t(std::bit_floor(uint64_t(wider))));
}

void cutChunks(SequencePlan& plan, int64_t chunk) {
  plan.chunk = chunk;
  plan.partChunks = int64_t(std::bit_ceil(uint64_t(std::max<int64_t>(1, ceilDiv(plan.sequence.keys, chunk)))));
}

/// Groups of queries that share one pass over a tile of keys: their outputs stay in the second-level cache.
int64_t groupsFor(int64_t dimV, int lanes) {
  constexpr int64_t bytes = 96 * 1024, most = 8;
  return std::clamp<int64_t>(bytes / (4 * dimV * lanes), 1, most);
}

/// Whether heads of a token lie so near to each other, and tokens so far apart, that memory is better walked part by
/// part than head by head: each page of the processor's is looked up once for all heads.
bool headsTogether(const Problem& p, const SequencePlan& plan) {
  constexpr int64_t bytes = 8192;  // two of the processor's pages
  return p.paging.numbered() && plan.few && plan.units > 1 && p.paging.rows * p.dimQk * sizeOf(p.key.dtype) <= bytes;
}

/// Whether components fill the lanes of the few... operations. Of fewer, dot products are summed with more care than
/// those take.
bool canBeFew(const Problem& p, const Kernels& kernels) {
  return p.dimQk >= std::max(17, kernels.width) && p.dimV >= kernels.width;
}

/// Whether a program's value may differ between sequences of equal lengths.
bool dependsOnBatch(const Program* program) {
  if (!program) return false;
  return std::any_of(program->nodes().begin(), program->nodes().end(),
                     [](const Node& node) { return node.op == Op::b; });
}

}  // namespace

CpuPlan::CpuPlan(const Problem& problem, const double* lengthsQ, const double* lengthsKv, const PageLists& pages,
                 const CancelFlag& cancel)
    : problem_(problem), kernels_(&kernelsFor(problem.isa)) {
  groups_ = groupsFor(problem_.dimV, kernels_->maxLanes());
  cutSequences(lengthsQ, lengthsKv, pages);
  bindPrograms(cancel);
  shareCommon(pages);
  cutTasks();
  taskBytes_ = measureTask();
}

CpuPlan::CpuPlan(const Problem& problem, const std::vector<CommonGroup>& groups)
    : problem_(problem), kernels_(&kernelsFor(problem.isa)) {
  groups_ = groupsFor(problem_.dimV, kernels_->maxLanes());
  for (const CommonGroup& group : groups) {
    addSequence(group.sequence);
    sequences_.back().gathered = group.rows;
  }
  bindPrograms(CancelFlag::never());  // no mask to be looked at
  cutTasks();
  taskBytes_ = measureTask();
}

void CpuPlan::shareCommon(const PageLists& pages) {
  if (!pages.sharedOf) return;
  const std::vector<CommonGroup> groups = shareableKeys(problem_, pages, sequences_, commonApart_);
  if (!groups.empty()) commonPass_ = std::make_unique<const CpuPlan>(commonProblem(problem_), groups);
}

void CpuPlan::cutSequences(const double* lengthsQ, const double* lengthsKv, const PageLists& pages) {
  const std::vector<Sequence> sequences = sequencesOf(problem_, lengthsQ, lengthsKv);
  sequences_.reserve(sequences.size());
  for (const Sequence& s : sequences) {
    if (problem_.paging.numbered()) requirePages(problem_, s, pages);
    addSequence(s);
  }
}

void CpuPlan::addSequence(const Sequence& s) {
  const Problem& p = problem_;
  SequencePlan plan;
  plan.sequence = s;
  plan.packed = p.groupSize() > 1 && s.queries < kernels_->maxLanes();
  plan.units = plan.packed ? p.headsKv : p.headsQ;
  plan.lanes = plan.packed ? p.groupSize() * s.queries : s.queries;
  // By the sequence's own rows, not by its lanes: a head has the same bits whatever heads stand beside it.
  plan.few = s.queries <= kernels_->fewQueries && canBeFew(p, *kernels_);
  plan.groupLanes = plan.few ? kernels_->width : kernels_->maxLanes();
  plan.order = orderOf(plan);
  if (ListedKeys::has(p)) orderListed(plan);
  plan.groups = plan.order ? plan.order->groupCount() : ceilDiv(plan.lanes, plan.groupLanes);
  plan.blocks = ceilDiv(plan.groups, groups_);
  cutChunks(plan, chunkFor(s.keys));
  sequences_.push_back(plan);
}

std::shared_ptr<const QueryOrder> CpuPlan::orderOf(const SequencePlan& plan) {
  const Sequence& s = plan.sequence;
  if (plan.packed || plan.few || !GridKeys::fit(problem_, s)) return nullptr;
  if (!sequences_.empty()) {
    const SequencePlan& before = sequences_.back();
    if (before.order && before.sequence.queries == s.queries) return before.order;
  }
  auto order = boxesOf(GridKeys(problem_, s), problem_.mask->product(), s.queries, *kernels_);
  bytes_ += order->bytes();
  return order;
}

void CpuPlan::orderListed(SequencePlan& plan) {
  const Sequence& s = plan.sequence;
  const ListedKeys keys(problem_, s, int64_t(sequences_.size()));
  if (plan.packed || plan.few || s.queries == 0 || s.keys == 0) return;
  if (!sequences_.empty() && !ListedKeys::perBatch(problem_)) {
    const SequencePlan& before = sequences_.back();
    if (before.sequence.queries == s.queries && before.sequence.keys == s.keys) {
      plan.order = before.order;
      plan.few = before.few;
      plan.groupLanes = before.groupLanes;
      return;
    }
  }
  const ListedOrder best = orderOfListed(keys, s.queries, problem_.headsQ, *kernels_, canBeFew(problem_, *kernels_));
  if (!best.order) return;
  plan.order = best.order;
  bytes_ += plan.order->bytes();
  if (best.few) {
    plan.few = true;
    plan.groupLanes = kernels_->width;
  }
}

void CpuPlan::bindPrograms(const CancelFlag& cancel) {
  constexpr int64_t kMostBits = 16 << 20;
  std::atomic<int64_t> budget{kMostBits};
  const Problem& p = problem_;
  const bool listed = ListedKeys::has(p);
  const bool perSequence =
      dependsOnBatch(p.mask.get()) || dependsOnBatch(p.score.get()) || (listed && ListedKeys::perBatch(p));
  std::map<std::tuple<int64_t, int64_t, int64_t>, std::shared_ptr<const SequencePrograms>> known;
  for (size_t b = 0; b < sequences_.size(); ++b) {
    SequencePlan& plan = sequences_[b];
    const Sequence& s = plan.sequence;
    if (cancel.raised()) throw Cancelled();
    auto& made = known[{s.queries, s.keys, perSequence ? int64_t(b) : 0}];
    if (!made) {
      const Place place{int64_t(b), s.queries, s.keys, queryStart(p, s), p.headsQ, p.groupSize(), p.gap};
      auto programs = std::make_shared<SequencePrograms>();
      const auto bound = [&](const std::shared_ptr<const Program>& program, double softcap) {
        if (!program) return std::shared_ptr<const TileProgram>();
        const auto unary = std::make_shared<const UnaryValues>(program, place);
        bytes_ += unary->bytes();
        return std::make_shared<const TileProgram>(unary, softcap);
      };
      const bool tells = p.mask && !p.mask->showsAll() && (listed || !plan.order);
      if (tells) programs->mask = bound(p.mask, 0);
      if (listed) programs->listed = std::make_shared<const ListedKeys>(p, s, int64_t(b));
      programs->score = bound(p.score, p.softcap);
      programs->map = std::make_shared<const MaskMap>(p, plan, *kernels_, programs->mask, budget, cancel);
      bytes_ += programs->map->bytes();
      made = std::move(programs);
    }
    plan.programs = made;
    const double density = made->map->density() * (listed ? made->listed->density() : 1);
    if (made->map->gathered()) cutChunks(plan, widerChunk(s.keys, density));
  }
  for (const Program* program : {p.mask.get(), p.score.get()}) {  // kept alive by the plan
    for (int t = 0; program && t < int(program->graph().tables.size()); ++t) {
      bytes_ += program->table(t).cells.size() * sizeof(Cell);
    }
  }
  bytes_ += sizeof(CpuPlan) + sequences_.capacity() * sizeof(SequencePlan);
}

void CpuPlan::cutTasks() {
  int64_t mostGroups = 1;
  for (SequencePlan& plan : sequences_) {
    plan.firstBlock = blocks_;
    blocks_ += plan.blockCount();
    mostGroups = std::max(mostGroups, plan.groups);
  }
  groups_ = std::min(groups_, mostGroups);  // where that is fewer, each unit is one block
  // Too few blocks to keep the threads busy: cut long sequences along their chunk tree too.
  constexpr int64_t tasksPerThread = 4;
  const bool whole = problem_.statistics.any();  // they are gathered from whole rows
  const int64_t wanted = !whole && problem_.threads > 1 && blocks_ > 0 && blocks_ < tasksPerThread * problem_.threads
                             ? ceilDiv(tasksPerThread * problem_.threads, blocks_)
                             : 1;
  for (SequencePlan& plan : sequences_) {
    plan.partByPart = !whole && headsTogether(problem_, plan);
    const int64_t parts =
        plan.partByPart ? plan.partChunks : std::min(int64_t(std::bit_ceil(uint64_t(wanted))), plan.partChunks);
    plan.partChunks /= parts;
    plan.parts = std::max<int64_t>(1, ceilDiv(plan.sequence.keys, plan.chunk * plan.partChunks));
    maxParts_ = std::max(maxParts_, plan.parts);
    treeDepth_ = std::max<int64_t>(treeDepth_, std::bit_width(uint64_t(plan.partChunks)) + 1);
    plan.firstTask = tasks_;
    tasks_ += plan.taskCount();
  }
}

Task CpuPlan::task(int64_t index) const {
  const auto after = std::upper_bound(sequences_.begin(), sequences_.end(), index,
                                      [](int64_t i, const SequencePlan& plan) { return i < plan.firstTask; });
  const SequencePlan& plan = *(after - 1);
  const int64_t local = index - plan.firstTask;
  Task task{&plan};
  task.part = plan.partByPart ? local / plan.blockCount() : local % plan.parts;
  const int64_t block = plan.partByPart ? local % plan.blockCount() : local / plan.parts;
  task.unit = block / plan.blocks;
  // Last rows first: where keys after the query are hidden they see most keys, and long tasks should start early.
  task.block = plan.blocks - 1 - block % plan.blocks;
  task.blockIndex = plan.firstBlock + block;
  return task;
}

Task CpuPlan::block(int64_t index) const {
  const auto after = std::upper_bound(sequences_.begin(), sequences_.end(), index,
                                      [](int64_t i, const SequencePlan& plan) { return i < plan.firstBlock; });
  const SequencePlan& plan = *(after - 1);
  return task(plan.firstTask + (index - plan.firstBlock) * (plan.partByPart ? 1 : plan.parts));
}

size_t CpuPlan::measureTask() const {
  const auto floats = [](int64_t n) { return Arena::bytesFor<float>(size_t(n)); };
  const size_t states = size_t(treeDepth_) * floats(blockFloats());
  return TileWalk::bytes(*this) + states + floats(kernels_->maxLanes()) + RowStatistics::bytes(*this);
}

}  // namespace fused_attention
