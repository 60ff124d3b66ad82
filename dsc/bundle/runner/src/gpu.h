/* GPUs, and the libraries of the bundle that drive them. */
#pragma once

#include <string>

#include "description.h"
#include "tvm.h"

namespace dsc {

/* TVM's name for the first GPU, once the library in `folder` that drives it is loaded and the GPU is known to run the
 * bundle's code. Throws Failure (DSC_ERROR_UNFIT). */
DLDevice find_gpu(const Description &description, const std::string &folder);

}  // namespace dsc
