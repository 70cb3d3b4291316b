#include "leases.h"

#include <string>
#include <utility>
#include <vector>

#include "error.h"
#include "test.h"

using namespace fused_attention;

namespace {

char memory[100];

MemoryRange reads(int begin, int end) { return {memory + begin, memory + end, false, 0}; }
MemoryRange writes(int begin, int end, int slot = 3) { return {memory + begin, memory + end, true, slot}; }

bool refused(std::vector<MemoryRange> ranges) {
  try {
    const Lease lease(std::move(ranges));
    return false;
  } catch (const CodedError& error) {
    CHECK_EQ(error.code, std::string("ERR_BUFFER_IN_USE"));
    return true;
  }
}

}  // namespace

TEST(leases_reads_share) {
  const Lease a({reads(0, 50)});
  const Lease b({reads(0, 50), reads(25, 75)});
  CHECK(!refused({reads(10, 60)}));
}

TEST(leases_writes_exclude) {
  Lease write({writes(20, 40)});
  CHECK(refused({reads(0, 21)}));
  CHECK(refused({reads(39, 50)}));
  CHECK(refused({reads(0, 100)}));
  CHECK(refused({reads(25, 30)}));
  CHECK(refused({writes(30, 50)}));
  CHECK(!refused({reads(0, 20), reads(40, 100), writes(40, 41)}));
  write.release();
  CHECK(!refused({writes(0, 100)}));
}

TEST(leases_reads_stop_writes) {
  const Lease wide({reads(0, 90)});
  {
    const Lease narrow({reads(10, 20)});
    const Lease again({reads(10, 20)});
    CHECK(refused({writes(19, 30)}));
  }
  CHECK(refused({writes(89, 95)}));  // only the wide one reaches there
  CHECK(!refused({writes(90, 95)}));
}

TEST(leases_same_span_counts) {
  Lease first({reads(10, 20)});
  const Lease second({reads(10, 20)});
  first.release();
  CHECK(refused({writes(12, 13)}));
}

TEST(leases_refusal_holds_nothing) {
  {
    const Lease write({writes(50, 60)});
    CHECK(refused({writes(0, 10), reads(55, 56)}));
    CHECK(!refused({writes(0, 10)}));
  }
  CHECK(!refused({writes(0, 100)}));
}

TEST(leases_move) {
  Lease kept;
  {
    Lease made({writes(0, 10)});
    kept = std::move(made);
  }
  CHECK(refused({reads(0, 1)}));
  kept = Lease();
  CHECK(!refused({reads(0, 1)}));
}
