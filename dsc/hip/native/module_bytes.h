// What a kernel takes and how it is launched, and the code it is in: as TVM serializes a module of ROCm.
#pragma once
#include <dlpack/dlpack.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dsc::hip {

// A number that a launch is given after the kernel's own arguments.
enum class LaunchNumber { kGridX, kGridY, kGridZ, kBlockX, kBlockY, kBlockZ, kDynamicShared };

struct Signature {
  std::string kernel;
  std::vector<DLDataType> arguments;
  std::vector<LaunchNumber> launch;
};

struct ModuleBytes {
  std::vector<Signature> kernels;
  std::string code;
};

// The form, of integers of 64 bits with the least byte first (TVM's `SaveToBytes` of ROCm): the name of the code's
// format; the number of kernels, and for each its name, its name again, a list of types, of names of launch numbers and
// of 32-bit tags for arguments; the code. Strings and lists begin with their length.
// Throws std::invalid_argument, saying what is wrong, for other bytes.
ModuleBytes parse(std::string_view bytes);

}  // namespace dsc::hip
