// How many threads this process may keep busy: the affinity mask and the cgroup's processor quota.
#pragma once

#include <string>

namespace fused_attention {

/// At least 1. Read anew at each call.
int usableProcessors();

/// The tightest quota, in processors, of the cgroups named in the text of /proc/self/cgroup, as mounted under `root`
/// (version 2, or version 1's cpu controller), their ancestors included. Infinity where none is set.
double cgroupQuota(const std::string& membership, const std::string& root);

}  // namespace fused_attention
