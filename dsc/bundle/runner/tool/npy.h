/* The header of a .npy file. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tool {

struct NpyHeader {
  std::string type; /* "<f4" */
  std::vector<int64_t> dims;
  size_t size; /* bytes of the header itself: the elements follow */
};

/* Parse the header of a whole file. Throws UsageError, naming `path`. */
NpyHeader parse_npy(const std::string &content, const std::string &path);

/* The header of a file of such elements, a multiple of 64 bytes. */
std::string make_npy(const std::string &type, const std::vector<int64_t> &dims);

/* How numpy writes a type (dsc.h): as bytes of anything, "|V2", where it does not have it itself. */
std::string npy_type(int32_t type);

}  // namespace tool
