/* From what a run computed to the caller's outputs. */
#pragma once

#include <vector>

#include "description.h"
#include "dsc.h"
#include "tvm.h"

namespace dsc {

/* Copy the results to the outputs, giving memory to those that have none: all of them, or none.
 * Throws Failure: DSC_ERROR_OUTPUT where memory was given for other sizes. */
void hand_out(const Description &description, const std::vector<tvm::Value> &results, dsc_tensor *outputs);

}  // namespace dsc
