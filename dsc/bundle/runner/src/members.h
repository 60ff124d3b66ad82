/* Whether the files of a bundle are those that were written. */
#pragma once

#include <string>

#include "description.h"
#include "mapping.h"

namespace dsc {

/* Compare size and hash of a file, on so many threads. `path` is for messages. Throws Failure (DSC_ERROR_DAMAGED). */
void check_file(const Mapping &content, const File &expected, const std::string &path, int threads);

}  // namespace dsc
