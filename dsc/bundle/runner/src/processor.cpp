#include "processor.h"

#include <sched.h>
#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>

#include "failure.h"
#include "features.h"

namespace dsc {

void check_processor(const Description &description) {
  utsname system;
  const std::string arch = uname(&system) == 0 ? system.machine : "unknown";
  if (arch != description.arch) {
    throw Failure(DSC_ERROR_UNFIT, "the bundle was made for " + description.arch + " (" + description.target +
                                       "), this processor is " + arch + "; compile the model with --target for it");
  }
  const std::set<std::string> here = cpu_features();
  std::string missing;
  for (const std::string &feature : description.features) {
    if (here.count(feature) == 0) missing += (missing.empty() ? "" : ", ") + feature;
  }
  if (!missing.empty()) {
    throw Failure(DSC_ERROR_UNFIT, "the bundle was made for " + description.target + " and needs the CPU features " +
                                       missing +
                                       ", which this processor does not have; compile the model with --target for it");
  }
}

int usable_cores() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  std::set<std::string> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    const std::string number = std::to_string(cpu);
    std::ifstream siblings("/sys/devices/system/cpu/cpu" + number + "/topology/thread_siblings_list");
    std::string core;
    cores.insert(std::getline(siblings, core) ? core : number);
  }
  return std::max(1, std::min(static_cast<int>(cores.size()), DSC_MAX_THREADS));
}

}  // namespace dsc
