/* The compiled code of a model. */
#pragma once

#include <string>

#include "description.h"
#include "mapping.h"
#include "tvm.h"

namespace dsc {

/* A copy of a file in memory, which the system's loader takes by the name that it has in /proc. */
class MemoryFile {
 public:
  /* Throws Failure (DSC_ERROR_MEMORY). */
  explicit MemoryFile(const Mapping &content);
  MemoryFile(const MemoryFile &) = delete;
  ~MemoryFile();

  std::string path() const;

 private:
  int number_;
};

/* A shared library with its threads. Each is a copy of its own, so that models may be loaded more than once. */
class Library {
 public:
  /* Load `code` and start its threads. Throws Failure. */
  Library(const Mapping &code, int threads);

  const tvm::Value &module() const { return module_; }

 private:
  MemoryFile file_; /* open as long as the library is there: the loader takes files of one name for the same */
  tvm::Value module_;
};

/* Throws Failure (DSC_ERROR_UNFIT) where the process runs on other runtime libraries than the bundle was made with. */
void check_runtime(const Description &description, int threads);

}  // namespace dsc
