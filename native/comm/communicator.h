// What carries bytes between the processes of a group: the one interface of lib/sequence-parallel/mpi.ts to an engine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fused_attention {

/// A few words from another rank.
struct Letter {
  int from;
  std::string text;
};

/// What has happened since the last `poll`.
struct Progress {
  /// Transfers of which pieces have come or gone: all that are over, and others. By the numbers that `send` and
  /// `receive` gave, each once.
  std::vector<int64_t> moved;
  /// Transfers that are over.
  std::vector<int64_t> done;
  /// In the order in which each rank sent them.
  std::vector<Letter> letters;
};

/// One rank's end. No function waits, except `finish`; everything throws CodedError ERR_GROUP_FAILED where the engine
/// gives up. Calls come from one thread.
///
/// Letters say what is coming, and transfers carry it: who receives knows sender, tag and size beforehand. An engine
/// without tags, as NCCL is, can begin transfers between two ranks in the order of their tags, and leave letters to
/// another one.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Sends text, which is the communicator's from now on.
  virtual void post(int to, std::string text) = 0;

  /// How many tags there are.
  virtual int tags() const = 0;

  /// Begins a transfer; its memory must stay, unchanged, until `poll` has named it. Of transfers under way between two
  /// ranks no two have one tag, 0 to `tags` - 1.
  virtual int64_t send(int to, int tag, const std::byte* bytes, size_t count) = 0;
  virtual int64_t receive(int from, int tag, std::byte* bytes, size_t count) = 0;

  /// Nothing moves but here.
  virtual Progress poll() = 0;

  /// Leaves. All ranks do, so that the wait for them is short.
  virtual void finish() = 0;

  /// A call that takes longer, because the engine waits where it should not, ends the process with a message.
  virtual void limit(int milliseconds) = 0;

  /// SIGTERM has come: nothing moves any more.
  virtual bool terminated() const = 0;
};

}  // namespace fused_attention
