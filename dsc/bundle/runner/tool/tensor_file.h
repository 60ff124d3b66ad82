/* Tensors in files: numpy's .npy (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), and plain
 * elements. */
#pragma once

#include <string>
#include <vector>

#include "dsc.h"

namespace tool {

/* A tensor that owns its elements. */
struct OwnedTensor {
  std::vector<uint64_t> memory; /* aligned for every type */
  dsc_tensor tensor;
};

/* Read what is to be an input: .npy by its name, else plain elements, of which the model must fix the dims.
 * Throws UsageError where it cannot be read or does not hold such elements; dims are checked by `dsc_run`. */
OwnedTensor read_tensor(const std::string &path, const dsc_info &info);

/* Write a file whole or not at all: .npy by its name, else plain elements. Throws UsageError. */
void write_tensor(const std::string &path, const dsc_tensor &tensor);

/* Bytes of the elements. */
size_t byte_size(const dsc_tensor &tensor);

}  // namespace tool
