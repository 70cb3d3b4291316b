#include "task_programs.h"

#include <algorithm>

namespace fused_attention {

namespace {

struct Sizes {
  size_t maskFloats, scoreFloats, copyFloats, scratch;
};

Sizes sizesOf(const Problem& problem, const Kernels& kernels, const SequencePlan& plan) {
  const SequencePrograms& programs = *plan.programs;
  const int lanes = kernels.maxLanes();
  const VisibleBits bits(problem, plan.sequence, kernels, programs.mask.get(), nullptr);
  Sizes sizes{bits.laneFloats(), 0, 0, bits.scratchBytes(kTileKeys)};
  if (const TileProgram* score = programs.score.get()) {
    sizes.scoreFloats = score->laneFloats(lanes);
    sizes.scratch = std::max(sizes.scratch, score->scratchBytes(lanes));
    if (score->poisonNeedsInputs()) sizes.copyFloats = size_t(kTileKeys * lanes);
  }
  return sizes;
}

}  // namespace

size_t TaskPrograms::bytes(const Problem& problem, const Kernels& kernels, int64_t groups, const SequencePlan& plan) {
  const Sizes sizes = sizesOf(problem, kernels, plan);
  return Arena::bytesFor<float>(sizes.maskFloats * size_t(groups)) +
         Arena::bytesFor<float>(sizes.scoreFloats * size_t(groups)) + Arena::bytesFor<float>(sizes.copyFloats) +
         Arena::bytesFor<char>(sizes.scratch);
}

TaskPrograms::TaskPrograms(const CpuPlan& plan, const Task& task, const QueryBlock& queries, const Pointers& pointers,
                           Arena& arena, bool lines)
    : plan_(plan),
      queries_(queries),
      programs_(*task.plan->programs),
      bits_(plan.problem(), task.plan->sequence, plan.kernels(), programs_.mask.get(), &pointers.masks) {
  const Sizes sizes = sizesOf(plan.problem(), plan.kernels(), *task.plan);
  maskFloats_ = sizes.maskFloats;
  scoreFloats_ = sizes.scoreFloats;
  maskLanes_ = arena.take<float>(sizes.maskFloats * size_t(plan.groups()));
  scoreLanes_ = arena.take<float>(sizes.scoreFloats * size_t(plan.groups()));
  scoreCopy_ = sizes.copyFloats > 0 ? arena.take<float>(sizes.copyFloats) : nullptr;
  scratch_ = arena.take<char>(sizes.scratch);
  // Of the one task that a thread is at.
  thread_local std::vector<KeyRun> moved[QueryBlock::kMaxGroups];
  thread_local ListedRuns listed[QueryBlock::kMaxGroups];
  const MaskMap& map = *programs_.map;
  for (int64_t g = 0; g < queries.groups(); ++g) runs_[g] = map.runs(task.unit, queries.firstGroup() + g, moved[g]);
  inLines_ = lines && programs_.listed && !hasScore() && !mayHide();
  for (int64_t g = 0; g < queries.groups() && inLines_; ++g) {
    const auto line = programs_.listed->lineAlone(queries.lanes(g), runs_[g]);
    inLines_ = line.has_value();
    if (line) lines_[g] = *line;
  }
  for (int64_t g = 0; g < queries.groups() && !inLines_; ++g) {
    words_[g] = map.words();
    if (!programs_.listed) continue;
    programs_.listed->runs(queries.lanes(g), runs_[g], map.words(), listed[g]);
    runs_[g] = listed[g].runs;
    words_[g] = listed[g].words.data();
  }
}

Seen TaskPrograms::visible(int64_t group, std::span<const KeyRun> runs, Range keys, uint64_t* words) {
  const Lanes& lanes = queries_.lanes(group);
  int64_t next = keys.begin;
  for (const KeyRun& run : runs) {
    const Range part{std::max(run.begin, keys.begin), std::min(run.end, keys.end)};
    if (part.empty()) continue;
    std::fill(words + (next - keys.begin), words + (part.begin - keys.begin), uint64_t{0});
    next = part.end;
    uint64_t* out = words + (part.begin - keys.begin);
    if (run.full) {
      std::fill_n(out, part.end - part.begin, everyLane(lanes));
    } else if (run.words != KeyRun::kNotKept) {
      std::copy_n(wordsOf(group, run) + (part.begin - run.begin), part.end - part.begin, out);
    } else {
      VisibleBits::Group bound{lanes, queries_.padded()[group], maskLanes_ + size_t(group) * maskFloats_,
                               bool(maskClamped_ >> group & 1)};
      if (!(maskBound_ >> group & 1)) {
        bits_.bind(bound);
        maskBound_ |= uint64_t{1} << group;
        maskClamped_ |= uint64_t{bound.clamped} << group;
      }
      bits_.program(bound, part, scratch_, out);
      if (programs_.listed) programs_.listed->restrict(lanes, part, out);
    }
  }
  std::fill(words + (next - keys.begin), words + (keys.end - keys.begin), uint64_t{0});
  if (bits_.hasTensors()) bits_.tensors(lanes, keys, words);
  return seenBy(lanes, words, keys.end - keys.begin);
}

Seen TaskPrograms::visible(int64_t group, const KeyRun& run, const Columns& piece, uint64_t* words) {
  const int64_t count = piece.count();
  if (!mayHide() && (run.full || run.words != KeyRun::kNotKept)) {
    const Lanes& lanes = queries_.lanes(group);
    if (run.full) {
      std::fill_n(words, count, everyLane(lanes));
      return Seen::all;
    }
    std::copy_n(wordsOf(group, run) + (piece.begin - run.begin) / run.step, count, words);
    return seenBy(lanes, words, count);
  }
  if (piece.step == 1) return visible(group, std::span(&run, 1), piece, words);
  bool some = false, every = true;
  for (int64_t n = 0; n < count; ++n) {
    // A run of this column alone.
    KeyRun one = run;
    one.begin = piece.begin + n * piece.step;
    one.end = one.begin + 1;
    if (one.words != KeyRun::kNotKept) one.words += (one.begin - run.begin) / run.step;
    const Seen seen = visible(group, std::span<const KeyRun>(&one, 1), one, words + n);
    some |= seen != Seen::none;
    every &= seen == Seen::all;
  }
  return every ? Seen::all : some ? Seen::some : Seen::none;
}

const uint64_t* TaskPrograms::keptWords(int64_t group, const GatheredTile& tile) const {
  if (mayHide()) return nullptr;
  int64_t next = 0;
  for (int n = 0; n < tile.count; ++n) {
    const KeyRun& run = *tile.runs[n];
    const Columns& piece = tile.pieces[n];
    if (run.full || run.words == KeyRun::kNotKept) return nullptr;
    const int64_t at = run.words + (piece.begin > run.begin ? Columns(run.begin, piece.begin, run.step).count() : 0);
    if (n > 0 && at != next) return nullptr;
    next = at + piece.count();
  }
  return wordsOf(group, *tile.runs[0]) + (next - tile.keys - tile.runs[0]->words);
}

void TaskPrograms::score(int64_t group, Range keys, const uint64_t* words, float* scores) {
  const TileProgram& program = *programs_.score;
  const Kernels& kernels = plan_.kernels();
  const Lanes& lanes = queries_.lanes(group);
  const int padded = queries_.padded()[group];
  float* laneVectors = scoreLanes_ + size_t(group) * scoreFloats_;
  if (!(scoreBound_ >> group & 1)) {
    scoreBound_ |= uint64_t{1} << group;
    scoreClamped_ |= uint64_t{program.bind(kernels, lanes, padded, laneVectors)} << group;
  }
  const int64_t count = keys.end - keys.begin;
  if (scoreCopy_) std::copy_n(scores, count * padded, scoreCopy_);
  TileProgram::Tile tile{lanes, padded, laneVectors, bool(scoreClamped_ >> group & 1), keys, &scores, scratch_};
  if (!program.run(kernels, tile, nullptr)) return;
  std::vector<uint64_t> poison(static_cast<size_t>(count));
  float* before = scoreCopy_ ? scoreCopy_ : scores;
  tile.inputs = &before;
  program.poison(kernels, tile, poison.data());
  for (int64_t key = 0; key < count; ++key) {
    if (poison[size_t(key)] & (words ? words[key] : ~uint64_t{0})) program.refuse();
  }
}

}  // namespace fused_attention
