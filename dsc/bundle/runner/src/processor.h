/* What this processor is. */
#pragma once

#include "description.h"

namespace dsc {

/* Throws Failure (DSC_ERROR_UNFIT) where the code of the bundle would not run here. */
void check_processor(const Description &description);

/* Cores that this process may use, hardware threads of one core counted once; at least 1. */
int usable_cores();

}  // namespace dsc
