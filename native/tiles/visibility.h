// Which keys a box of queries sees, and which queries a box of keys: the only thing that kernels know of masks.
//
// `runs` answers for a box without touching a grid: sorted key ranges at granularity 1, each full (every query of the
// box sees every key of it) or partial (some may).
#pragma once

#include <cstdint>
#include <vector>

#include "../problem.h"
#include "../program/box_view.h"
#include "../range.h"

namespace fused_attention {

struct Run : Columns {
  bool full = false;
};

/// Appends a run, joined with the last one from number `first` on where they touch and are of one kind.
void append(std::vector<Run>& out, size_t first, Range range, bool full);

class Visibility {
 public:
  /// `unary` are the mask program's values for the sequence; made here when they are needed and not given.
  Visibility(const Problem& problem, const Sequence& sequence, std::shared_ptr<const UnaryValues> unary = nullptr);

  /// Appends the runs of keys inside `within` that some query of `rows` may see. Mask tensors are not read: what they
  /// touch is partial. For one query head, or for what all of them see.
  /// A partial stretch begins and ends with a key that is partial itself; inside it a few full or hidden keys may go
  /// unnoticed, more of them where the mask is mixed all over.
  void runs(Range rows, Range within, std::vector<Run>& out, int64_t head = Bounds::kAllHeads) const;

  /// Of the mask program.
  const UnaryValues& values() const { return *unary_; }

  /// The same for one box of rows after the other. Of one thread; the mask is a program.
  class Rows {
   public:
    explicit Rows(const Visibility& visibility, int64_t head = Bounds::kAllHeads)
        : visibility_(visibility), head_(head), view_(visibility.unary_->bounds(), head) {}

    int64_t head() const { return head_; }
    void set(Range rows) { view_.setRows(rows); }
    /// Mask tensors are not asked.
    Verdict verdict(Range columns) {
      view_.setColumns(columns);
      return view_.verdict();
    }
    void runs(Range within, std::vector<Run>& out);
    /// Of the last verdict.
    int decidedByDistance() const { return view_.decidedByDistance(); }
    bool keysAlike() { return view_.keysAlike(); }

   private:
    const Visibility& visibility_;
    int64_t head_;
    BoxView view_;
  };

  /// Boxes of so many rows are about to be asked for, one after the other: where the mask depends on distances alone,
  /// what one of them sees is found now, for all. Before any thread asks.
  void prepareBoxes(int64_t rows);

  /// What a box prepared so sees: that of one that begins at row `start`, moved along the diagonal and cut off where
  /// there are no keys. Null where none were prepared.
  struct Sliding {
    std::vector<Run> runs;
    int64_t rows = 0, start = 0;
  };
  const Sliding* sliding() const { return sliding_.rows == 0 ? nullptr : &sliding_; }

  /// The same with the roles exchanged: runs of queries inside `within` that may see some key of `keys`.
  void runsT(Range keys, Range within, std::vector<Run>& out, int64_t head = Bounds::kAllHeads) const;

 private:
  void slide(int64_t row, Range within, std::vector<Run>& out) const;

  Sliding sliding_;
  bool certain_ = true;  // no mask tensor takes anything away
  std::shared_ptr<const UnaryValues> unary_;
};

}  // namespace fused_attention
