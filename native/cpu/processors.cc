#include "processors.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>

#include <vector>
#endif

namespace fused_attention {

namespace {

constexpr double kNoQuota = std::numeric_limits<double>::infinity();

double ratio(double quota, double period) { return quota > 0 && period > 0 ? quota / period : kNoQuota; }

/// cpu.max holds "<quota or max> <period>".
double quotaOfVersion2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max") return kNoQuota;
  return ratio(std::atof(quota.c_str()), period);
}

double quotaOfVersion1(const std::string& folder) {
  std::ifstream quotaFile(folder + "/cpu.cfs_quota_us"), periodFile(folder + "/cpu.cfs_period_us");
  double quota = 0, period = 0;
  if (!(quotaFile >> quota) || !(periodFile >> period)) return kNoQuota;
  return ratio(quota, period);  // -1: none
}

/// A cgroup and all above it. In a container the path may be that of the host: what is missing here is passed over.
template <class Quota>
double tightest(const std::string& mount, std::string path, Quota quota) {
  double least = kNoQuota;
  for (;;) {
    least = std::min(least, quota(mount + path));
    if (path.empty()) return least;
    path.erase(path.find_last_of('/'));
  }
}

bool namesCpuController(const std::string& controllers) {
  std::istringstream list(controllers);
  for (std::string name; std::getline(list, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
}

int processorsByAffinity() {
#if defined(__linux__)
  // The mask may be wider than cpu_set_t on large machines: grow until the kernel accepts it.
  for (int count = CPU_SETSIZE; count <= (1 << 20); count *= 2) {
    std::vector<cpu_set_t> set((static_cast<size_t>(count) + CPU_SETSIZE - 1) / CPU_SETSIZE);
    const size_t bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, set.data()) == 0) return CPU_COUNT_S(bytes, set.data());
  }
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

double cgroupQuota(const std::string& membership, const std::string& root) {
  double least = kNoQuota;
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // <hierarchy>:<controllers>:<path>
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path.empty() || path.front() != '/') continue;
    if (path.back() == '/') path.pop_back();
    if (controllers.empty()) {
      least =
          std::min({least, tightest(root, path, quotaOfVersion2), tightest(root + "/unified", path, quotaOfVersion2)});
    } else if (namesCpuController(controllers)) {
      least = std::min({least, tightest(root + "/" + controllers, path, quotaOfVersion1),
                        tightest(root + "/cpu", path, quotaOfVersion1)});
    }
  }
  return least;
}

int usableProcessors() {
  int count = std::max(1, processorsByAffinity());
#if defined(__linux__)
  std::ifstream file("/proc/self/cgroup");
  std::stringstream membership;
  membership << file.rdbuf();
  // Rounded down: a thread too many gets the whole process throttled, its event loop included.
  const double quota = cgroupQuota(membership.str(), "/sys/fs/cgroup");
  if (quota < count) count = std::max(1, static_cast<int>(std::floor(quota)));
#endif
  return count;
}

}  // namespace fused_attention
