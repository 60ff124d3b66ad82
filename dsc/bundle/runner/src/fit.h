/* Whether what a caller passes fits the model. */
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "description.h"
#include "dsc.h"

namespace dsc {

/* Throws Failure (DSC_ERROR_INPUT, or DSC_ERROR_ARGUMENT for what is no tensor at all) for inputs whose types, ranks
 * and dims are not the model's, and free dims that contradict each other. */
void check_inputs(const Description &description, const dsc_tensor *inputs, size_t count);

/* Throws Failure (DSC_ERROR_ARGUMENT) for outputs that are no tensors. Whether they fit is known after the run. */
void check_outputs(const Description &description, const dsc_tensor *outputs, size_t count);

/* Bytes of the elements; at most PTRDIFF_MAX. Throws Failure (`status`) where they are more, or a dim is negative. */
size_t byte_size(const std::string &what, size_t element, const int64_t *dims, size_t rank, dsc_status status);

/* "[2, 3]" */
std::string dims_text(const int64_t *dims, size_t rank);

}  // namespace dsc
