/* The compiled code of a model. */
#pragma once

#include "description.h"
#include "mapping.h"
#include "tvm.h"

namespace dsc {

/* Load a copy of the shared library `code` and start its threads. Each copy has threads of its own, so that models may
 * be loaded more than once. Throws Failure. */
tvm::Value load_library(const Mapping &code, int threads);

/* Throws Failure (DSC_ERROR_UNFIT) where the process runs on other runtime libraries than the bundle was made with. */
void check_runtime(const Description &description, int threads);

}  // namespace dsc
