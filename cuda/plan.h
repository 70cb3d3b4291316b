// How one Problem is cut up for the kernels: blocks of queries, and of each the keys that it sees, as ranges.
// Immutable.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "../native/backend.h"
#include "device.h"
#include "kernels/forward_parameters.h"
#include "sequence_keys.h"

namespace fused_attention::cuda {

/// One of the kernels that there are.
struct Instance {
  Dtype dtype;
  int dim;       // components that it has room for
  bool general;  // it takes softcaps, biases, entropies, maxima and bits of pairs

  std::string name() const;
  std::string decodeName() const;
  std::string mergeName() const;
  ForwardShape shape() const { return forwardShape(int(sizeOf(dtype)), dim, general); }
  DecodeShape decodeShape() const { return cuda::decodeShape(int(sizeOf(dtype)), dim); }
};

/// The chunks of keys of sequences with few queries.
struct DecodeWork {
  std::vector<DecodeItem> items;
  std::vector<DecodeSequence> sequences;
  int64_t lines = 0;
  int32_t queries = 1;  // the most that a sequence has

  /// Of the sequence that has this number in the batch.
  void add(int32_t number, const SequenceRows& sequence, const SequenceKeys& keys, const Problem& problem);
};

class CudaPlan : public Plan {
 public:
  /// Or why the kernels cannot compute the problem on this device. Throws CodedError.
  static std::variant<std::shared_ptr<const Plan>, Refusal> make(const Device& device, const Problem& problem,
                                                                 const double* lengthsQ, const double* lengthsKv,
                                                                 const PageLists& pages);

  Explanation explain() const override;

  const Device& device() const { return device_; }
  const Problem& problem() const { return problem_; }
  const Instance& instance() const { return instance_; }
  /// Of threads, of the kernel that has many queries of a head; and of those that have few, and put chunks together.
  int64_t blocks() const;
  int64_t decodeBlocks() const;
  int64_t mergeBlocks() const;
  const DecodeWork& decode() const { return decode_; }

  /// Where one rule holds for all sequences and the batch is dense: the first one's. The lists are empty then.
  const SequenceRows& every() const { return every_; }
  int64_t queryBlocks() const;  // of each sequence then
  const std::vector<SequenceRows>& sequences() const { return sequences_; }
  const std::vector<QueryBlock>& queryBlockList() const { return queryBlocks_; }
  const std::vector<KeyRange>& rowKeys() const { return rowKeys_; }

  /// Where pairs have bits: those of all groups of sequences that see alike, as the sequences say where they lie.
  bool hasBits() const { return hasBits_; }
  struct Bits {
    std::vector<uint32_t> rows, blocks;
  };
  /// `masks` as in Pointers. Throws CodedError or Cancelled.
  Bits bits(const std::vector<const uint8_t*>& masks, const CancelFlag& cancel) const;

 private:
  /// Sequences that see alike.
  struct Group {
    Sequence sequence;
    SequenceKeys keys;
    int64_t members = 0;
    int32_t firstRange = -1;
    int64_t firstBits = 0, firstBlockBits = 0;
  };

  CudaPlan(const Device& device, const Problem& problem);
  /// False where pairs are too many to have bits.
  bool cut(const std::vector<Sequence>& sequences);
  bool placeBits();
  /// By the sequence's own rows: a head has the same bits whatever batch it is in and whatever heads stand beside it.
  bool isFew(const Sequence& sequence) const {
    return sequence.queries <= DecodeShape::mostQueries && instance_.dim <= DecodeShape::mostDim;
  }
  void list(const std::vector<size_t>& groupOf);
  SequenceRows rowsOf(const Sequence& sequence, const Group& group) const;

  const Device& device_;
  const Problem problem_;
  bool hasBits_ = false;
  Instance instance_;
  std::vector<Group> groups_;
  SequenceRows every_{};
  std::vector<SequenceRows> sequences_;
  std::vector<QueryBlock> queryBlocks_;
  std::vector<KeyRange> rowKeys_;
  DecodeWork decode_;
  bool shares_ = false;  // sequences share pages, which each reads by itself
};

}  // namespace fused_attention::cuda
