// MPI as a communicator, over all processes that mpirun started.
#pragma once

#include <memory>

#include "communicator.h"

namespace fused_attention {

/// Begins to join the other processes, on a thread of its own: MPI waits for all of them. Once in a process.
void joinMpi();

/// Null as long as some have not come. Throws CodedError where MPI refuses.
std::unique_ptr<Communicator> joinedMpi();

}  // namespace fused_attention
