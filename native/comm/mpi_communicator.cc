#include "mpi_communicator.h"

#include <dlfcn.h>
#include <mpi.h>
#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <list>
#include <thread>
#include <utility>

#include "../error.h"
#include "watchdog.h"

namespace fused_attention {

namespace {

// MPI counts in `int`; and while pieces of a long message come, both ends see that the other is alive, and a poll that
// copies one does not hold the event loop up for long.
constexpr size_t kPieceBytes = size_t{4} << 20;
/// Of one transfer under way at once.
constexpr int kPiecesAhead = 4;

constexpr int kLetterTag = 0;

void check(int status, const char* what) {
  if (status == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(status, text, &length);
  throw CodedError("ERR_GROUP_FAILED", "group", std::string("MPI to ") + what, std::string(text, size_t(length)));
}

struct Transfer {
  int64_t id;
  int peer, tag;
  bool receives;
  std::byte* next;
  size_t left;
  int underWay = 0;
};

/// Text on its way, in either direction; the list keeps it in its place.
struct Mail {
  int peer;
  bool arrives;
  std::string text;
  bool done = false;
};

/// What a request belongs to: one of the two.
struct Owner {
  Transfer* transfer;
  Mail* mail;
};

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(MPI_Comm comm, bool finalizes) : comm_(comm), finalizes_(finalizes) {
    check(MPI_Comm_rank(comm_, &rank_), "know the rank");
    check(MPI_Comm_size(comm_, &size_), "know the size");
    int* largest = nullptr;
    int some = 0;
    check(MPI_Comm_get_attr(comm_, MPI_TAG_UB, &largest, &some), "know its tags");
    if (some) tags_ = *largest;
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int tags() const override { return tags_; }

  void post(int to, std::string text) override {
    if (Watched::terminated()) return;
    const Watched watched;
    mail_.push_back({to, false, std::move(text)});
    Mail& letter = mail_.back();
    MPI_Request request;
    check(MPI_Isend(letter.text.data(), int(letter.text.size()), MPI_BYTE, to, kLetterTag, comm_, &request), "send");
    add(request, {nullptr, &letter});
  }

  int64_t send(int to, int tag, const std::byte* bytes, size_t count) override {
    return begin(to, tag, false, const_cast<std::byte*>(bytes), count);
  }

  int64_t receive(int from, int tag, std::byte* bytes, size_t count) override {
    return begin(from, tag, true, bytes, count);
  }

  Progress poll() override {
    Progress progress;
    if (Watched::terminated()) return progress;
    const Watched watched;
    // In this order: a transfer that was over when a letter was written is reported with it at the latest.
    accept();
    complete(progress);
    deliver(progress);
    // Where ranks share a processor, it may be the other one that has to go on.
    if (progress.moved.empty() && progress.letters.empty()) std::this_thread::yield();
    return progress;
  }

  void finish() override {
    if (!finalizes_ || Watched::terminated()) return;
    const Watched watched;
    check(MPI_Finalize(), "end");
  }

  void limit(int milliseconds) override { Watched::limit(milliseconds); }

  bool terminated() const override { return Watched::terminated(); }

 private:
  int64_t begin(int peer, int tag, bool receives, std::byte* bytes, size_t count) {
    if (peer < 0 || peer >= size_ || tag < 0 || tag >= tags_) {
      throw CodedError("ERR_INTERNAL", "transfer", "a rank and a tag in range", "others");
    }
    if (Watched::terminated()) return nextId_++;  // the group ends before it would
    const Watched watched;
    transfers_.push_back({nextId_++, peer, 1 + tag, receives, bytes, count});
    Transfer& transfer = transfers_.back();
    do {
      beginPiece(transfer);
    } while (transfer.left > 0 && transfer.underWay < kPiecesAhead);
    return transfer.id;
  }

  /// Pieces of a transfer match in their order.
  void beginPiece(Transfer& transfer) {
    const size_t count = std::min(transfer.left, kPieceBytes);
    MPI_Request request;
    check(transfer.receives
              ? MPI_Irecv(transfer.next, int(count), MPI_BYTE, transfer.peer, transfer.tag, comm_, &request)
              : MPI_Isend(transfer.next, int(count), MPI_BYTE, transfer.peer, transfer.tag, comm_, &request),
          transfer.receives ? "receive" : "send");
    transfer.next += count;
    transfer.left -= count;
    transfer.underWay += 1;
    add(request, {&transfer, nullptr});
  }

  void add(MPI_Request request, Owner owner) {
    requests_.push_back(request);
    owners_.push_back(owner);
  }

  /// Begins to receive letters that have come. Long ones may take a while, so that none is waited for.
  void accept() {
    for (;;) {
      int some = 0;
      MPI_Message message;
      MPI_Status status;
      check(MPI_Improbe(MPI_ANY_SOURCE, kLetterTag, comm_, &some, &message, &status), "look for messages");
      if (!some) return;
      int count = 0;
      check(MPI_Get_count(&status, MPI_BYTE, &count), "know a size");
      mail_.push_back({status.MPI_SOURCE, true, std::string(size_t(count), '\0')});
      Mail& letter = mail_.back();
      MPI_Request request;
      check(MPI_Imrecv(letter.text.data(), count, MPI_BYTE, &message, &request), "receive");
      add(request, {nullptr, &letter});
    }
  }

  void complete(Progress& progress) {
    if (requests_.empty()) return;
    finished_.resize(requests_.size());
    int count = 0;
    check(MPI_Testsome(int(requests_.size()), requests_.data(), &count, finished_.data(), MPI_STATUSES_IGNORE),
          "carry messages");
    if (count == MPI_UNDEFINED) count = 0;
    std::vector<Transfer*> goOn;
    for (int n = 0; n < count; ++n) {
      const Owner owner = owners_[size_t(finished_[size_t(n)])];
      if (owner.mail) {
        owner.mail->done = true;
      } else {
        owner.transfer->underWay -= 1;
        goOn.push_back(owner.transfer);
        const int64_t id = owner.transfer->id;
        if (std::find(progress.moved.begin(), progress.moved.end(), id) == progress.moved.end()) {
          progress.moved.push_back(id);
        }
      }
    }
    size_t kept = 0;
    for (size_t n = 0; n < requests_.size(); ++n) {
      if (requests_[n] == MPI_REQUEST_NULL) continue;
      requests_[kept] = requests_[n];
      owners_[kept++] = owners_[n];
    }
    requests_.resize(kept);
    owners_.resize(kept);
    for (Transfer* transfer : goOn) {
      if (transfer->left > 0) beginPiece(*transfer);
    }
    transfers_.remove_if([&](const Transfer& transfer) {
      if (transfer.left > 0 || transfer.underWay > 0) return false;
      progress.done.push_back(transfer.id);
      return true;
    });
  }

  /// Letters of a rank in their order: not before those that came first are there.
  void deliver(Progress& progress) {
    std::vector<bool> held(size_t(size_), false);
    mail_.remove_if([&](Mail& letter) {
      if (!letter.arrives) return letter.done;
      const size_t from = size_t(letter.peer);
      if (held[from] || !letter.done) {
        held[from] = true;
        return false;
      }
      progress.letters.push_back({letter.peer, std::move(letter.text)});
      return true;
    });
  }

  MPI_Comm comm_;
  bool finalizes_;
  int rank_ = 0, size_ = 1;
  int tags_ = 32767;  // that MPI promises; tag 0 is that of letters
  int64_t nextId_ = 1;
  std::list<Transfer> transfers_;
  std::list<Mail> mail_;
  /// Of the same length.
  std::vector<MPI_Request> requests_;
  std::vector<Owner> owners_;
  std::vector<int> finished_;
};

/// Written by the thread that joins, read once `joined` is set. Never freed: that thread may outlive everything else.
struct Joining {
  std::atomic<bool> joined = false;
  int status = MPI_SUCCESS;
  int level = MPI_THREAD_SINGLE;
  bool finalizes = false;
  MPI_Comm comm = MPI_COMM_NULL;
};

Joining& joining() {
  static Joining& only = *new Joining;
  return only;
}

/// Open MPI hands its help texts, such as that of a peer that hung up, to mpirun and waits for an answer. That does not
/// come while mpirun ends the job: printed here, they hold nobody up.
void printHelpHere() {
  Dl_info library;
  if (!dladdr(reinterpret_cast<void*>(&MPI_Init_thread), &library)) return;
  void* const handle = dlopen(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return;
  if (void* const flag = dlsym(handle, "orte_standalone_operation")) *static_cast<bool*>(flag) = true;
}

void join(Joining& result) {
  int initialized = 0;
  result.status = MPI_Initialized(&initialized);
  if (result.status == MPI_SUCCESS && !initialized) {
    result.status = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &result.level);
    result.finalizes = true;
  }
  if (result.status == MPI_SUCCESS) result.status = MPI_Query_thread(&result.level);
  // Messages of this package are apart from those of other code of the process.
  if (result.status == MPI_SUCCESS) result.status = MPI_Comm_dup(MPI_COMM_WORLD, &result.comm);
  if (result.status == MPI_SUCCESS) result.status = MPI_Comm_set_errhandler(result.comm, MPI_ERRORS_RETURN);
  printHelpHere();
  result.joined.store(true, std::memory_order_release);
}

}  // namespace

void joinMpi() {
  // Open MPI would take over signals that the JavaScript engine uses for itself, and say so.
  setenv("OMPI_MCA_opal_signal", "", 0);
  // Connected at once: over the socket of a rank that is lost before it has answered, Open MPI can turn round for ever.
  setenv("OMPI_MCA_mpi_preconnect_mpi", "1", 0);
  std::thread([] { join(joining()); }).detach();
}

std::unique_ptr<Communicator> joinedMpi() {
  Joining& result = joining();
  if (!result.joined.load(std::memory_order_acquire)) return nullptr;
  check(result.status, "begin");
  if (result.level < MPI_THREAD_SERIALIZED) {
    throw CodedError("ERR_GROUP_FAILED", "group", "an MPI that takes calls of several threads", "another one");
  }
  return std::make_unique<MpiCommunicator>(result.comm, result.finalizes);
}

}  // namespace fused_attention
