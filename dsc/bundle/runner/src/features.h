/* The features of this processor. */
#pragma once

#include <set>
#include <string>

namespace dsc {

/* By the names that Linux gives them in /proc/cpuinfo. */
std::set<std::string> cpu_features();

}  // namespace dsc
