#include "features.h"

#if defined(__aarch64__)
#include <sys/auxv.h>
#else
#include <fstream>
#include <sstream>
#endif

namespace dsc {

#if defined(__aarch64__)

/* What the kernel tells each process, which is right in an emulator and a container too; the bits are those of
 * Documentation/arch/arm64/elf_hwcaps.rst. */
std::set<std::string> cpu_features() {
  static const char *const first[] = {"fp",      "asimd", "evtstrm", "aes",   "pmull",    "sha1",   "sha2", "crc32",
                                      "atomics", "fphp",  "asimdhp", "cpuid", "asimdrdm", "jscvt",  "fcma", "lrcpc",
                                      "dcpop",   "sha3",  "sm3",     "sm4",   "asimddp",  "sha512", "sve",  "asimdfhm",
                                      "dit",     "uscat", "ilrcpc",  "flagm", "ssbs",     "sb",     "paca", "pacg"};
  static const char *const second[] = {"dcpodp", "sve2",  "sveaes",  "svepmull", "svebitperm", "svesha3", "svesm4",
                                       "flagm2", "frint", "svei8mm", "svef32mm", "svef64mm",   "svebf16", "i8mm",
                                       "bf16",   "dgh",   "rng",     "bti",      "mte"};
  std::set<std::string> found;
  unsigned bit = 0;
  for (const char *name : first) {
    if (getauxval(AT_HWCAP) >> bit++ & 1) found.insert(name);
  }
  bit = 0;
  for (const char *name : second) {
    if (getauxval(AT_HWCAP2) >> bit++ & 1) found.insert(name);
  }
  return found;
}

#else

/* Those of the first processor in /proc/cpuinfo. */
std::set<std::string> cpu_features() {
  std::ifstream file("/proc/cpuinfo");
  std::set<std::string> found;
  for (std::string line; found.empty() && std::getline(file, line);) {
    if (line.compare(0, 5, "flags") != 0 && line.compare(0, 8, "Features") != 0) continue;
    std::istringstream words(line.substr(line.find(':') + 1));
    for (std::string word; words >> word;) found.insert(word);
  }
  return found;
}

#endif

}  // namespace dsc
